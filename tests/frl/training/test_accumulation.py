"""Micro-batches against the whole batch, and recomputation against keeping."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests_support import run_ranks
from tiny_objective import tiny_objective, tiny_views
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from frl.config import OptimConfig, RunConfig
from frl.models.backbone import Recomputed, build_backbone, recompute_blocks
from frl.models.resnet import BasicBlock
from frl.objectives.swav import SwAV
from frl.runtime.distributed import World
from frl.training.parallel import distribute
from frl.training.step import forward_backward, share

IMAGES, PART = 64, 16


class GroupedBatchNorm(_BatchNorm):
    """Statistics of each ``PART`` consecutive samples of crop-major rows, all in one pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by_part = x.unflatten(0, (-1, IMAGES // PART, PART)).unbind(1)
        normalised = [
            F.batch_norm(part.flatten(0, 1), self.running_mean, self.running_var, self.weight, self.bias, True)
            for part in by_part
        ]
        return torch.stack([part.unflatten(0, (-1, PART)) for part in normalised], dim=1).flatten(0, 2)


def in_groups(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, GroupedBatchNorm(child.num_features))
        else:
            in_groups(child)
    return module


def gradients(objective: SwAV) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in objective.parameters()])


def test_four_times_16_equals_64_with_statistics_in_groups_of_16():
    whole, parts = in_groups(tiny_objective(queue_length=64)), tiny_objective(queue_length=64)
    for seed in (1, 2):  # the second step meets a full queue
        views = tiny_views(IMAGES, seed)
        for objective in (whole, parts):
            objective.zero_grad()
        expected = forward_backward(whole, whole, views, micro_batches=1, autocast=nullcontext)
        found = forward_backward(parts, parts, views, micro_batches=IMAGES // PART, autocast=nullcontext)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-6)
        torch.testing.assert_close(gradients(parts), gradients(whole), rtol=1e-4, atol=5e-6)
        torch.testing.assert_close(parts.queue, whole.queue, rtol=1e-4, atol=5e-6)
    ours, theirs = parts.projector[1], whole.projector[1]
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert ours.num_batches_tracked == 2 * 4, "the first pass leaves the statistics alone"
    assert parts.backbone[1].num_batches_tracked == 2 * 4 * 2


def test_a_share_keeps_the_crops_of_a_sample_together_and_the_layout():
    views = [torch.arange(count * 6).view(-1, 1, 1, 1).expand(-1, 3, 2, 2) for count in (2, 3)]
    views = [view.contiguous(memory_format=torch.channels_last) for view in views]
    for index in range(3):
        for view, count in zip(share(views, (2, 3), 3, index), (2, 3), strict=True):
            assert view.is_contiguous(memory_format=torch.channels_last)
            samples = view[:, 0, 0, 0].view(count, 2) - 6 * torch.arange(count).view(-1, 1)
            assert (samples == torch.tensor([2 * index, 2 * index + 1])).all()


def share_of(rank: int, world: int, compression: str = "none") -> np.ndarray:
    """Gradients of a batch of 16 that is divided among the ranks, four images at once."""
    config = RunConfig(optim=OptimConfig(accumulate=4 // world), gradient_compression=compression)
    place = World(rank=rank, size=world, local_rank=rank, local_size=world, device=torch.device("cpu"))
    objective = tiny_objective(ranks=world)
    model = distribute(objective, config, place)
    mine = share(tiny_views(16), objective.crop_counts, world, rank)
    forward_backward(model, objective, mine, micro_batches=4 // world, autocast=nullcontext)
    return gradients(objective).numpy()


def shares(rank: int, world: int) -> np.ndarray:
    return np.stack([share_of(rank, world), share_of(rank, world, "bf16")])


def test_two_ranks_with_two_parts_equal_one_with_four_and_bf16_is_near():
    alone = share_of(0, 1)
    for exact, compressed in map(np.asarray, run_ranks(shares, 2)):
        np.testing.assert_allclose(exact, alone, rtol=1e-4, atol=5e-6)
        difference = np.linalg.norm(compressed - alone) / np.linalg.norm(alone)
        assert 1e-5 < difference < 1e-2


def trained(recompute: bool) -> dict[str, torch.Tensor]:
    """Gradients and buffers of a ResNet after a forward and backward pass."""
    torch.manual_seed(0)
    backbone, _ = build_backbone("resnet18")
    if recompute:
        recompute_blocks(backbone)
    backbone(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    named = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    return named | {name: buffer for name, buffer in backbone.named_buffers()}


def test_recomputation_changes_no_bit():
    kept, again = trained(False), trained(True)
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


@pytest.mark.parametrize("compiled", [False, True])
def test_recomputation_keeps_less(compiled):
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    def saved(blocks: nn.Module) -> tuple[int, torch.Tensor]:
        kept.clear()
        call = torch.compile(blocks, backend="aot_eager", fullgraph=True) if compiled else blocks
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = call(torch.ones(2, 8, 16, 16).requires_grad_()).square().sum()
        saved = sum(kept)
        loss.backward()
        return saved, blocks[0].bn1.running_mean.clone()

    torch.manual_seed(0)
    blocks = [BasicBlock(8, 8), BasicBlock(8, 8)]
    again = nn.Sequential(Recomputed(*blocks))[0]
    plain = nn.Sequential(*[BasicBlock(8, 8), BasicBlock(8, 8)])
    plain.load_state_dict(again.state_dict())
    (less, mean), (more, expected) = saved(again), saved(plain)
    assert less < more / 2
    torch.testing.assert_close(mean, expected)
    assert again[0].bn1.num_batches_tracked == 1
