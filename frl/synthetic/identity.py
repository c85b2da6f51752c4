"""Who is in the picture: everything about a face that stays when pose, expression, light and place change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Hair(StrEnum):
    """Hair styles."""

    BALD = "bald"
    CROPPED = "cropped"
    SHORT = "short"
    SWEPT = "swept"
    FRINGE = "fringe"
    CURLY = "curly"
    BOB = "bob"
    LONG = "long"
    BUN = "bun"


class Beard(StrEnum):
    """Beard styles."""

    NONE = "none"
    STUBBLE = "stubble"
    MOUSTACHE = "moustache"
    GOATEE = "goatee"
    FULL = "full"


Colour = tuple[float, float, float]
"""sRGB, each channel in [0, 1]."""

SKIN_TONES = (
    (0.97, 0.83, 0.74),
    (0.92, 0.73, 0.60),
    (0.83, 0.62, 0.47),
    (0.68, 0.47, 0.33),
    (0.48, 0.31, 0.21),
    (0.33, 0.21, 0.15),
)
HAIR_COLOURS = {
    "black": (0.10, 0.09, 0.09),
    "dark brown": (0.22, 0.15, 0.11),
    "brown": (0.37, 0.25, 0.17),
    "chestnut": (0.46, 0.25, 0.15),
    "red": (0.66, 0.33, 0.16),
    "blond": (0.80, 0.65, 0.42),
    "grey": (0.60, 0.59, 0.58),
    "white": (0.86, 0.85, 0.82),
}
IRIS_COLOURS = (
    (0.20, 0.12, 0.07),
    (0.36, 0.22, 0.11),
    (0.45, 0.42, 0.20),
    (0.30, 0.42, 0.30),
    (0.30, 0.45, 0.62),
    (0.48, 0.54, 0.58),
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The lasting parameters of a face.

    Lengths named as factors scale an average face; those said to be in head units are in half face heights.
    """

    skin: Colour
    redness: float
    """Flush of cheeks, nose and lips in [0, 1]."""
    freckles: float
    """Strength in [0, 1]."""
    lines: float
    """Depth of the folds beside the mouth and on the forehead in [0, 1]."""
    mole: tuple[float, float] | None
    """Place in the design plane."""

    head_width: float
    """Factor."""
    jaw_width: float
    """Width at the mouth's height as a share of the width of an untapered head."""
    squareness: float
    """Exponent of the head's super-ellipsoid; 2 is round."""
    chin: float
    """Factor of the height of the lower face."""
    cheeks: float
    """Prominence of the cheekbones in head units."""
    ears: float
    """How far the ears stand out, in head units."""

    hair: Hair
    hair_colour: Colour
    hair_volume: float
    """Factor."""
    hairline: float
    """Factor of the forehead's height."""
    parting: float
    """Side of the parting, -1 to 1."""

    eye_spacing: float
    """Factor."""
    eye_size: float
    """Factor."""
    eye_opening: float
    """Factor."""
    eye_tilt: float
    """Rise of the outer corner over the inner one, in head units."""
    iris: Colour

    brow_thickness: float
    """In head units."""
    brow_arch: float
    """Rise of the middle over the ends, in head units."""
    brow_slant: float
    """Rise of the outer end over the inner one, in head units."""
    brow_height: float
    """Distance from the eye, in head units."""

    nose_length: float
    """Factor."""
    nose_width: float
    """Factor."""
    nose_height: float
    """How far the tip stands out, in head units."""
    nose_bridge: float
    """How far the bridge stands out, in head units."""

    mouth_width: float
    """Factor."""
    mouth_height: float
    """Shift of the mouth downwards, in head units."""
    upper_lip: float
    """Thickness in head units."""
    lower_lip: float
    """Thickness in head units."""
    lip_colour: float
    """How much the lips differ from the skin, in [0, 1]."""

    beard: Beard
    grain: int
    """Seed of the fine patterns: freckles, strands."""


