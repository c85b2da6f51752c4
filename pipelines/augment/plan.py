"""The plan of randomness: every random decision of the augmentation, drawn before a pixel is touched.

A decision is a pure function of (seed, epoch, sample, crop): it depends neither on the batch that the sample is in, nor
on the number of workers or ranks, the engine, or the step at which a run was resumed. The distributions are
torchvision's (``RandomResizedCrop``, ``RandomHorizontalFlip``, ``RandomApply(ColorJitter)``, ``RandomGrayscale``,
``GaussianBlur``, ``RandomSolarize``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.config import AugmentConfig, ColourConfig, CropSpec
from pipelines.sampling.hashing import Stream, fold, uniform

ATTEMPTS = 10  # as torchvision: boxes tried before the central fallback
Bound = float | NDArray[np.float64]
JITTER_ORDERS = np.array(list(permutations(range(4))), dtype=np.uint8)


class Decision(IntEnum):
    """The last counter of the hash. The numbers are part of the plan: changing one changes every run."""

    FLIP = 0
    JITTER = 1
    ORDER = 2
    BRIGHTNESS = 3
    CONTRAST = 4
    SATURATION = 5
    HUE = 6
    GREY = 7
    BLUR = 8
    SIGMA = 9
    TOP = 10
    LEFT = 11
    SOLARISE = 12
    AREA = 16  # to 25, one per attempt
    RATIO = 32  # to 41


LEVELS = 256  # of a pixel: the threshold of solarisation that none of them reaches


class Plan(NamedTuple):
    """Parameters of the crops, contiguous arrays whose leading axes are ``(B, V)``.

    The one definition of what an engine is told: the CPU kernels take it as it is, and the columns that go to a GPU and
    to DALI are named, ordered and sized after it (``pipelines.augment.columns``). The defaults are a crop that is left
    as it is, without leading axes.

    Attributes:
        boxes: ``(B, V, 4)`` int32, top, left, height, width, in pixels of the image.
        flip: ``(B, V)`` bool.
        jitter: ``(B, V)`` bool, whether ``order`` and ``factors`` apply.
        order: ``(B, V, 4)`` uint8, a permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue; first applied first.
        factors: ``(B, V, 4)`` float32, brightness, contrast and saturation factors, hue shift in turns.
        grey: ``(B, V)`` bool.
        blur_sigma: ``(B, V)`` float32, pixels of the resized crop; 0: no blur.
        solarise: ``(B, V)`` int32, the first level of 0 to 255 that is inverted; 256: none is.
    """

    boxes: NDArray[np.int32] = np.zeros(4, dtype=np.int32)
    flip: NDArray[np.bool_] = np.zeros((), dtype=np.bool_)
    jitter: NDArray[np.bool_] = np.zeros((), dtype=np.bool_)
    order: NDArray[np.uint8] = np.arange(4, dtype=np.uint8)
    factors: NDArray[np.float32] = np.array([1, 1, 1, 0], dtype=np.float32)
    grey: NDArray[np.bool_] = np.zeros((), dtype=np.bool_)
    blur_sigma: NDArray[np.float32] = np.zeros((), dtype=np.float32)
    solarise: NDArray[np.int32] = np.array(LEVELS, dtype=np.int32)

    @classmethod
    def unchanged(cls, *lead: int) -> Plan:
        """A plan with these leading axes that leaves every crop as it is."""
        return cls._make(np.broadcast_to(part, lead + part.shape).copy() for part in cls())

    def crop_major(self, first: int, count: int) -> Plan:
        """The crops ``first .. first + count`` as ``(count * B, ...)``, all samples of one crop together."""
        parts = (part[:, first : first + count] for part in self)
        return Plan._make(part.swapaxes(0, 1).reshape(-1, *part.shape[2:]) for part in parts)


PlanFor = Callable[[NDArray[np.int64], NDArray[np.int32]], Plan]
"""Gives the plan of samples ``(B,)`` and their sizes ``(B, 2)``."""


def draw(augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64], sizes: NDArray[np.integer]) -> Plan:
    """Draw the plan of a batch.

    Args:
        augment: the augmentation; V is its ``total_crops``, in the order of ``augment.crops``.
        seed: seed of the run.
        epoch: number of the epoch.
        samples: ``(B,)`` int64, indices into the data set.
        sizes: ``(B, 2)`` integer, height and width of each image in pixels, at least 1.
    """
    of_sample = fold(fold(fold(seed, Stream.CROPS), epoch), samples)
    of_crop = fold(of_sample[:, None], np.arange(augment.total_crops))
    u = uniform(fold(of_crop[..., None], np.arange(Decision.SOLARISE + 1)))
    colour = _PerCrop([augment.colour_of(spec) for spec in augment.crops for _ in range(spec.count)])
    ranges = [colour.around_one("brightness"), colour.around_one("contrast"), colour.around_one("saturation")]
    ranges.append((-colour["hue"], colour["hue"]))
    factors = [_between(*r, u[..., Decision.BRIGHTNESS + i]) for i, r in enumerate(ranges)]
    least, most = colour["blur_sigma"].T
    return Plan(
        boxes=_draw_boxes(augment.crops, sizes, of_crop, u[..., Decision.TOP], u[..., Decision.LEFT]),
        flip=u[..., Decision.FLIP] < augment.flip_p,
        jitter=u[..., Decision.JITTER] < colour["jitter_p"],
        order=JITTER_ORDERS[(u[..., Decision.ORDER] * len(JITTER_ORDERS)).astype(np.intp)],
        factors=np.stack(factors, axis=-1).astype(np.float32),
        grey=u[..., Decision.GREY] < colour["grey_p"],
        blur_sigma=np.where(
            u[..., Decision.BLUR] < colour["blur_p"], _between(least, most, u[..., Decision.SIGMA]), 0
        ).astype(np.float32),
        solarise=np.where(
            u[..., Decision.SOLARISE] < colour["solarise_p"], colour["solarise_threshold"], LEVELS
        ).astype(np.int32),
    )


def plan_whole(samples: NDArray[np.int64], sizes: NDArray[np.int32]) -> Plan:
    """One crop an image: the whole of it, as it is."""
    boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=1)[:, None].astype(np.int32)
    return Plan.unchanged(len(samples), 1)._replace(boxes=boxes)


class _PerCrop:
    """The colour options of V crops as arrays."""

    def __init__(self, colours: list[ColourConfig]) -> None:
        self.colours = colours

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """An option of every crop: ``(V,)``, or ``(V, 2)`` for a range."""
        return np.array([getattr(colour, name) for colour in self.colours], dtype=np.float64)

    def around_one(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The range of the factor whose strength is the option, for every crop."""
        return np.maximum(0.0, 1 - self[name]), 1 + self[name]


