"""How exactly the device computes what is divided by a small temperature."""

import torch

from frl.config import SwAVConfig
from frl.objectives import Setting
from frl.objectives.swav import SwAV
from frl.runtime.numerics import numerics


def swav(prototypes: int, dim: int) -> SwAV:
    config = SwAVConfig(hidden_dim=8, feature_dim=dim, prototypes=prototypes)
    return SwAV(config, torch.nn.Identity(), 8, Setting(crop_counts=(2, 2), batch_size=8))


def test_similarities_to_prototypes_are_those_of_float64(device):
    """TF32 would be off by some 1e-4."""
    torch.manual_seed(0)
    with numerics(device), torch.autocast(device.type, torch.bfloat16):
        objective = swav(prototypes=3000, dim=128).to(device)
        features = torch.nn.functional.normalize(torch.randn(2, 64, 128, device=device), dim=-1)
        found = objective.score(features)
    exact = features.double() @ objective.prototypes.weight.double().T
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-6


def test_half_precision_products_are_summed_in_float32(device):
    """The exact sums, rounded once: long ones, of which cuBLAS likes to add up parts in half precision."""
    torch.manual_seed(0)
    with numerics(device):
        for dtype in (torch.bfloat16, torch.float16):
            one, other = (torch.rand(shape, device=device).to(dtype) for shape in ((8, 1 << 15), (1 << 15, 8)))
            exact = one.double() @ other.double()
            assert ((one @ other).double() / exact - 1).abs().max() < torch.finfo(dtype).eps * 0.75