def draw_identity(seed: int, index: int) -> Identity:
    """Identity number ``index`` of the population that ``seed`` names."""
    rng = np.random.default_rng([seed, 1, index])
    man = bool(rng.random() < 0.5)
    tone = float(np.clip(rng.beta(1.1, 1.5), 0, 1))
    age = float(rng.beta(1.3, 1.8))

    def about(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.normal(), -2, 2))

    return Identity(
        skin=_skin(rng, tone),
        redness=float(rng.random()),
        freckles=float(max(0, rng.normal(0, 0.5)) * (1 - tone)),
        lines=age,
        mole=(float(rng.uniform(-0.55, 0.55)), float(rng.uniform(0.1, 0.85))) if rng.random() < 0.3 else None,
        head_width=about(1.0, 0.055),
        jaw_width=about(0.88 if man else 0.81, 0.055),
        squareness=about(2.35 if man else 2.15, 0.14),
        chin=about(1.04 if man else 0.99, 0.055),
        cheeks=about(0.035, 0.02),
        ears=about(0.10, 0.035),
        hair=_hair(rng, man, age),
        hair_colour=_hair_colour(rng, tone, age),
        hair_volume=about(1.0, 0.22),
        hairline=about(1.05 if man else 1.0, 0.08),
        parting=float(rng.uniform(-1, 1)),
        eye_spacing=about(1.0, 0.06),
        eye_size=about(0.98 if man else 1.06, 0.08),
        eye_opening=about(1.0, 0.2),
        eye_tilt=about(0.008, 0.016),
        iris=_iris(rng, tone),
        brow_thickness=about(0.036 if man else 0.024, 0.009),
        brow_arch=about(0.03 if man else 0.05, 0.02),
        brow_slant=about(0.0, 0.025),
        brow_height=about(0.15 if man else 0.18, 0.02),
        nose_length=about(1.0, 0.09),
        nose_width=about(1.05 if man else 0.95, 0.14),
        nose_height=about(0.2, 0.035),
        nose_bridge=about(0.06, 0.02),
        mouth_width=about(1.0, 0.11),
        mouth_height=about(0.0, 0.025),
        upper_lip=about(0.04 if man else 0.05, 0.012),
        lower_lip=about(0.06 if man else 0.07, 0.014),
        lip_colour=float(rng.uniform(0.1, 0.5) if man else rng.uniform(0.25, 1.0)),
        beard=_beard(rng) if man else Beard.NONE,
        grain=int(rng.integers(2**31)),
    )


def _skin(rng: np.random.Generator, tone: float) -> Colour:
    tones = np.array(SKIN_TONES)
    place = np.arange(len(tones)) / (len(tones) - 1)
    skin = np.array([np.interp(tone, place, tones[:, channel]) for channel in range(3)])
    warmth = np.array([1.0, 0.0, -1.0]) * rng.normal(0, 0.018) + np.array([0.5, -1.0, 0.5]) * rng.normal(0, 0.012)
    return _colour(skin + warmth)


def _hair(rng: np.random.Generator, man: bool, age: float) -> Hair:
    if not man:
        styles = [Hair.LONG, Hair.BOB, Hair.BUN, Hair.FRINGE, Hair.CURLY, Hair.SWEPT]
        return styles[int(rng.choice(len(styles), p=[0.34, 0.22, 0.14, 0.12, 0.1, 0.08]))]
    styles = [Hair.SHORT, Hair.SWEPT, Hair.CROPPED, Hair.FRINGE, Hair.CURLY, Hair.BALD, Hair.LONG]
    weights = np.array([0.28, 0.2, 0.16, 0.1, 0.1, 0.04 + 0.25 * age**2, 0.04])
    return styles[int(rng.choice(len(styles), p=weights / weights.sum()))]


def _hair_colour(rng: np.random.Generator, tone: float, age: float) -> Colour:
    fair = (1 - tone) ** 2
    weights = np.array(
        [0.35 + tone, 0.5, 0.3 * (1 - tone), 0.4 * fair, 0.35 * fair, 0.7 * fair, 0.9 * age**3, 0.3 * age**4]
    )
    name = list(HAIR_COLOURS)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return _colour(np.array(HAIR_COLOURS[name]) * rng.uniform(0.85, 1.15) + rng.normal(0, 0.012, 3))


def _iris(rng: np.random.Generator, tone: float) -> Colour:
    fair = (1 - tone) ** 2
    weights = np.array([0.5 + tone, 0.5, 0.4 * fair, 0.4 * fair, 0.8 * fair, 0.4 * fair])
    return _colour(
        np.array(IRIS_COLOURS[int(rng.choice(len(weights), p=weights / weights.sum()))]) * rng.uniform(0.9, 1.1)
    )


def _beard(rng: np.random.Generator) -> Beard:
    styles = list(Beard)
    return styles[int(rng.choice(len(styles), p=[0.42, 0.2, 0.08, 0.11, 0.19]))]


def _colour(rgb: np.ndarray) -> Colour:
    red, green, blue = np.clip(rgb, 0.02, 0.98).tolist()
    return red, green, blue
