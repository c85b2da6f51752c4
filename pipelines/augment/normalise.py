"""The last step before the network: mean and deviation, the training dtype, channels-last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frl.config import AugmentConfig
from pipelines.augment.compiled import Compiled


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation, per channel.

    Args:
        augment: gives the mean and the standard deviation.
        dtype: of the views; the arithmetic is float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, augment: AugmentConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(augment.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(augment.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """``(N, 3, H, W)`` float32 in [0, 1] to a view: the same shape, channels-last."""
        return ((crops - self.mean) / self.std).to(self.dtype, memory_format=torch.channels_last)


class NormaliseCrops(nn.Module):
    """Views of the crops that an engine made while loading: one pass over the bytes, on the training device.

    Args:
        augment: gives the mean and the standard deviation.
        dtype: of the views.
        compile: fuse it into one kernel per crop size.
    """

    def __init__(self, augment: AugmentConfig, *, dtype: torch.dtype = torch.float32, compile: bool = False) -> None:
        super().__init__()
        self.normalise = Normalise(augment, dtype)
        self.view = Compiled(self.forward_one) if compile else self.forward_one

    def forward(self, crops: list[Tensor]) -> list[Tensor]:
        """``(N, size, size, 3)`` uint8 buffers, one per crop size, to ``(N, 3, size, size)`` channels-last views."""
        return [self.view(levels) for levels in crops]

    def forward_one(self, levels: Tensor) -> Tensor:
        """One buffer; its bytes already lie as a channels-last view wants them."""
        return self.normalise(levels.permute(0, 3, 1, 2).float() / 255)
