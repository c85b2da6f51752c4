"""The multi-crop in slow and obvious words: torchvision's functions and OpenCV's blur, one crop of one image at a time.

Engines are held against it. There are two of it, because PIL rounds to whole grey levels after every operation and
keeps a hue as one of 256, while the engines keep fractions: ``PIL`` is the paper's code to the letter, ``EXACT`` does
the colours on floating-point tensors and rounds once, after the blur. Both resize with PIL, blur with OpenCV's 23 taps
and solarise whole levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import torchvision.transforms.functional as TF
from numpy.typing import NDArray
from PIL import Image

from frl.config import AugmentConfig
from pipelines.augment.plan import LEVELS, Plan

Kind = Literal["PIL", "EXACT"]
ADJUST: tuple[Callable[[Any, float], Any], ...] = (
    TF.adjust_brightness,
    TF.adjust_contrast,
    TF.adjust_saturation,
    TF.adjust_hue,
)
TAPS = 23


def resized_crop(image: NDArray[np.uint8], box: NDArray[np.int32], flip: bool, size: int) -> Image.Image:
    """Cut out (top, left, height, width), resize to a square, mirror left and right."""
    crop = TF.resized_crop(Image.fromarray(image), *box.tolist(), [size, size])
    return TF.hflip(crop) if flip else crop


def blurred(crop: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """OpenCV's Gaussian blur, in floating point (its 8-bit one quantises the taps), rounded."""
    return as_levels(cv2.GaussianBlur(crop.astype(np.float32), (TAPS, TAPS), sigma))


def solarised(crop: NDArray[np.uint8], threshold: int) -> NDArray[np.uint8]:
    """Levels from ``threshold`` on inverted; 256: none."""
    return np.asarray(TF.solarize(Image.fromarray(crop), threshold)) if threshold < LEVELS else crop


def as_levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Round to whole grey levels."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


def crop_by_pil(image: NDArray[np.uint8], plan: Plan, i: int, v: int, size: int) -> NDArray[np.uint8]:
    """Crop ``v`` of image ``i``, ``(size, size, 3)``, as the paper's code makes it."""
    crop = resized_crop(image, plan.boxes[i, v], bool(plan.flip[i, v]), size)
    if plan.jitter[i, v]:
        for operation in plan.order[i, v]:
            crop = ADJUST[operation](crop, float(plan.factors[i, v, operation]))
    if plan.grey[i, v]:
        crop = TF.to_grayscale(crop, 3)
    pixels = np.array(crop)
    if plan.blur_sigma[i, v] > 0:
        pixels = blurred(pixels, float(plan.blur_sigma[i, v]))
    return solarised(pixels, int(plan.solarise[i, v]))


def crop_exactly(image: NDArray[np.uint8], plan: Plan, i: int, v: int, size: int) -> NDArray[np.uint8]:
    """Crop ``v`` of image ``i``, ``(size, size, 3)``, rounded only after the resizing and after the blur."""
    crop = TF.to_tensor(resized_crop(image, plan.boxes[i, v], bool(plan.flip[i, v]), size)).double()
    if plan.jitter[i, v]:
        for operation in plan.order[i, v]:
            crop = ADJUST[operation](crop, float(plan.factors[i, v, operation]))
    if plan.grey[i, v]:
        crop = TF.rgb_to_grayscale(crop, 3)
    pixels = np.ascontiguousarray(crop.permute(1, 2, 0).numpy()) * 255
    if plan.blur_sigma[i, v] > 0:
        pixels = cv2.GaussianBlur(pixels, (TAPS, TAPS), float(plan.blur_sigma[i, v]))
    return solarised(as_levels(pixels), int(plan.solarise[i, v]))


def crops_of(
    image: NDArray[np.uint8], plan: Plan, i: int, augment: AugmentConfig, kind: Kind = "EXACT"
) -> list[NDArray[np.uint8]]:
    """All crops of one image.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        plan: parameters of the ``(B, V)`` crops of a batch.
        i: the image's row in the plan.
        augment: gives the sizes.
        kind: the paper's code, or without its rounding.

    Returns:
        V arrays ``(size, size, 3)`` uint8, in the augmentation's order.
    """
    make = crop_by_pil if kind == "PIL" else crop_exactly
    sizes = [spec.size for spec in augment.crops for _ in range(spec.count)]
    return [make(image, plan, i, v, size) for v, size in enumerate(sizes)]
