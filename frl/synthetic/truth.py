"""What is known of a drawn face: a line of the truth, and the description of the targets in it.

The labels of feeling are defined, not observed. They follow from the intensities of the expression, each in [0, 1]:

- action units, 0 to 5: five times the intensity that moves the same part (``UNITS``);
- ``expression``: what is strongest of happy (smile), surprise (the mean of brow_raise and mouth_open) and anger
  (frown), if it reaches ``CLEAR``; else neutral;
- valence: smile - frown;
- arousal: 0.4 brow_raise + 0.4 mouth_open + 0.2 max(smile, frown) - eye_closure.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from frl.beton.targets import Kind, TargetSpec
from frl.synthetic.drawing import Face
from frl.synthetic.scene import Expression, Scene

UNITS = {
    "AU1": "brow_raise",
    "AU2": "brow_raise",
    "AU4": "frown",
    "AU12": "smile",
    "AU25": "mouth_open",
    "AU26": "mouth_open",
    "AU43": "eye_closure",
}
"""The intensity behind each action unit of FACS: inner and outer brow raiser, brow lowerer, lip corner puller, lips
part, jaw drop, eye closure."""

STRONGEST_UNIT = 5
EXPRESSIONS = ("neutral", "happy", "surprise", "anger")
CLEAR = 0.25
"""From this strength on an expression is one."""

TARGETS = (
    TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(68, 2)),
    TargetSpec(name="landmarks3d", kind=Kind.POINTS, shape=(68, 3)),
    TargetSpec(name="visible", kind=Kind.VISIBILITY, shape=(68,)),
    TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll")),
    TargetSpec(name="expression", kind=Kind.CLASS, names=EXPRESSIONS),
    TargetSpec(name="action_units", kind=Kind.VECTOR, shape=(len(UNITS),), names=tuple(UNITS)),
    TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal")),
    TargetSpec(
        name="intensities",
        kind=Kind.VECTOR,
        shape=(len(fields(Expression)),),
        names=tuple(field.name for field in fields(Expression)),
    ),
)
"""The targets in the truth, each under its name. Depth is towards the camera, in pixels of the picture."""


def truth_of(face: Face, scene: Scene) -> dict[str, Any]:
    """What is known of a face, by the names of ``TARGETS``."""
    expression = scene.expression
    depths = zip(face.landmarks, face.depths, strict=True)
    return {
        "landmarks": [[round(float(x), 3), round(float(y), 3)] for x, y in face.landmarks],
        "landmarks3d": [[round(float(x), 3), round(float(y), 3), round(float(z), 3)] for (x, y), z in depths],
        "visible": face.visible.tolist(),
        "pose": asdict(scene.pose),
        "expression": expression_class(expression),
        "action_units": {unit: STRONGEST_UNIT * getattr(expression, part) for unit, part in UNITS.items()},
        "affect": {"valence": valence(expression), "arousal": arousal(expression)},
        "intensities": asdict(expression),
    }


def expression_class(expression: Expression) -> str:
    """The name of the expression, one of ``EXPRESSIONS``."""
    strengths = {
        "happy": expression.smile,
        "surprise": (expression.brow_raise + expression.mouth_open) / 2,
        "anger": expression.frown,
    }
    name = max(strengths, key=lambda name: strengths[name])
    return name if strengths[name] >= CLEAR else "neutral"


def valence(expression: Expression) -> float:
    """How pleasant it looks, from -1 to 1."""
    return expression.smile - expression.frown


def arousal(expression: Expression) -> float:
    """How excited it looks, from -1 to 1."""
    moved = 0.4 * expression.brow_raise + 0.4 * expression.mouth_open
    return moved + 0.2 * max(expression.smile, expression.frown) - expression.eye_closure
