"""From grey levels to what a network sees, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from frl.config import AugmentConfig


def normalised(images: Tensor, augment: AugmentConfig) -> Tensor:
    """``(N, H, W, 3)`` uint8 to ``(N, 3, H, W)`` float32, by the mean and the standard deviation of ``augment``."""
    mean, std = _of_channels(images, augment)
    return (images.permute(0, 3, 1, 2) / 255 - mean) / std


def restored(views: Tensor, augment: AugmentConfig) -> Tensor:
    """The inverse, for people to look at: ``(N, 3, H, W)`` of any floating dtype to float32, about in [0, 1]."""
    mean, std = _of_channels(views, augment)
    return views.float() * std + mean


def _of_channels(images: Tensor, augment: AugmentConfig) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (augment.mean, augment.std))
    return mean, std
