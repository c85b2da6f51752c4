"""How a face is shown: pose, expression, light, camera and surroundings; all of it changes from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from frl.synthetic.identity import Colour


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Rotation of the head: first yaw, then pitch, then roll."""

    yaw: float = 0.0
    """Degrees; positive moves the nose to the right of the picture."""
    pitch: float = 0.0
    """Degrees; positive lifts the nose."""
    roll: float = 0.0
    """Degrees; positive turns the head clockwise in the picture."""

    def matrix(self) -> np.ndarray:
        """Rotation (3, 3) from the head's frame to the camera's (x right, y down, z towards the camera)."""
        (cy, cp, cr), (sy, sp, sr) = (f(np.radians([self.yaw, self.pitch, self.roll])) for f in (np.cos, np.sin))
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return roll @ pitch @ yaw


@dataclass(frozen=True, kw_only=True)
class Expression:
    """Intensities in [0, 1]; all zeros is the neutral face."""

    smile: float = 0.0
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    frown: float = 0.0
    eye_closure: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Light:
    """One far lamp and an even sky."""

    azimuth: float = 20.0
    """Degrees to the right of the camera."""
    elevation: float = 35.0
    """Degrees above the camera."""
    strength: float = 0.75
    """Irradiance of the lamp on a surface that faces it."""
    ambient: float = 0.4
    """Irradiance of the sky."""
    warmth: float = 0.0
    """Colour of the lamp, from -1 (blue, an overcast sky) to 1 (orange, a bulb)."""

    def direction(self) -> np.ndarray:
        """Unit vector (3,) towards the lamp in the camera's frame."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])

    def colour(self) -> np.ndarray:
        """Linear RGB (3,) of the lamp."""
        return self.strength * np.array([1 + 0.22 * self.warmth, 1.0, 1 - 0.28 * self.warmth])


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Framing and the camera's own colours."""

    scale: float = 0.4
    """Half a face height as a share of the picture's side."""
    centre: tuple[float, float] = (0.5, 0.49)
    """Place of the head's centre as shares of the picture's side."""
    exposure: float = 1.0
    """Factor of the linear light."""
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """White balance: factors of linear red, green and blue."""
    contrast: float = 1.0
    """Factor about middle grey."""
    saturation: float = 1.0
    """Factor of the colours' distance from grey; 0 is a black-and-white picture."""
    blur: float = 0.0
    """Standard deviation as a share of the picture's side."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise, of 1."""


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """What is behind the head: a gradient with blurry blobs."""

    colours: tuple[Colour, Colour] = ((0.55, 0.58, 0.62), (0.35, 0.38, 0.42))
    angle: float = 90.0
    """Direction of the gradient in degrees; 90 is downwards."""
    blobs: int = 0
    grain: float = 0.0
    """Strength of a smooth noise."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that is not the identity. ``noise_seed`` feeds blobs, smooth noise and sensor noise."""

    pose: Pose = field(default_factory=Pose)
    expression: Expression = field(default_factory=Expression)
    light: Light = field(default_factory=Light)
    camera: Camera = field(default_factory=Camera)
    backdrop: Backdrop = field(default_factory=Backdrop)
    clothes: Colour = (0.3, 0.35, 0.45)
    glasses: Colour | None = None
    noise_seed: int = 0

    def mirrored(self) -> Scene:
        """The scene in a mirror, but for what ``noise_seed`` feeds."""
        x, y = self.camera.centre
        return replace(
            self,
            pose=replace(self.pose, yaw=-self.pose.yaw, roll=-self.pose.roll),
            light=replace(self.light, azimuth=-self.light.azimuth),
            camera=replace(self.camera, centre=(1 - x, y)),
            backdrop=replace(self.backdrop, angle=180 - self.backdrop.angle),
        )


@dataclass(frozen=True, kw_only=True)
class Style:
    """How much scenes differ: half-widths of the ranges about a plain portrait, unless said otherwise."""

    pose: tuple[float, float, float]
    """Standard deviations of yaw, pitch and roll, in degrees."""
    expression: float
    """Factor of the chance of each expression."""
    azimuth: float
    """Degrees."""
    elevation: tuple[float, float]
    """Range, in degrees."""
    strength: tuple[float, float]
    """Range of the lamp's irradiance."""
    ambient: tuple[float, float]
    """Range of the sky's irradiance."""
    shift: tuple[float, float]
    """Of the head's centre, across and down, as shares of the picture's side."""
    log_scale: tuple[float, float]
    """Range of the logarithm of the head's size."""
    log_exposure: float
    contrast: float
    grey: float
    """Share of black-and-white pictures."""
    saturation: float
    """Of the colours in the other pictures."""
    blobs: int
    """Most blobs in the backdrop."""
    any_backdrop: bool
    """Backdrop and clothes of any colour, or pale and nearly grey."""
    noise: float
    """Largest standard deviation of the sensor's noise."""


