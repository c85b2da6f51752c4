"""The paint of a head: colours over the design plane, first what lasts, then what an expression moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.brush import Stencil, curve, disc, fill, ribbon, spread, stencil, tint
from frl.synthetic.hair import beard_cover, hair_cover, strand_pattern
from frl.synthetic.head import grid_position
from frl.synthetic.identity import Beard, Hair, Identity
from frl.synthetic.layout import BROWS, EYES, INNER_LIPS, OUTER_LIPS
from frl.synthetic.scene import Expression


@dataclass(frozen=True, kw_only=True)
class Coat:
    """The lasting paint of an identity, on grids (side, side) over the design plane; colours are sRGB float32."""

    skin: np.ndarray
    hair: np.ndarray
    """Weighted by its cover."""
    bare: np.ndarray
    """Share (side, side, 3) of the skin that no hair covers."""


def make_coat(identity: Identity, side: int) -> Coat:
    """Skin with its marks and beard, and hair, on grids of ``side``."""
    strands = strand_pattern(identity, side)
    gloss = 0.72 + 0.56 * strands
    hair = np.asarray(identity.hair_colour, np.float32) * gloss[..., None]
    skin = _skin(identity, side)
    _freckles(identity, skin)
    _beard(identity, skin, strands)
    cover = hair_cover(identity, side)
    if identity.hair in (Hair.BALD, Hair.CROPPED):
        cover = cover * 0.8
    cover = spread(cover)
    return Coat(skin=skin, hair=hair * cover, bare=1 - cover)


def paint(identity: Identity, expression: Expression, marks: np.ndarray, coat: Coat) -> np.ndarray:
    """The head's colours (side, side, 3) sRGB float32 with features at the landmarks ``marks`` (68, 2)."""
    canvas = coat.skin.copy()
    _folds(identity, expression, marks, canvas)
    _nostrils(marks, canvas)
    _mouth(identity, expression, marks, canvas)
    for side, eye in zip((-1, 1), EYES, strict=True):
        _eye(identity, expression, marks[eye], side, canvas)
    for brow in BROWS:
        _brow(identity, marks[brow], canvas)
    canvas *= coat.bare
    canvas += coat.hair
    return canvas


def _skin(identity: Identity, side: int) -> np.ndarray:
    base = np.asarray(identity.skin, np.float32)
    skin = np.broadcast_to(base, (side, side, 3)).copy()
    flush = np.array([1.04, 0.84, 0.84])
    for place in ((-0.58, 0.25), (0.58, 0.25), (0.0, 0.28)):
        tint(skin, stencil(disc(np.array(place), 0.13), side, 0.1), flush, 0.25 + 0.75 * identity.redness)
    for mirror in ((-1, 1), (1, 1)):
        tint(
            skin,
            stencil(disc(np.array([0.36, -0.1]) * mirror, 0.16, 0.7), side, 0.07),
            np.array([0.8, 0.74, 0.74]),
            0.5,
        )
    tint(skin, stencil(disc(np.array([0.0, 0.9]), 0.5, 0.35), side, 0.15), np.array([0.97, 0.97, 0.99]), 1.0)
    return skin


def _freckles(identity: Identity, skin: np.ndarray) -> None:
    side = len(skin)
    if identity.mole is not None:
        fill(skin, stencil(disc(np.array(identity.mole), 0.022), side), 0.35 * np.asarray(identity.skin), 0.8)
    if identity.freckles > 0.1:
        rng = np.random.default_rng([identity.grain, 3])
        spots = np.zeros((side, side), np.float32)
        places = rng.normal((0, 0.15), (0.42, 0.16), (90, 2))
        column, row = np.round(grid_position(places, side)).astype(int).clip(0, side - 1).T
        spots[row, column] = rng.random(len(places))
        spots = cv2.GaussianBlur(spots, (0, 0), side * 0.004) * (side * 0.004) ** 2 * 6
        skin *= 1 - np.clip(identity.freckles * spots, 0, 0.5)[..., None] * np.array([0.35, 0.55, 0.65], np.float32)


