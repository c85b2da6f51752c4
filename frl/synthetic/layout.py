"""Where the features of a face lie on the design plane: the 68 landmarks of 300-W (Sagonas et al., 2016).

The landmarks are the only description of the features' places: relief, paint and ground truth all start from them.
"""

from __future__ import annotations

import numpy as np

from frl.beton.targets import MIRRORS
from frl.synthetic.identity import Identity
from frl.synthetic.scene import Expression

JAW = slice(0, 17)
BROWS = (slice(17, 22), slice(22, 27))
BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
EYES = (slice(36, 42), slice(42, 48))
OUTER_LIPS = slice(48, 60)
INNER_LIPS = slice(60, 68)
MIRROR = np.array(MIRRORS["300w"])
"""Index, for each landmark, of the one that takes its place in a mirror."""

EYE_LEVEL = -0.13
MOUTH_LEVEL = 0.585


def place_landmarks(identity: Identity, expression: Expression) -> np.ndarray:
    """The landmarks (68, 2) float64 on the design plane; those of a symmetric face mirror each other."""
    eye = _eye(identity, expression)
    brow = _brow(identity, expression)
    # Both are drawn for the right half of the picture; the left half lists them from the outside inwards.
    left_eye = (eye * [-1, 1])[[3, 2, 1, 0, 5, 4]]
    left_brow = (brow * [-1, 1])[::-1]
    parts = [_jaw(identity), left_brow, brow, _nose(identity, expression), left_eye, eye, _mouth(identity, expression)]
    return np.concatenate(parts)


def eye_centre(identity: Identity) -> np.ndarray:
    """Centre (2,) of the eye in the right half of the picture."""
    return np.array([0.365 * identity.eye_spacing, EYE_LEVEL])


def _jaw(identity: Identity) -> np.ndarray:
    turn = np.linspace(-np.pi / 2, np.pi / 2, 17)
    return np.stack([1.37 * np.sin(turn), -0.1 + 1.22 * np.cos(turn) ** 0.9], axis=1)


def _eye(identity: Identity, expression: Expression) -> np.ndarray:
    half = 0.15 * identity.eye_size
    squint = 1 - 0.25 * expression.smile - 0.2 * expression.frown + 0.25 * expression.brow_raise
    opening = identity.eye_opening * identity.eye_size * squint
    # A closing lid travels down to the lower one, which hardly rises.
    lower = 0.04 * opening * (1 - 0.35 * expression.smile)
    upper = -0.07 * opening * (1 - expression.eye_closure) + (lower - 0.006) * expression.eye_closure
    tilt = identity.eye_tilt
    corners = [
        [-half, 0.01],
        [-0.42 * half, upper],
        [0.42 * half, upper],
        [half, 0],
        [0.45 * half, lower],
        [-0.45 * half, lower],
    ]
    eye = np.array(corners)
    eye[:, 1] -= tilt * eye[:, 0] / half
    return eye + eye_centre(identity)


def _brow(identity: Identity, expression: Expression) -> np.ndarray:
    along = np.linspace(0, 1, 5)
    x = 0.15 + 0.43 * along
    arch = identity.brow_arch * (1 - ((along - 0.6) / 0.6) ** 2)
    y = EYE_LEVEL - identity.brow_height - arch - identity.brow_slant * along
    x = x * identity.eye_spacing - 0.045 * expression.frown * (1 - along)
    y = y - 0.1 * expression.brow_raise * (0.7 + 0.3 * np.sin(np.pi * along)) + 0.07 * expression.frown * (1 - along)
    return np.stack([x, y], axis=1)


def _nose(identity: Identity, expression: Expression) -> np.ndarray:
    tip = EYE_LEVEL + 0.43 * identity.nose_length
    bridge = np.stack([np.zeros(4), np.linspace(EYE_LEVEL - 0.01, tip, 4)], axis=1)
    wing = 0.115 * identity.nose_width * (1 + 0.12 * expression.smile)
    x = wing * np.array([-1, -0.5, 0, 0.5, 1])
    y = tip + np.array([0.07, 0.092, 0.1, 0.092, 0.07]) - 0.015 * expression.smile * np.array([1, 0.5, 0, 0.5, 1])
    return np.concatenate([bridge, np.stack([x, y], axis=1)])


def _mouth(identity: Identity, expression: Expression) -> np.ndarray:
    smile, gape = expression.smile, expression.mouth_open
    half = 0.25 * identity.mouth_width * (1 + 0.28 * smile - 0.1 * gape)
    middle = MOUTH_LEVEL + identity.mouth_height
    corner = -0.055 * smile + 0.03 * expression.frown + 0.05 * gape
    thin = 1 - 0.25 * smile
    parted = 0.035 * max(0.0, smile - 0.35)
    roof, floor = -0.012 * gape - parted - 0.01 * smile, 0.17 * gape + parted + 0.01 * smile
    top, bottom = roof - identity.upper_lip * thin, floor + identity.lower_lip * thin

    def sag(x: np.ndarray, depth: float) -> np.ndarray:
        # Lips run from the corners to the middle along a parabola-like curve.
        return depth + (corner - depth) * np.abs(x) ** 2.2

    outer_x, inner_x = np.array([-0.62, -0.24, 0, 0.24, 0.62]), np.array([-0.45, 0, 0.45])
    bow = np.array([0, -0.006, 0.008, -0.006, 0])
    outer_top = np.stack([outer_x * half, sag(outer_x, top) + bow], axis=1)
    outer_bottom = np.stack([outer_x[::-1] * half, sag(outer_x, bottom)], axis=1)
    inner_top = np.stack([inner_x * half, sag(inner_x, roof)], axis=1)
    inner_bottom = np.stack([inner_x[::-1] * half, sag(inner_x, floor)], axis=1)
    left, right = np.array([[-half, corner]]), np.array([[half, corner]])
    inset = np.array([0.88, 1.0])
    mouth = [left, outer_top, right, outer_bottom, left * inset, inner_top, right * inset, inner_bottom]
    return np.concatenate(mouth) + [0, middle]
