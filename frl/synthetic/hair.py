"""Hair and beard: where they grow, how thick, and their strands."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.head import RELIEF, plane_grid
from frl.synthetic.identity import Beard, Hair, Identity


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A hair style."""

    hairline: tuple[float, ...]
    """Distance of the hairline from the plane's origin at the angles ``ANGLES``."""
    top: float
    """Thickness on the crown in head units."""
    sides: float
    """Thickness at the sides in head units."""
    curl: float = 0.0
    """Share of the strands' pattern that is curls."""
    fall: float = 0.0
    """How far below the head's centre loose hair hangs, in head units; 0 for none."""


ANGLES = (0, 30, 55, 76, 84, 92, 104, 130, 180)
"""Degrees from the top of the head, around the plane's origin."""
_OPEN = (0.82, 0.88, 1.10, 1.26, 1.40, 1.64, 1.62, 1.64, 1.70)
_FRINGE = (0.50, 0.56, 0.76, 1.14, 1.36, 1.62, 1.62, 1.64, 1.70)
_DOWN = (0.80, 0.83, 0.93, 1.06, 1.10, 1.14, 1.18, 1.24, 1.60)
CUTS = {
    Hair.BALD: Cut(hairline=(2.2, 2.0, 1.8, 1.62, 1.6, 1.62, 1.64, 1.64, 1.70), top=0.0, sides=0.01),
    Hair.CROPPED: Cut(hairline=_OPEN, top=0.03, sides=0.015),
    Hair.SHORT: Cut(hairline=_OPEN, top=0.10, sides=0.04),
    Hair.SWEPT: Cut(hairline=(0.86, 0.92, 1.12, 1.26, 1.40, 1.64, 1.62, 1.64, 1.70), top=0.19, sides=0.05),
    Hair.FRINGE: Cut(hairline=_FRINGE, top=0.10, sides=0.07),
    Hair.CURLY: Cut(hairline=(0.74, 0.78, 0.95, 1.14, 1.25, 1.32, 1.40, 1.55, 1.65), top=0.26, sides=0.22, curl=1.0),
    Hair.BOB: Cut(hairline=_DOWN, top=0.11, sides=0.16, fall=0.85),
    Hair.LONG: Cut(hairline=_DOWN, top=0.10, sides=0.11, fall=1.7),
    Hair.BUN: Cut(hairline=(0.84, 0.86, 1.02, 1.20, 1.40, 1.62, 1.60, 1.60, 1.70), top=0.04, sides=0.02),
}


def hair_cover(identity: Identity, side: int) -> np.ndarray:
    """Where hair covers the head: (side, side) float32 in [0, 1] over the design plane."""
    cut = CUTS[identity.hair]
    plane = plane_grid(side)
    u, v = np.ascontiguousarray(plane[..., 0]), np.ascontiguousarray(plane[..., 1])
    distance, angle = cv2.cartToPolar(-v, u, angleInDegrees=True)
    from_top = np.minimum(angle, 360 - angle)
    degrees = np.arange(181)
    forehead = np.clip(1 - degrees / 75, 0, 1)
    corners = np.interp(degrees, ANGLES, cut.hairline) * (1 + (identity.hairline - 1) * forehead)
    table = cv2.GaussianBlur(corners[None].astype(np.float32), (0, 0), 5)
    line = cv2.remap(table, from_top, np.zeros_like(from_top), cv2.INTER_LINEAR)
    line = line * (1 - 0.09 * identity.parting * np.sin(np.radians(angle)) * (from_top < 90))
    strands = cv2.resize(strand_pattern(identity, 128), (side, side))
    return np.clip((distance - line + 0.07 * (strands - 0.5)) / 0.06 + 0.5, 0, 1)


def hair_thickness(identity: Identity, cover: np.ndarray) -> np.ndarray:
    """Thickness (RELIEF, RELIEF) float32 in head units, from the cover on a grid of any side."""
    cut = CUTS[identity.hair]
    cover = cv2.GaussianBlur(cv2.resize(cover, (RELIEF, RELIEF), interpolation=cv2.INTER_AREA), (0, 0), 1.2)
    plane = plane_grid(RELIEF)
    top = np.clip(-plane[..., 1] / 1.2, 0, 1)
    lean = 1 + 0.35 * identity.parting * np.clip(plane[..., 0], -1, 1)
    thickness = identity.hair_volume * (cut.sides + (cut.top * lean - cut.sides) * top)
    if cut.curl:
        thickness = thickness * (0.8 + 0.4 * _curls(identity, RELIEF))
    return (cover * thickness).astype(np.float32)


def strand_pattern(identity: Identity, side: int) -> np.ndarray:
    """Brightness (side, side) float32 about 0.5 of strands that radiate from the crown, or of curls."""
    rng = np.random.default_rng([identity.grain, 1])
    curl = CUTS[identity.hair].curl
    noise = cv2.resize(rng.random((10, 220), np.float32), (880, 160), interpolation=cv2.INTER_LINEAR)
    plane = plane_grid(side)
    u, v = np.ascontiguousarray(plane[..., 0]), np.ascontiguousarray(plane[..., 1] + 1.3)
    distance, angle = cv2.cartToPolar(u, v)
    wave = 3 * np.sin(4 * distance)
    column = angle * (880 / (2 * np.pi)) + wave.astype(np.float32)
    strands = cv2.remap(noise, column, distance * 45, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return strands if not curl else (1 - curl) * strands + curl * _curls(identity, side)


def beard_cover(identity: Identity, side: int) -> np.ndarray:
    """Density (side, side) float32 in [0, 1] of the beard over the design plane."""
    plane = plane_grid(side)
    u, v = np.abs(plane[..., 0]), plane[..., 1]
    cheek_line = 0.62 - 0.42 * np.clip((u - 0.28) / 0.9, 0, 1) ** 1.5 - 0.2 * np.clip((u - 0.8) / 0.4, 0, 1)
    jaw = _step(v - cheek_line, 0.16) * _step(1.45 - np.hypot(u, v), 0.08)
    moustache = _step(0.27 - u - 0.5 * np.abs(v - 0.54), 0.08) * _step(v - 0.44 - 0.25 * u, 0.05) * _step(0.6 - v, 0.03)
    chin = _step(0.25 - u, 0.08) * _step(v - 0.66, 0.06)
    match identity.beard:
        case Beard.FULL | Beard.STUBBLE:
            return np.maximum(jaw, moustache)
        case Beard.GOATEE:
            ring = _step(0.3 - u, 0.06) * _step(v - 0.5, 0.06) * _step(u - 0.2, 0.06)
            return np.maximum(np.maximum(chin, moustache), ring)
        case Beard.MOUSTACHE:
            return moustache
    return np.zeros((side, side), np.float32)


def _curls(identity: Identity, side: int) -> np.ndarray:
    rng = np.random.default_rng([identity.grain, 2])
    coarse = cv2.resize(rng.random((26, 26), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.random((60, 60), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.5 + 1.2 * (0.6 * coarse + 0.4 * fine - 0.5), 0, 1)


def _step(x: np.ndarray, width: float) -> np.ndarray:
    return np.clip(x / width + 0.5, 0, 1).astype(np.float32)
