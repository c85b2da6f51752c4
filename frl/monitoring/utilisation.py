"""How much of what a GPU could compute the training does: model FLOP/s utilisation (MFU; Chowdhery et al., 2022)."""

from __future__ import annotations

import re

import torch

from frl.config import RunConfig
from frl.models.backbone import build_backbone
from frl.runtime.environment import device_name

PEAKS = {
    r"B200\b": 2250e12,
    r"H200\b": 989e12,
    r"H100 PCIe": 756e12,
    r"H100\b": 989e12,
    r"A100\b": 312e12,
    r"L40S\b": 362e12,
    r"L4\b": 121e12,
    r"A30\b": 165e12,
    r"A10G?\b": 125e12,
    r"RTX 4090\b": 165e12,
    r"RTX 3090\b": 71e12,
}
"""Dense bf16 FLOP/s with sums in fp32, of NVIDIA's data sheets, by what a device's name holds; the first that fits."""


def peak_flops(device: str) -> float | None:
    """What a device by its name computes in bf16 at most, in FLOP/s; None where that is not known."""
    return next((peak for pattern, peak in PEAKS.items() if re.search(pattern, device)), None)


def forward_flops(network: str, size: int) -> int:
    """Floating-point operations of one image's way through a backbone, a multiplication and an addition counting two.

    Nothing is computed: the tensors are without data.

    Args:
        network: its whole name.
        size: side of the image, in pixels.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings Triton with it, where that is installed

    with torch.device("meta"):
        backbone, _ = build_backbone(network)
        image = torch.empty(1, 3, size, size)
    backbone.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(image)
    return counter.get_total_flops()


def flops_per_image(config: RunConfig) -> int:
    """What training on an image takes: the backbone's forward pass over all of its crops, and twice that back.

    Heads, a teacher's passes and what ``--recompute`` repeats are left out, as is usual: the figure is of useful work.
    """
    return 3 * sum(spec.count * forward_flops(config.model.network, spec.size) for spec in config.augment.crops)


def utilisation_per_image(config: RunConfig, device: torch.device) -> float | None:
    """The share of a second's operations of the device that an image takes; None where the peak is not known."""
    if device.type != "cuda" or config.precision != "bf16":
        return None
    peak = peak_flops(device_name(device))
    return None if peak is None else flops_per_image(config) / peak
