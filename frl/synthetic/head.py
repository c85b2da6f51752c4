"""The shape of a head: a radius for every direction, as a grid over the design plane.

A super-ellipsoid with a tapering jaw carries smooth bumps for the features; hair is a shell above the skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from frl.synthetic.identity import Identity
from frl.synthetic.layout import BRIDGE, BROWS, NOSE_BASE, OUTER_LIPS, eye_centre
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
        u, v = plane.astype(np.float32).T
        return to_directions(plane) * sample(self.skin_radius, u[None], v[None])[0, :, None]


def grid_position(plane: np.ndarray, side: int) -> np.ndarray:
    """Fractional (column, row) on a grid of ``side`` for points (..., 2) of the plane."""
    return (plane / EXTENT + 1) * ((side - 1) / 2)


def sample(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear values, at points (H, W) of the design plane, of a square grid over it with any channels."""
    step, middle = (len(grid) - 1) / (2 * EXTENT), (len(grid) - 1) / 2
    return cv2.remap(grid, u * step + middle, v * step + middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@cache
def plane_grid(side: int) -> np.ndarray:
    """The plane's points (side, side, 2) float32 at the places of a grid; read-only."""
    line = np.linspace(-EXTENT, EXTENT, side, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    grid.flags.writeable = False
    return grid


@cache
def _direction_grid() -> np.ndarray:
    grid = to_directions(plane_grid(RELIEF)).astype(np.float32)
    grid.flags.writeable = False
    return grid


def sculpt(identity: Identity, expression: Expression, marks: np.ndarray, hair: np.ndarray) -> Surface:
    """The surface of a head with landmarks ``marks`` (68, 2) on the plane and a thickness ``hair`` (RELIEF, RELIEF)."""
    directions = _direction_grid()
    relief = _features(identity, expression, marks) + _nose(identity, marks)
    skin = _skull(identity, expression, directions) + relief
    # Hair lies over ears rather than on top of them.
    radius = skin + np.maximum(hair - np.maximum(relief, 0), 0)
    hollow = cv2.GaussianBlur(radius, (0, 0), 5) - radius
    return Surface(
        radius=radius,
        skin_radius=skin,
        normals=_normals(directions * cv2.merge((radius, radius, radius))),
        openness=np.clip(1 - 7 * np.maximum(hollow, 0), 0.35, 1),
    )


def _skull(identity: Identity, expression: Expression, directions: np.ndarray) -> np.ndarray:
    x, y, z = cv2.split(directions)
    exponent = identity.squareness
    width = 0.78 * identity.head_width * (1 - (1 - identity.jaw_width) * _smoothstep(0.1, 0.95, y))
    below = 1.05 * identity.chin + 0.13 * expression.mouth_open
    height = np.where(y > 0, np.float32(below), np.float32(1))
    depth = np.where(z > 0, np.float32(0.86), np.float32(0.98))
    size = np.abs(x) / width, np.abs(y) / height, np.abs(z) / depth
    radius = sum(part**exponent for part in size) ** (-1 / exponent)
    # Below the jaw the surface recedes towards the neck, which leaves the chin as an edge.
    undercut = _smoothstep(0.55, 0.85, y) * _smoothstep(0.42, -0.1, z)
    return radius * (1 - 0.17 * undercut)


def _features(identity: Identity, expression: Expression, marks: np.ndarray) -> np.ndarray:
    """Gaussian bumps; each row of the tables is the centre u, v, the widths along u, v, and the height."""
    smile = expression.smile
    eye_u, eye_v = eye_centre(identity)
    brow_u, brow_v = marks[BROWS[1]][1:4].mean(axis=0)
    wing_u, wing_v = marks[NOSE_BASE][4]
    lips_v = marks[OUTER_LIPS][:, 1].mean()
    top, bottom, upper, lower = marks[[51, 57, 62, 66], 1]
    right_half = [
        (eye_u - 0.04, eye_v - 0.01, 0.15, 0.10, -0.075),
        (eye_u, eye_v, 0.09, 0.075, 0.045),
        (brow_u, brow_v + 0.02, 0.2, 0.06, 0.03),
        (0.6, 0.2 - 0.03 * smile, 0.2, 0.16, identity.cheeks + 0.03 * smile),
        (0.42, 0.5, 0.12, 0.14, -0.02 + 0.03 * smile),
        (1.46, 0.02, 0.055, 0.17, identity.ears),
        (0.78 * wing_u, wing_v - 0.035, 0.045 * identity.nose_width, 0.045, 0.07),
    ]
    middle = [
        (0, lips_v, 0.3, 0.18, 0.035),
        (0, 0.5 * (top + upper), 0.16, 0.035, 0.4 * identity.upper_lip),
        (0, 0.5 * (bottom + lower), 0.13, 0.04, 0.45 * identity.lower_lip),
        (0, bottom + 0.07, 0.16, 0.05, -0.03),
        (0, 1.06, 0.19, 0.13, 0.05),
    ]
    left_half = [(-u, *others) for u, *others in right_half]
    u, v, across, down, height = np.array(right_half + left_half + middle, np.float32).T[..., None]
    line = plane_grid(RELIEF)[0, :, 0]
    columns = np.exp(-0.5 * ((line - u) / across) ** 2)
    rows = height * np.exp(-0.5 * ((line - v) / down) ** 2)
    return rows.T @ columns


def _nose(identity: Identity, marks: np.ndarray) -> np.ndarray:
    line = plane_grid(RELIEF)[0, :, 0]
    root, tip = marks[BRIDGE][[0, 3], 1].tolist()
    along = (line - root) / (tip - root)
    down = np.clip(along, 0, 1)
    height = identity.nose_bridge + (identity.nose_height - identity.nose_bridge) * down**1.4
    height = height * _smoothstep(-0.6, 0.15, along) * _smoothstep(tip + 0.105, tip + 0.01, line)
    width = (0.062 + 0.035 * down) * identity.nose_width
    return height[:, None] * np.exp(-0.5 * (line / width[:, None]) ** 2)


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
