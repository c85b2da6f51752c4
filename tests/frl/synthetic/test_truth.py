"""The truth of a drawn face: depth is the head's own, and the labels of feeling follow their formulas."""

from dataclasses import replace

import numpy as np
import pytest

from frl.synthetic import Scene, draw_identity, make_model, render
from frl.synthetic.drawing import Face
from frl.synthetic.scene import Expression, Pose, draw_scene
from frl.synthetic.truth import EXPRESSIONS, TARGETS, arousal, expression_class, truth_of, valence

SIZE = 96


def in_space(face: Face, scene: Scene) -> np.ndarray:
    """Landmarks (68, 3) about the head's centre, in pixels."""
    centre = np.array(scene.camera.centre) * SIZE - 0.5
    return np.column_stack([face.landmarks - centre, face.depths])


@pytest.mark.parametrize("pose", [Pose(yaw=25), Pose(pitch=-15), Pose(yaw=-40, pitch=10, roll=20)])
def test_a_turned_head_is_the_frontal_one_turned_in_space(pose: Pose) -> None:
    model, frontal = make_model(draw_identity(3, 1), SIZE), Scene()
    turned = replace(frontal, pose=pose)
    expected = in_space(render(model, frontal), frontal) @ pose.matrix().T
    np.testing.assert_allclose(in_space(render(model, turned), turned), expected, atol=0.02)


def test_the_nose_is_nearest_to_the_camera() -> None:
    depths = render(make_model(draw_identity(0, 0), SIZE), Scene()).depths
    assert depths.argmax() == 30 and depths[[0, 16]].max() < depths[30] - 0.2 * SIZE


def test_every_target_has_its_values_and_they_fit() -> None:
    scene = draw_scene(1, 0, 0)
    known = truth_of(render(make_model(draw_identity(1, 0), SIZE), scene), scene)
    assert list(known) == [spec.name for spec in TARGETS]
    for spec in TARGETS:
        value = known[spec.name]
        if spec.name == "expression":
            assert value in spec.names
        else:
            assert spec.knows(spec.encode([value[name] for name in spec.names] if spec.names else value))


@pytest.mark.parametrize(
    ("expression", "name", "units", "pleasant", "excited"),
    [
        (Expression(), "neutral", {}, 0, 0),
        (Expression(smile=0.2), "neutral", {"AU12": 1}, 0.2, 0.04),
        (Expression(smile=0.8, frown=0.5), "happy", {"AU12": 4, "AU4": 2.5}, 0.3, 0.16),
        (Expression(frown=1), "anger", {"AU4": 5}, -1, 0.2),
        (Expression(brow_raise=0.5, mouth_open=1), "surprise", {"AU1": 2.5, "AU2": 2.5, "AU25": 5, "AU26": 5}, 0, 0.6),
        (Expression(eye_closure=1), "neutral", {"AU43": 5}, 0, -1),
    ],
)
def test_feelings_follow_from_the_expression(
    expression: Expression, name: str, units: dict[str, float], pleasant: float, excited: float
) -> None:
    assert expression_class(expression) == name
    assert (valence(expression), arousal(expression)) == pytest.approx((pleasant, excited))
    scene = Scene(expression=expression)
    known = truth_of(render(make_model(draw_identity(0, 0), 32), scene), scene)
    assert known["action_units"] == pytest.approx({unit: 0 for unit in known["action_units"]} | units)
    assert known["affect"] == pytest.approx({"valence": pleasant, "arousal": excited})


def test_all_expressions_and_all_intensities_occur() -> None:
    expressions = [draw_scene(0, who, image).expression for who in range(30) for image in range(10)]
    names = [expression_class(expression) for expression in expressions]
    assert min(names.count(name) for name in EXPRESSIONS) > 15
    assert all(-1 <= f(e) <= 1 for f in (valence, arousal) for e in expressions)