def _beard(identity: Identity, skin: np.ndarray, strands: np.ndarray) -> None:
    if identity.beard is Beard.NONE:
        return
    cover = beard_cover(identity, len(skin))
    colour = np.asarray(identity.hair_colour, np.float32)
    if identity.beard is Beard.STUBBLE:
        cover = cover * 0.38
        colour = 0.5 * colour + 0.1
    else:
        cover = cover * (0.72 + 0.28 * strands)
    skin += cover[..., None] * (colour * (0.75 + 0.4 * strands[..., None]) - skin)


def _folds(identity: Identity, expression: Expression, marks: np.ndarray, canvas: np.ndarray) -> None:
    side = len(canvas)
    shade = np.array([0.72, 0.62, 0.6])
    depth = float(np.clip(0.12 + 0.45 * identity.lines + 0.45 * expression.smile, 0, 1))
    for mirror, wing, corner in ((-1, marks[31], marks[48]), (1, marks[35], marks[54])):
        path = np.array(
            [
                wing + [0.03 * mirror, -0.03],
                0.5 * (wing + corner) + [0.1 * mirror, -0.02],
                corner + [0.07 * mirror, 0.02],
            ]
        )
        line = curve(path, closed=False)
        tint(canvas, stencil(ribbon(line, np.full(len(line), 0.03)), side, 0.016), shade, depth)
    wrinkle = float(np.clip(0.5 * identity.lines - 0.1 + 0.6 * expression.brow_raise, 0, 0.8))
    if wrinkle > 0.05:
        for level in (-0.52, -0.6):
            line = curve(np.array([[-0.3, level + 0.02], [0, level], [0.3, level + 0.02]]), closed=False)
            tint(canvas, stencil(ribbon(line, np.full(len(line), 0.018)), side, 0.012), shade, wrinkle)
    if expression.frown > 0.05:
        for mirror in (-1, 1):
            line = np.array([[0.05 * mirror, -0.36], [0.055 * mirror, -0.28], [0.04 * mirror, -0.2]])
            tint(canvas, stencil(ribbon(line, np.array([0.005, 0.025, 0.01])), side, 0.01), shade, expression.frown)


def _nostrils(marks: np.ndarray, canvas: np.ndarray) -> None:
    side = len(canvas)
    for inner, outer, mirror in ((32, 31, -1), (34, 35, 1)):
        centre = 0.55 * marks[inner] + 0.45 * marks[outer]
        hole = disc(centre - [0, 0.006], 0.034, 0.45)
        tint(canvas, stencil(hole, side, 0.008), np.array([0.3, 0.2, 0.2]), 0.9)
        wing = marks[outer] + [0.008 * mirror, -0.01]
        line = curve(np.array([wing + [-0.012 * mirror, -0.075], wing + [0.01 * mirror, -0.04], wing]), closed=False)
        tint(canvas, stencil(ribbon(line, np.full(len(line), 0.016)), side, 0.01), np.array([0.7, 0.58, 0.56]), 0.7)


def _mouth(identity: Identity, expression: Expression, marks: np.ndarray, canvas: np.ndarray) -> None:
    side = len(canvas)
    outer, inner = marks[OUTER_LIPS], marks[INNER_LIPS]
    skin = np.asarray(identity.skin)
    plain = skin * [0.88, 0.68, 0.66]
    lips = plain + identity.lip_colour * 0.6 * (np.array([0.72, 0.25, 0.28]) * (0.35 + 0.65 * skin.mean()) - plain)
    tint(canvas, stencil(disc(outer[9] + [0, 0.055], 0.11, 0.3), side, 0.03), np.array([0.82, 0.76, 0.75]), 0.7)
    fill(canvas, stencil(curve(outer, closed=True), side, 0.008), lips, 0.92)
    upper = np.concatenate([outer[:7], inner[4::-1]])
    tint(canvas, stencil(upper, side, 0.006), np.array([0.84, 0.8, 0.8]))
    shine = disc(outer[9] * 0.55 + inner[6] * 0.45, 0.07, 0.22)
    tint(canvas, stencil(shine, side, 0.015), np.array([1.15, 1.2, 1.2]), 0.8)
    gap = stencil(curve(inner, closed=True), side)
    fill(canvas, gap, np.array([0.16, 0.05, 0.05]))
    line = curve(np.concatenate([outer[:1], inner[:5], outer[6:7]]), closed=False)
    width = 0.006 + 0.014 * np.sin(np.linspace(0, np.pi, len(line)))
    tint(canvas, stencil(ribbon(line, width), side, 0.004), np.array([0.4, 0.28, 0.28]), 0.9)
    _teeth(expression, inner, gap, canvas)


