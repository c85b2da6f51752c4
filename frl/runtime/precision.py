"""The number format that the network computes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

Autocast = Callable[[], AbstractContextManager]


def computes_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for products of bf16 numbers."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def uses_bf16(precision: str) -> bool:
    """Whether the network computes in bf16 under ``precision``, which is decided: bf16 or fp32.

    Raises:
        ValueError: if it is still auto.
    """
    if precision == "auto":
        raise ValueError("the precision is not decided yet; see frl.training.build.with_precision")
    return precision == "bf16"


def autocast_for(precision: str, device: torch.device) -> Autocast:
    """What makes the context of a forward pass under ``precision``, which is decided."""
    if uses_bf16(precision):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext


def widened(x: torch.Tensor) -> torch.Tensor:
    """``x`` in float32 at least, for arithmetic that a narrower format would spoil."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