STYLES = {
    # Photographs from anywhere: all that surrounds a face changes from picture to picture.
    "wild": Style(
        pose=(15, 7, 6),
        expression=1.0,
        azimuth=60,
        elevation=(5, 60),
        strength=(0.5, 1.1),
        ambient=(0.2, 0.6),
        shift=(0.05, 0.05),
        log_scale=(-0.13, 0.13),
        log_exposure=0.5,
        contrast=0.2,
        grey=0.0,
        saturation=0.0,
        blobs=8,
        any_backdrop=True,
        noise=0.02,
    ),
    # Portraits before a wall, carelessly framed and developed: what changes most is what cropping and colour
    # augmentations imitate.
    "studio": Style(
        pose=(10, 5, 9),
        expression=1.0,
        azimuth=40,
        elevation=(15, 55),
        strength=(0.5, 0.9),
        ambient=(0.35, 0.6),
        shift=(0.17, 0.13),
        log_scale=(-0.5, 0.0),
        log_exposure=0.8,
        contrast=0.35,
        grey=0.2,
        saturation=0.5,
        blobs=2,
        any_backdrop=False,
        noise=0.01,
    ),
}


def draw_scene(seed: int, identity: int, image: int, style: Style = STYLES["wild"]) -> Scene:
    """Scene number ``image`` of identity number ``identity`` in the collection that ``seed`` names."""
    rng = np.random.default_rng([seed, 2, identity, image])
    colour = _any_colour if style.any_backdrop else _pale_colour
    return Scene(
        pose=_pose(rng, style),
        expression=_expression(rng, style),
        light=Light(
            azimuth=float(rng.uniform(-style.azimuth, style.azimuth)),
            elevation=float(rng.uniform(*style.elevation)),
            strength=float(rng.uniform(*style.strength)),
            ambient=float(rng.uniform(*style.ambient)),
            warmth=float(rng.uniform(-1, 1)),
        ),
        camera=_camera(rng, style),
        backdrop=Backdrop(
            colours=(colour(rng), colour(rng)),
            angle=float(rng.uniform(0, 360)),
            blobs=int(rng.integers(0, style.blobs + 1)),
            grain=float(rng.uniform(0, 4 * style.noise)),
        ),
        clothes=colour(rng),
        glasses=_frame_colour(rng) if rng.random() < 0.12 * style.expression else None,
        noise_seed=int(rng.integers(2**31)),
    )


def _pose(rng: np.random.Generator, style: Style) -> Pose:
    yaw, pitch, roll = (float(np.clip(rng.normal(0, spread), -2.2 * spread, 2.2 * spread)) for spread in style.pose)
    return Pose(yaw=yaw, pitch=pitch, roll=roll)


def _expression(rng: np.random.Generator, style: Style) -> Expression:
    chance = style.expression * np.array([0.5, 0.3, 0.3, 0.2, 0.12])
    smile, mouth_open, brow_raise, frown, eye_closure = (rng.random(5) * (rng.random(5) < chance)).tolist()
    return Expression(smile=smile, mouth_open=mouth_open, brow_raise=brow_raise, frown=frown, eye_closure=eye_closure)


def _camera(rng: np.random.Generator, style: Style) -> Camera:
    red, green, blue = np.exp(rng.uniform(-1, 1, 3) * (0.22, 0.08, 0.28)).tolist()
    across, down = rng.uniform(-1, 1, 2) * style.shift
    return Camera(
        scale=float(0.4 * np.exp(rng.uniform(*style.log_scale))),
        centre=(float(0.5 + across), float(0.49 + down)),
        exposure=float(np.exp(rng.uniform(-style.log_exposure, style.log_exposure))),
        gains=(red, green, blue),
        contrast=float(1 + rng.uniform(-style.contrast, style.contrast)),
        saturation=float(1 + rng.uniform(-style.saturation, style.saturation)) * float(rng.random() >= style.grey),
        blur=float(np.clip(rng.normal(0, 0.005), 0, 0.01)),
        noise=float(rng.uniform(0, style.noise)),
    )


def _any_colour(rng: np.random.Generator) -> Colour:
    value, colourfulness = rng.uniform(0.08, 0.95), rng.uniform(0, 0.5)
    red, green, blue = np.clip(value * (1 + colourfulness * rng.uniform(-1, 1, 3)), 0, 1).tolist()
    return red, green, blue


def _pale_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (rng.uniform(0.35, 0.75) * (1 + 0.1 * rng.uniform(-1, 1, 3))).tolist()
    return red, green, blue


def _frame_colour(rng: np.random.Generator) -> Colour:
    return (0.08, 0.07, 0.07) if rng.random() < 0.6 else _any_colour(rng)
