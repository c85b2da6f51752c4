"""Colour operations on batches of RGB images in [0, 1], as ``torchvision.transforms.functional`` defines them.

Each takes ``(N, 3, H, W)`` float32 and one factor per image, ``(N, 1, 1, 1)``, and clamps its result to [0, 1]. Where
PIL rounds to whole grey levels after each operation these keep the fractions. The contrast's pivot is therefore the
exact mean grey, about half a level from PIL's rounded one at most: 0.4 levels in the result at the paper's strengths.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def luma(images: Tensor) -> Tensor:
    """Grey of ITU-R 601: ``(N, 1, H, W)``."""
    red, green, blue = images.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey."""
    # Rows first: PyTorch sums one large image alone in another order than several, and bits would depend on the batch.
    mean = luma(images).mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
    return (images * factor + mean * (1 - factor)).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's grey."""
    return (images * factor + luma(images) * (1 - factor)).clamp(0, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the colour wheel of HSV, in its closed form: value and chroma of each pixel stay, its hue moves."""
    red, green, blue = images.split(1, dim=1)
    value, least = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    chroma = value - least
    divisor = torch.where(chroma == 0, 1, chroma)
    if_green_or_blue = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sextant = torch.where(value == red, (green - blue) / divisor, if_green_or_blue)
    hue = sextant / 6 + turns
    hue = (hue - hue.floor()) * 6
    shares = ((hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs())
    return torch.cat([least + chroma * share.clamp(0, 1) for share in shares], dim=1)


def batch_jitter(images: Tensor, jitter: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Apply the four operations in each image's own order, by masks: static shapes for compiled code.

    Only the contrast looks beyond a pixel. So the operations before it, the contrast, and those after it make two fused
    kernels with one reduction between, instead of a reduction at each of the four places.

    Args:
        images: ``(N, 3, H, W)`` float32 in [0, 1].
        jitter: ``(N,)`` bool, images to change.
        order: ``(N, 4)`` operation at each place.
        factors: ``(N, 4)`` float32 factor of each operation.
    """
    contrast_at = (order == CONTRAST).int().argmax(dim=1)
    out = images
    for place in range(3):
        out = _pointwise(out, order[:, place], place < contrast_at, factors)
    out = adjust_contrast(out, factors[:, CONTRAST, None, None, None])
    for place in range(1, 4):
        out = _pointwise(out, order[:, place], place > contrast_at, factors)
    return torch.where(jitter[:, None, None, None], out, images)


def _pointwise(images: Tensor, operation: Tensor, active: Tensor, factors: Tensor) -> Tensor:
    """Each image's brightness, saturation or hue operation, where active."""
    out = images
    for index, adjust in ((BRIGHTNESS, adjust_brightness), (SATURATION, adjust_saturation), (HUE, adjust_hue)):
        mask = active & (operation == index)
        out = torch.where(mask[:, None, None, None], adjust(images, factors[:, index, None, None, None]), out)
    return out


def batch_grey(images: Tensor, grey: Tensor) -> Tensor:
    """Drop the colour of the images where ``grey`` (``(N,)`` bool) says so."""
    return torch.where(grey[:, None, None, None], luma(images), images)


def jitter_in_order(images: Tensor, order: NDArray[np.uint8], factors: Tensor) -> Tensor:
    """Apply the four operations in one order to all images; ``factors``: ``(N, 4)``."""
    adjust = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    for operation in order.tolist():
        images = adjust[operation](images, factors[:, operation, None, None, None])
    return images
