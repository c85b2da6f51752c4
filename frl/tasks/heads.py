"""What a network needs on top of its features to say something of a face: the simple heads of the literature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAPS = 64
"""Side of the maps of `MapsHead`, as of HRNet (Sun et al., 2019) and its predecessors."""


class LinearHead(nn.Module):
    """One layer on pooled features: ``(B, width)`` to ``(B, outputs)`` float32.

    A BatchNorm without parameters stands before it, as before the linear probes of He et al., "Masked Autoencoders",
    2022, appendix A: what the pooled features of all faces have in common would drown what tells them apart.

    Args:
        width: of the features.
        outputs: numbers that are said of a face.
        bounded: pass them through a hyperbolic tangent, into [-1, 1].
    """

    def __init__(self, width: int, outputs: int, *, bounded: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.layer = nn.Linear(width, outputs)
        self.bounded = bounded
        nn.init.trunc_normal_(self.layer.weight, std=0.01)
        nn.init.zeros_(self.layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width)``."""
        said = self.layer(self.norm(features.float())).float()
        return said.tanh() if self.bounded else said

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Say about ``mean`` ``(outputs,)`` of every face before anything is learned.

        What nobody knows the mean of, being NaN, starts at 0.
        """
        mean = mean.nan_to_num().to(self.layer.bias)
        self.layer.bias.copy_(mean.clamp(-0.95, 0.95).atanh() if self.bounded else mean)


class MapsHead(nn.Module):
    """Points as the mean places of maps that transposed convolutions make (Xiao et al., 2018; Sun et al., 2018).

    Each map is turned into a distribution over its cells by a softmax; its mean is the point (soft-argmax), in shares
    of the image from its centre, so that nothing is lost to the cells' size. Depth, where points have one, comes from a
    linear layer on the pooled features.

    Args:
        channels: of the feature maps.
        side: of the feature maps, in cells.
        points: n.
        axes: of a point: 2, or 3 with depth.
        hidden: channels of the transposed convolutions; None: half of ``channels``, from 32 to 256.
    """

    def __init__(self, channels: int, side: int, points: int, axes: int = 2, *, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or min(max(channels // 2, 32), 256)
        self.depth = nn.Linear(channels, points) if axes == 3 else None
        layers: list[nn.Module] = []
        while side * 2 <= MAPS:
            enlarged = nn.ConvTranspose2d(channels, hidden, 4, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(enlarged.weight, nonlinearity="relu")
            layers += [enlarged, nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)]
            channels, side = hidden, side * 2
        self.enlarge = nn.Sequential(*layers)
        self.maps = nn.Conv2d(channels, points, kernel_size=1)
        nn.init.trunc_normal_(self.maps.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, h, w)`` to ``(B, points * axes)`` float32, point by point."""
        maps = self.maps(self.enlarge(features)).float()
        if maps.shape[2:] != (MAPS, MAPS):
            maps = F.interpolate(maps, (MAPS, MAPS), mode="bilinear", align_corners=False)
        places = soft_argmax(maps)
        if self.depth is not None:
            places = torch.cat([places, self.depth(features.mean((2, 3))).float()[..., None]], dim=2)
        return places.flatten(1)


def soft_argmax(maps: Tensor) -> Tensor:
    """The mean place of each map's softmax: ``(B, n, h, w)`` logits to ``(B, n, 2)``, x and y.

    In shares of the map from its centre: the middle of the first of w cells is ``1 / (2 w) - 1 / 2``.
    """
    height, width = maps.shape[2:]
    mass = maps.flatten(2).softmax(dim=2).unflatten(2, (height, width))
    x = (torch.arange(width, device=maps.device) + 0.5) / width - 0.5
    y = (torch.arange(height, device=maps.device) + 0.5) / height - 0.5
    return torch.stack([(mass.sum(2) * x).sum(2), (mass.sum(3) * y).sum(2)], dim=2)
