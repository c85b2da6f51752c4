"""What is around the head: backdrop, loose hair, neck and clothes, glasses.

Layers are drawn into an oversampled picture (side, side, 3) float32 of linear light, from back to front.
"""

from __future__ import annotations

import cv2
import numpy as np

from frl.synthetic.brush import SUBPIXEL, disc, spread
from frl.synthetic.hair import CUTS
from frl.synthetic.head import Surface
from frl.synthetic.identity import Colour, Hair, Identity
from frl.synthetic.layout import eye_centre
from frl.synthetic.lighting import irradiance
from frl.synthetic.scene import Scene
from frl.synthetic.view import View

SKETCH = 32
"""Side of the small picture in which the backdrop is drawn before it is enlarged."""
ZENITH = np.array([0, -1, 0])


def draw_backdrop(scene: Scene, side: int) -> np.ndarray:
    """A new picture of a gradient with smooth noise and blurry blobs."""
    rng = np.random.default_rng([scene.noise_seed, 2])
    first, second = (np.asarray(colour, np.float32) ** 2 for colour in scene.backdrop.colours)
    line = np.linspace(-0.5, 0.5, SKETCH, dtype=np.float32)
    angle = np.radians(scene.backdrop.angle)
    across = line[None, :] * np.cos(angle) + line[:, None] * np.sin(angle)
    mix = np.clip(across + 0.5, 0, 1)[..., None]
    sketch = (first + (second - first) * mix).astype(np.float32)
    for _ in range(scene.backdrop.blobs):
        centre, radius = np.round(rng.uniform(0, SKETCH, 2)).astype(int), round(rng.uniform(2, 8))
        colour = (0.4 * rng.random() + 0.6 * rng.random(3)) ** 2
        cv2.circle(sketch, centre.tolist(), radius, colour.tolist(), -1)
    sketch = cv2.GaussianBlur(sketch, (0, 0), 1.3)
    sketch *= 1 + scene.backdrop.grain * rng.standard_normal((SKETCH, SKETCH, 1), np.float32)
    lit = (scene.light.ambient + 0.6 * scene.light.strength) * np.maximum(sketch, 0)
    return cv2.resize(lit, (side, side), interpolation=cv2.INTER_CUBIC)


def draw_loose_hair(identity: Identity, scene: Scene, view: View, picture: np.ndarray) -> None:
    """A bun, and the hair that hangs behind the face."""
    fall = CUTS[identity.hair].fall
    volume = identity.hair_volume**0.5
    if identity.hair is Hair.BUN:
        centre = view.project(np.array([0, -1.0, -0.4]))
        _draw_hanging(
            identity, scene, view, picture, centre, width=0.36 * volume, above=0.32 * volume, below=0.32 * volume
        )
    if fall:
        root = view.project(np.array([0, 0.0, -0.35]))
        _draw_hanging(identity, scene, view, picture, root, width=0.86 * volume, above=0.95, below=fall)


def draw_body(identity: Identity, scene: Scene, view: View, picture: np.ndarray) -> None:
    """The neck, leaning from the shoulders to the head, and the clothes."""
    y = view.rays(np.arange(view.side)[:, None] * [0, 1])[:, 1]
    nape, chin = view.rays(view.project(np.array([[0, 0.25, -0.35], [0, 0.95, 0.4]]))[:, :2])
    bend = np.clip((y - nape[1]) / (1.5 - nape[1]), 0, 1)
    neck = 0.5 * identity.head_width * identity.jaw_width**0.5
    flare = 0.25 * np.clip((y - 1.0) / 0.5, 0, 1) ** 2
    shade = 0.5 + 0.5 * np.clip((y - chin[1] - 0.02) / 0.4, 0, 1)
    skin = np.asarray(identity.skin) ** 2 * shade[:, None, None]
    _draw_column(picture, scene, view, nape[0] * (1 - bend), np.where(y > nape[1], neck + flare, 0), skin)
    drop = np.clip((y - 1.26) / 0.75, 0, 1)
    shoulders = np.where(y > 1.26, 0.62 + 1.15 * np.sqrt(1 - (1 - drop) ** 2), 0)
    _draw_column(picture, scene, view, np.zeros_like(y), shoulders, np.asarray(scene.clothes) ** 2)


