"""The plan of a labelled face: mirror, rotation, scale, shift and a hidden rectangle, drawn before a pixel is touched.

As in ``pipelines.augment.plan``, whose colours and mirror are used, every decision is a pure function of (seed, pass,
sample), a pass being a turn through the training samples. The warp maps points of the view, in sides of it and from its
centre, to ``shift + scale * R(angle) * F``, F being the mirror: first mirrored, then turned and scaled, then shifted.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.config.finetune import WarpConfig
from pipelines.augment.plan import Plan, draw
from pipelines.sampling.hashing import Stream, fold, uniform

ASPECT = 3.0
"""Of a hidden rectangle at most: its longer side over the shorter one."""


class Decision(IntEnum):
    """The last counter of the hash. The numbers are part of the plan: changing one changes every run."""

    ROTATION = 0
    SCALE = 1
    SHIFT_X = 2
    SHIFT_Y = 3
    ERASE = 4
    ERASE_AREA = 5
    ERASE_ASPECT = 6
    ERASE_X = 7
    ERASE_Y = 8


class Warp(NamedTuple):
    """Parameters of B views.

    Attributes:
        flip: ``(B,)`` bool.
        angle: ``(B,)`` float64, radians, clockwise as people see the image.
        scale: ``(B,)`` float64, above 1 the face grows.
        shift: ``(B, 2)`` float64, to the right and down, in sides of the view.
        hidden: ``(B, 4)`` float64, left, top, right and bottom of the hidden rectangle in sides of the view; of no
            width where nothing is hidden.
        colours: the plan of the ``(B, 1)`` views' colours.
    """

    flip: NDArray[np.bool_]
    angle: NDArray[np.float64]
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    hidden: NDArray[np.float64]
    colours: Plan

    @classmethod
    def unchanged(cls, count: int) -> Warp:
        """Of ``count`` views that stay as they are."""
        zeros = np.zeros(count)
        return cls(zeros > 0, zeros, zeros + 1, np.zeros((count, 2)), np.zeros((count, 4)), Plan.unchanged(count, 1))

    @property
    def forward(self) -> NDArray[np.float32]:
        """``(B, 2, 3)``: where a point of the image goes; both in sides of the view, from its centre."""
        turn = self.scale[:, None, None] * _rotation(self.angle) * _mirror(self.flip)
        return np.concatenate([turn, self.shift[..., None]], axis=2).astype(np.float32)

    @property
    def backward(self) -> NDArray[np.float32]:
        """``(B, 2, 3)``: where a point of the view comes from; in half sides from the centre, as ``affine_grid``."""
        turn = _mirror(self.flip).swapaxes(1, 2) * _rotation(-self.angle) / self.scale[:, None, None]
        return np.concatenate([turn, -2 * turn @ self.shift[..., None]], axis=2).astype(np.float32)


def draw_warp(config: WarpConfig, seed: int, turn: NDArray[np.int64], samples: NDArray[np.int64], size: int) -> Warp:
    """Draw the warps of a batch.

    Args:
        config: the ranges.
        seed: seed of the run.
        turn: ``(B,)`` int64, the pass through the training samples that each belongs to.
        samples: ``(B,)`` int64, indices into the data set.
        size: side of the view in pixels.
    """
    of_sample = fold(fold(fold(seed, Stream.WARP), turn), samples)
    u = uniform(fold(of_sample[:, None], np.arange(len(Decision))))
    signed = 2 * u - 1
    colours = _colours(config, seed, turn, samples, size)
    return Warp(
        flip=colours.flip[:, 0],
        angle=np.radians(config.rotation) * signed[:, Decision.ROTATION],
        scale=np.exp(np.log1p(config.scale) * signed[:, Decision.SCALE]),
        shift=config.shift * signed[:, [Decision.SHIFT_X, Decision.SHIFT_Y]],
        hidden=_hidden(config, u),
        colours=colours,
    )


def _colours(config: WarpConfig, seed: int, turn: NDArray[np.int64], samples: NDArray[np.int64], size: int) -> Plan:
    """Mirror and colours as the plan of pre-training draws them, whose epoch is the pass."""
    whole, sizes = config.whole(size), np.full((len(samples), 2), size)
    plan: Any = Plan.unchanged(len(samples), 1)
    for number in np.unique(turn).tolist():
        here = turn == number
        for part, drawn in zip(plan, draw(whole, seed, number, samples[here], sizes[here]), strict=True):
            part[here] = drawn
    return plan


def _hidden(config: WarpConfig, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, right and bottom of the hidden rectangles, wholly within the view."""
    low, high = config.erase_area
    area = low + (high - low) * u[:, Decision.ERASE_AREA]
    aspect = np.exp(np.log(ASPECT) * (2 * u[:, Decision.ERASE_ASPECT] - 1))
    sides = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), 1)
    corner = (1 - sides) * u[:, [Decision.ERASE_X, Decision.ERASE_Y]]
    hides = (u[:, Decision.ERASE] < config.erase_p)[:, None]
    return np.where(hides, np.concatenate([corner, corner + sides], axis=1), 0)


def _rotation(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(B, 2, 2)``; y grows downwards, so that a positive angle turns clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)


def _mirror(flip: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(B, 1, 2)``: the signs of x and y; multiplying a matrix's columns by them mirrors first."""
    signs = np.ones((len(flip), 1, 2))
    signs[:, 0, 0] = np.where(flip, -1.0, 1.0)
    return signs
