"""The shape of a head: a radius for every direction, as a grid over the design plane.

A super-ellipsoid with a tapering jaw carries smooth bumps for the features; hair is a shell above the skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.identity import Identity
from frl.synthetic.layout import BRIDGE, BROWS, NOSE_BASE, OUTER_LIPS, eye_centre, place_landmarks
from frl.synthetic.scene import Expression
from frl.synthetic.sphere import to_directions

EXTENT = 1.95
"""The grids cover [-EXTENT, EXTENT] of the design plane in u and v."""
RELIEF = 128
"""Side of the grid of the radius."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A star-shaped surface, on grids (RELIEF, RELIEF) float32 over the design plane, in head units."""

    radius: np.ndarray
    """Of the outer surface, hair included."""
    skin_radius: np.ndarray
    """Of the skin, on which the landmarks lie."""
    normals: np.ndarray
    """Outward unit normals (RELIEF, RELIEF, 3) of the outer surface in the head's frame."""
    openness: np.ndarray
    """Share of the sky that reaches the surface, in [0, 1]; hollows see less."""

    def skin_point(self, plane: np.ndarray) -> np.ndarray:
        """Positions (N, 3) float64 on the skin, in the head's frame, for points (N, 2) of the plane."""
        where = grid_position(plane, RELIEF).astype(np.float32)
        radius = cv2.remap(self.skin_radius, where[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return to_directions(plane) * radius[0, :, None]


def grid_position(plane: np.ndarray, side: int) -> np.ndarray:
    """Fractional (column, row) on a grid of ``side`` for points (..., 2) of the plane."""
    return (plane / EXTENT + 1) * ((side - 1) / 2)


def plane_grid(side: int) -> np.ndarray:
    """The plane's points (side, side, 2) float32 at the places of a grid."""
    line = np.linspace(-EXTENT, EXTENT, side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), axis=-1)


def sculpt(identity: Identity, expression: Expression, hair: np.ndarray) -> Surface:
    """The surface of a head; ``hair`` (RELIEF, RELIEF) is the thickness of the hair in head units."""
    plane = plane_grid(RELIEF)
    directions = to_directions(plane).astype(np.float32)
    relief = _features(identity, expression, plane)
    skin = _skull(identity, expression, directions) + relief
    # Hair lies over ears rather than on top of them.
    radius = skin + np.maximum(hair - np.maximum(relief, 0), 0)
    hollow = cv2.GaussianBlur(radius, (0, 0), 5) - radius
    return Surface(
        radius=radius,
        skin_radius=skin,
        normals=_normals(directions * radius[..., None]),
        openness=np.clip(1 - 7 * np.maximum(hollow, 0), 0.35, 1),
    )


def _skull(identity: Identity, expression: Expression, directions: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(directions, -1, 0)
    exponent = identity.squareness
    jaw = _smoothstep(0.1, 0.95, y)
    width = 0.78 * identity.head_width * (1 - (1 - identity.jaw_width) * jaw)
    height = np.where(y > 0, 1.05 * identity.chin + 0.13 * expression.mouth_open, 1.0)
    depth = np.where(z > 0, 0.86, 0.98)
    size = np.abs(x) / width, np.abs(y) / height, np.abs(z) / depth
    radius = sum(part**exponent for part in size) ** np.float32(-1 / exponent)
    # Below the jaw the surface recedes towards the neck, which leaves the chin as an edge.
    undercut = _smoothstep(0.55, 0.85, y) * _smoothstep(0.42, -0.1, z)
    return (radius * (1 - 0.17 * undercut)).astype(np.float32)


def _features(identity: Identity, expression: Expression, plane: np.ndarray) -> np.ndarray:
    marks = place_landmarks(identity, expression)
    eye = eye_centre(identity)
    mouth = marks[OUTER_LIPS].mean(axis=0)
    chin = np.array([0, 1.06])
    smile = expression.smile
    brow = marks[BROWS[1]]
    relief = _nose(identity, marks, plane)
    for side in (-1, 1):
        mirror = np.array([side, 1])
        relief += _bump(plane, (eye + [-0.04, -0.01]) * mirror, (0.15, 0.1), -0.075)
        relief += _bump(plane, eye * mirror, (0.09, 0.075), 0.045)
        relief += _bump(plane, (brow[1:4].mean(axis=0) + [0, 0.02]) * mirror, (0.2, 0.06), 0.03)
        relief += _bump(
            plane, np.array([0.6, 0.2 - 0.03 * smile]) * mirror, (0.2, 0.16), identity.cheeks + 0.03 * smile
        )
        relief += _bump(plane, np.array([0.42, 0.5]) * mirror, (0.12, 0.14), -0.02 + 0.03 * smile)
        relief += _bump(plane, np.array([1.46, 0.02]) * mirror, (0.055, 0.17), identity.ears)
    relief += _bump(plane, mouth, (0.3, 0.18), 0.035)
    relief += _bump(plane, marks[51] * 0.5 + marks[62] * 0.5, (0.16, 0.035), 0.4 * identity.upper_lip)
    relief += _bump(plane, marks[57] * 0.5 + marks[66] * 0.5, (0.13, 0.04), 0.45 * identity.lower_lip)
    relief += _bump(plane, (marks[57] + [0, 0.07]), (0.16, 0.05), -0.03)
    relief += _bump(plane, chin, (0.19, 0.13), 0.05)
    return relief


def _nose(identity: Identity, marks: np.ndarray, plane: np.ndarray) -> np.ndarray:
    root, tip = marks[BRIDGE][0], marks[BRIDGE][3]
    u, v = plane[..., 0], plane[..., 1]
    along = np.clip((v - root[1]) / (tip[1] - root[1]), -0.6, 1.3)
    height = identity.nose_bridge + (identity.nose_height - identity.nose_bridge) * np.clip(along, 0, 1) ** 1.4
    width = (0.062 + 0.035 * np.clip(along, 0, 1)) * identity.nose_width
    ridge = height * np.exp(-0.5 * (u / width) ** 2)
    ridge = ridge * _smoothstep(-0.6, 0.15, along) * _smoothstep(tip[1] + 0.105, tip[1] + 0.01, v)
    wing = marks[NOSE_BASE][4] * [0.78, 1] - [0, 0.035]
    wings = sum(_bump(plane, wing * [side, 1], (0.045 * identity.nose_width, 0.045), 0.07) for side in (-1, 1))
    return (ridge + wings).astype(np.float32)


def _bump(plane: np.ndarray, centre: np.ndarray, width: tuple[float, float], height: float) -> np.ndarray:
    across = np.exp(-0.5 * ((plane[0, :, 0] - centre[0]) / width[0]) ** 2)
    down = np.exp(-0.5 * ((plane[:, 0, 1] - centre[1]) / width[1]) ** 2)
    return np.outer(height * down, across).astype(np.float32)


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _normals(points: np.ndarray) -> np.ndarray:
    # Central differences to the right and downwards; their cross product points outwards.
    padded = cv2.copyMakeBorder(points, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    ax, ay, az = cv2.split(padded[1:-1, 2:] - padded[1:-1, :-2])
    bx, by, bz = cv2.split(padded[2:, 1:-1] - padded[:-2, 1:-1])
    normals = cv2.merge([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    length = np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))
    return normals / np.maximum(length, 1e-9)[..., None]
