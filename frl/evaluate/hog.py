"""Histograms of oriented gradients as the feature (Dalal and Triggs, 2005): what a learned one must beat."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.config import AugmentConfig
from frl.pixels import restored

ORIENTATIONS = 9
CELL = 8
"""Side of a cell in pixels; a block has 2 x 2 cells and shares them with its neighbours."""
CLIPPED = 0.2
"""Of a normalised block no number may be larger, so that one strong edge does not decide alone."""
SMALL = 1e-5


class Hog(nn.Module):
    """The descriptor of scikit-image's ``feature.hog``, in batches: hard bins, blocks normalised by L2-Hys.

    Args:
        augment: its mean and standard deviation normalised the images.
        side: to which images are resized before, anti-aliased, in pixels; a multiple of the cells' side.
    """

    def __init__(self, augment: AugmentConfig, side: int = 64) -> None:
        super().__init__()
        self.augment, self.side = augment, side

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, D)`` float32."""
        pixels = restored(images, self.augment)
        if pixels.shape[2:] != (self.side, self.side):
            pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True)
        return descriptors(pixels)


def descriptors(pixels: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)`` in [0, 1], of whole cells, to ``(B, D)``: blocks by rows, cells by rows, orientations."""
    cells = _cells(*_gradients(pixels))  # (B, rows, columns, orientations)
    corners = [cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]]
    blocks = torch.cat(corners, dim=3)
    return _unit(_unit(blocks).clamp(max=CLIPPED)).flatten(1)


def _gradients(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Strength and orientation in [0, 180) degrees at each pixel, of the colour with the strongest gradient there."""
    down, right = torch.zeros_like(pixels), torch.zeros_like(pixels)
    down[:, :, 1:-1] = pixels[:, :, 2:] - pixels[:, :, :-2]
    right[:, :, :, 1:-1] = pixels[:, :, :, 2:] - pixels[:, :, :, :-2]
    strength, colour = torch.hypot(down, right).max(dim=1, keepdim=True)
    down, right = down.gather(1, colour), right.gather(1, colour)
    return strength[:, 0], torch.rad2deg(torch.atan2(down, right))[:, 0] % 180


def _cells(strength: Tensor, degrees: Tensor) -> Tensor:
    """The mean strength of each orientation in each cell, ``(B, H / 8, W / 8, 9)``."""
    bins = (degrees * (ORIENTATIONS / 180)).long().clamp(max=ORIENTATIONS - 1)
    apart = F.one_hot(bins, ORIENTATIONS).permute(0, 3, 1, 2) * strength[:, None]
    return F.avg_pool2d(apart, CELL).permute(0, 2, 3, 1)


def _unit(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(dim=3, keepdim=True) + SMALL**2).sqrt()
