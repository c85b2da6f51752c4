"""Features with their place in the image: points need it, and pooling forgets it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.models.layers import UpToStage, feature_maps
from frl.models.resnet import ResNet

MOST_CELLS = 4
"""Cells along a side of the map at most."""
MOST_NUMBERS = 8192
"""Of a face at most: the map gets fewer cells until they are that few."""


class PooledAndUnpooled(nn.Module):
    """A backbone's pooled features, followed by its last feature map, shrunk to a few cells.

    Args:
        backbone: images to pooled features; one that ``feature_maps`` knows.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` to ``(B, D)`` float32."""
        maps = feature_maps(self.backbone, images).float()
        # Of a ResNet and of a stage the pooled features are the mean of the map; other networks have their own heads.
        averaged = isinstance(self.backbone, (ResNet, UpToStage))
        pooled = maps.mean((2, 3)) if averaged else self.backbone(images).flatten(1).float()
        return torch.cat([pooled, shrunk(maps).flatten(1)], dim=1)


class Unpooled(nn.Module):
    """A backbone's last feature map alone, shrunk to a few cells.

    Args:
        backbone: one that ``feature_maps`` knows.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` to ``(B, D)`` float32."""
        return shrunk(feature_maps(self.backbone, images).float()).flatten(1)


def shrunk(maps: Tensor) -> Tensor:
    """Maps ``(B, C, H, W)`` as means over 4 x 4 areas, or over fewer if C is large."""
    channels, height, width = maps.shape[1:]
    cells = next((n for n in range(MOST_CELLS, 1, -1) if channels * n * n <= MOST_NUMBERS), 1)
    return F.adaptive_avg_pool2d(maps, (min(cells, height), min(cells, width)))