def _draw_boxes(
    specs: tuple[CropSpec, ...],
    sizes: NDArray[np.integer],
    of_crop: NDArray[np.uint64],
    top: NDArray[np.float64],
    left: NDArray[np.float64],
) -> NDArray[np.int32]:
    """``RandomResizedCrop.get_params``: the first of ten boxes that fits in the image, else the central one."""
    per_crop = [spec for spec in specs for _ in range(spec.count)]
    scale = np.array([spec.scale for spec in per_crop])[:, :, None]
    ratio = np.array([spec.ratio for spec in per_crop])[:, :, None]
    height, width = sizes[:, 0, None].astype(np.float64), sizes[:, 1, None].astype(np.float64)

    attempts, log_ratio = np.arange(ATTEMPTS), np.log(ratio)
    u_area = uniform(fold(of_crop[..., None], Decision.AREA + attempts))
    u_ratio = uniform(fold(of_crop[..., None], Decision.RATIO + attempts))
    area = (height * width)[..., None] * _between(scale[:, 0], scale[:, 1], u_area)
    aspect = np.exp(_between(log_ratio[:, 0], log_ratio[:, 1], u_ratio))
    box_h, box_w = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (box_h > 0) & (box_h <= height[..., None]) & (box_w > 0) & (box_w <= width[..., None])

    found, chosen = fits.any(axis=-1), fits.argmax(axis=-1)[..., None]
    central_h, central_w = _central_box(height, width, ratio[:, 0, 0], ratio[:, 1, 0])
    box_h = np.where(found, np.take_along_axis(box_h, chosen, axis=-1)[..., 0], central_h)
    box_w = np.where(found, np.take_along_axis(box_w, chosen, axis=-1)[..., 0], central_w)
    box_top = np.where(found, top * (height - box_h + 1), (height - box_h) / 2)
    box_left = np.where(found, left * (width - box_w + 1), (width - box_w) / 2)
    return np.stack([box_top, box_left, box_h, box_w], axis=-1).astype(np.int32)


def _central_box(
    height: NDArray[np.float64], width: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and width of the largest box of an allowed aspect ratio (width / height), at least one pixel."""
    box_h = np.where(width / height < low, np.rint(width / low), height)
    box_w = np.where(width / height > high, np.rint(height * high), width)
    return np.maximum(box_h, 1), np.maximum(box_w, 1)


def _between(low: Bound, high: Bound, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map ``u`` in [0, 1) to [low, high)."""
    return low + (high - low) * u
