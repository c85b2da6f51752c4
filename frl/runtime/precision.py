"""The number format that the network computes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

Autocast = Callable[[], AbstractContextManager]


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether the network computes in bf16 under ``precision`` (auto, bf16, fp32) on ``device``."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast_for(precision: str, device: torch.device) -> Autocast:
    """What makes the context of a forward pass under ``precision``."""
    if uses_bf16(precision, device):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext
