"""What a trained network must beat."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from frl.models.backbone import build_backbone


class RawPixels(nn.Module):
    """The normalised pixels themselves as the feature, of an image of at most ``side`` x ``side``.

    Args:
        side: larger images are shrunk to this side, anti-aliased; verification of faces gains nothing above 32.
    """

    def __init__(self, side: int = 32) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, D)``."""
        if max(images.shape[2:]) > self.side:
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        return images.flatten(1)


def untrained(arch: str, seed: int = 0) -> nn.Module:
    """The backbone with random weights drawn from ``seed``; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, _ = build_backbone(arch)
    return backbone.eval()
