"""From an identity and a scene to a picture with ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.brush import spread
from frl.synthetic.hair import hair_thickness
from frl.synthetic.head import Surface, sample, sculpt
from frl.synthetic.identity import Identity
from frl.synthetic.layout import place_landmarks
from frl.synthetic.lighting import irradiance, sheen
from frl.synthetic.rays import Trace, trace
from frl.synthetic.scene import Camera, Light, Scene
from frl.synthetic.surroundings import draw_backdrop, draw_body, draw_glasses, draw_loose_hair
from frl.synthetic.texture import Coat, make_coat, paint
from frl.synthetic.view import View

OVERSAMPLING = 1.5
PAINT = 1.75
"""Side of the paint's canvas over the side of the picture."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A picture with its ground truth."""

    image: np.ndarray
    """(size, size, 3) uint8 RGB."""
    landmarks: np.ndarray
    """(68, 2) float32: x and y in pixels, in the order of 300-W; (0, 0) is the centre of the first pixel."""
    depths: np.ndarray
    """(68,) float32: how far each landmark lies towards the camera from the head's centre, in pixels."""
    visible: np.ndarray
    """(68,) bool: the landmark lies in the picture, and neither head nor hair hides it."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What all pictures of an identity at one size share."""

    identity: Identity
    size: int
    coat: Coat
    hair: np.ndarray
    """Thickness of the hair (RELIEF, RELIEF) in head units."""


def make_model(identity: Identity, size: int) -> Model:
    """Prepare an identity for pictures of ``size`` pixels."""
    coat = make_coat(identity, round(PAINT * size))
    return Model(identity=identity, size=size, coat=coat, hair=hair_thickness(identity, 1 - coat.bare[..., 0]))


def draw_face(identity: Identity, scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (size, size, 3) uint8 RGB and its landmarks (68, 2) float32 in pixels."""
    face = render(make_model(identity, size), scene)
    return face.image, face.landmarks


def render(model: Model, scene: Scene) -> Face:
    """Draw one picture."""
    view = View.of(scene, round(OVERSAMPLING * model.size))
    marks = place_landmarks(model.identity, scene.expression)
    surface = sculpt(model.identity, scene.expression, marks, model.hair)
    hits = trace(surface.radius, view)
    picture = draw_backdrop(scene, view.side)
    draw_loose_hair(model.identity, scene, view, picture)
    draw_body(model.identity, scene, view, picture)
    colours = paint(model.identity, scene.expression, marks, model.coat)
    _draw_head(colours, surface, hits, scene.light, view, picture)
    if scene.glasses is not None:
        draw_glasses(scene.glasses, model.identity, surface, view, picture)
    small = cv2.resize(picture, (model.size, model.size), interpolation=cv2.INTER_AREA)
    landmarks, depths, visible = _truth(surface.skin_point(marks), hits, view, model.size)
    image = _develop(small, scene.camera, scene.noise_seed)
    return Face(image=image, landmarks=landmarks, depths=depths, visible=visible)


def _draw_head(
    colours: np.ndarray, surface: Surface, hits: Trace, lamp: Light, view: View, picture: np.ndarray
) -> None:
    side = len(colours)
    towards = lamp.direction() @ view.rotation
    light = irradiance(surface.normals, surface.openness, towards, lamp, up=-view.rotation[1])
    gloss = sheen(surface.normals, towards, eye=view.rotation[2]) * lamp.strength
    smooth_light = cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR)
    smooth_gloss = cv2.resize(gloss, (side, side), interpolation=cv2.INTER_LINEAR)
    lit = colours * colours * smooth_light + spread(smooth_gloss)
    seen = sample(lit, hits.u, hits.v)
    picture[hits.window] += spread(hits.cover) * (seen - picture[hits.window])


def _truth(points: np.ndarray, hits: Trace, view: View, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = view.project(points)
    pixel = np.round(points[:, :2]).astype(int) - [hits.window[1].start, hits.window[0].start]
    column, row = np.clip(pixel, 0, [hits.depth.shape[1] - 1, hits.depth.shape[0] - 1]).T
    hidden = (hits.cover[row, column] > 0.5) & (hits.depth[row, column] > points[:, 2] + 0.06)
    inside = np.all((points[:, :2] > -0.5) & (points[:, :2] < view.side - 0.5), axis=1)
    landmarks = (points[:, :2] + 0.5) * (size / view.side) - 0.5
    depths = points[:, 2] * (view.scale * size / view.side)
    return landmarks.astype(np.float32), depths.astype(np.float32), inside & ~hidden


def _develop(light: np.ndarray, camera: Camera, noise_seed: int) -> np.ndarray:
    """The camera's part: from linear light (size, size, 3) to a picture of bytes."""
    size = len(light)
    if camera.blur * size > 0.2:
        light = cv2.GaussianBlur(light, (0, 0), camera.blur * size)
    picture = np.sqrt(np.maximum(light * (camera.exposure * np.asarray(camera.gains, np.float32)), 0))
    picture = 0.5 + camera.contrast * (picture - 0.5)
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + camera.saturation * (picture - grey)
    if camera.noise > 0:
        rng = np.random.default_rng([noise_seed, 1])
        picture = picture + camera.noise * spread(rng.standard_normal((size, size), np.float32))
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