def _teeth(expression: Expression, inner: np.ndarray, gap: Stencil, canvas: np.ndarray) -> None:
    side = len(canvas)
    edge = inner[:5]
    upper = np.concatenate([edge, (edge + [0, 0.06 + 0.03 * expression.smile])[::-1]])
    fill(canvas, gap.both(stencil(upper, side, 0.005)), np.array([0.9, 0.88, 0.83]), 0.92)
    if expression.mouth_open > 0.25:
        tongue = disc(inner[6] - [0, 0.01], 0.12, 0.35)
        fill(canvas, gap.both(stencil(tongue, side, 0.02)), np.array([0.62, 0.27, 0.27]), 0.75)


def _eye(identity: Identity, expression: Expression, marks: np.ndarray, mirror: int, canvas: np.ndarray) -> None:
    side = len(canvas)
    skin = np.asarray(identity.skin)
    size = identity.eye_size
    upper, lower = curve(marks[:4], closed=False), curve(np.concatenate([marks[3:], marks[:1]]), closed=False)
    opening = stencil(np.concatenate([upper, lower[1:-1]]), side, 0.004)
    centre = np.array([marks[:, 0].mean(), 0.5 * (marks[0, 1] + marks[3, 1]) - 0.012])
    fill(canvas, opening, np.array([0.9, 0.87, 0.85]))
    iris = opening.both(stencil(disc(centre, 0.072 * size), side, 0.004))
    fill(canvas, iris, 0.55 * np.asarray(identity.iris))
    fill(canvas, opening.both(stencil(disc(centre + [0, 0.006], 0.058 * size), side, 0.006)), np.asarray(identity.iris))
    fill(canvas, opening.both(stencil(disc(centre, 0.031 * size), side, 0.004)), np.array([0.03, 0.03, 0.03]))
    fill(canvas, opening.both(stencil(disc(centre - [0, 0.025], 0.014), side)), np.ones(3), 0.9)
    shadow = ribbon(upper + [0, 0.014], np.full(len(upper), 0.03))
    tint(canvas, opening.both(stencil(shadow, side, 0.008)), 0.55, 0.8)
    lash = 0.012 + 0.012 * np.sin(np.linspace(0, np.pi, len(upper)))
    fill(canvas, stencil(ribbon(upper, lash), side, 0.004), 0.14 * skin + 0.03, 0.9)
    tint(canvas, stencil(ribbon(lower, np.full(len(lower), 0.012)), side, 0.006), np.array([0.62, 0.5, 0.48]), 0.8)
    lift = 0.035 + 0.03 * expression.eye_closure
    crease = curve(marks[:4] - [0, lift], closed=False) * [1, 1]
    tint(canvas, stencil(ribbon(crease, np.full(len(crease), 0.014)), side, 0.008), np.array([0.68, 0.56, 0.55]), 0.65)


def _brow(identity: Identity, marks: np.ndarray, canvas: np.ndarray) -> None:
    side = len(canvas)
    inwards = marks if abs(marks[0, 0]) < abs(marks[-1, 0]) else marks[::-1]
    line = curve(inwards, closed=False)
    profile = np.interp(np.linspace(0, 1, len(line)), [0, 0.15, 0.6, 1], [0.75, 1.05, 0.9, 0.2])
    colour = 0.8 * np.minimum(identity.hair_colour, 0.62)
    fill(canvas, stencil(ribbon(line, 2 * identity.brow_thickness * profile), side, 0.011), colour, 0.85)