def draw_glasses(frame: Colour, identity: Identity, surface: Surface, view: View, picture: np.ndarray) -> None:
    """Rims, bridge and the temples that face the camera."""
    eye = eye_centre(identity)
    rims = [surface.skin_point(disc(eye * [side, 1] + [0, 0.02], 0.2, 0.85)).mean(axis=0) for side in (-1, 1)]
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = 0.185 * np.stack([1.1 * np.cos(turn), 0.9 * np.sin(turn), np.zeros(24)], axis=1)
    mask = np.zeros(picture.shape[:2], np.uint8)
    thickness = max(1, round(0.035 * view.scale))

    def stroke(points: np.ndarray, closed: bool) -> None:
        pixels = np.round(view.project(points)[:, :2] * (1 << SUBPIXEL)).astype(np.int32)
        cv2.polylines(mask, [pixels], closed, 255, thickness, cv2.LINE_AA, SUBPIXEL)

    for side, rim in zip((-1, 1), rims, strict=True):
        middle = rim + [0, 0, 0.13]
        stroke(middle + ring, closed=True)
        ear = np.array([0.8 * side, rim[1] - 0.03, 0.0])
        if side * view.rotation[2, 0] > 0:
            stroke(np.stack([middle + [0.2 * side, 0, 0], ear]), closed=False)
    stroke(np.stack([rims[0] + [0.2, -0.03, 0.13], rims[1] + [-0.2, -0.03, 0.13]]), closed=False)
    cover = spread(mask.astype(np.float32) / 255)
    picture += cover * (np.asarray(frame, np.float32) ** 2 - picture)


def _draw_hanging(
    identity: Identity,
    scene: Scene,
    view: View,
    picture: np.ndarray,
    centre: np.ndarray,
    *,
    width: float,
    above: float,
    below: float,
) -> None:
    """A rounded mass of strands about a place (x, y in pixels)."""
    x, middle = view.rays(centre[:2])
    y = view.rays(np.arange(view.side)[:, None] * [0, 1])[:, 1] - middle
    half = width * np.maximum(1 - np.where(y < 0, np.abs(y / above) ** 2, np.abs(y / below) ** 4), 0) ** 0.5
    colour = np.asarray(identity.hair_colour) ** 2 * (0.75 + 0.12 * np.cos(4 * y))[:, None, None]
    strands = np.random.default_rng([identity.grain, 4]).uniform(0.55, 1.25, 48)
    _draw_column(picture, scene, view, np.full_like(y, x), half, colour, strands)


def _draw_column(
    picture: np.ndarray,
    scene: Scene,
    view: View,
    centre: np.ndarray,
    half: np.ndarray,
    colour: np.ndarray,
    stripes: np.ndarray | None = None,
) -> None:
    """An upright body of round cross-section: for each row its centre and half width in head units.

    ``colour`` broadcasts to (rows, columns, 3); ``stripes`` are factors of it from the left edge to the right one.
    """
    rows = np.flatnonzero(half > 0)
    if not len(rows):
        return
    half, centre = half[rows, None].astype(np.float32), centre[rows, None].astype(np.float32)
    x = view.rays(np.arange(view.side)[:, None] * [1, 0])[:, 0].astype(np.float32)
    columns = np.flatnonzero((x > np.min(centre - half)) & (x < np.max(centre + half)))
    if not len(columns):
        return
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    across = (x[window[1]] - centre) / half
    cover = np.clip((1 - np.abs(across)) * half * np.float32(view.scale) + 0.5, 0, 1)
    # Light depends only on the place across the body: look it up.
    profile = np.linspace(-1, 1, 256)
    normals = np.stack([profile, np.zeros(256), np.sqrt(1 - profile**2)], axis=-1).astype(np.float32)
    light = irradiance(normals, np.ones(256, np.float32), scene.light.direction(), scene.light, ZENITH)
    if stripes is not None:
        light *= np.interp(profile, np.linspace(-1, 1, len(stripes)), stripes)[:, None].astype(np.float32)
    light = light[np.clip(across * 127.5 + 127.5, 0, 255).astype(np.uint8)]
    lit = light * (colour[window[0]] if colour.ndim == 3 else colour).astype(np.float32)
    picture[window] += spread(cover) * (lit - picture[window])
