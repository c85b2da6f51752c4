"""Tasks of numbers and classes: what a head is to say, how wrong it is, and what files they refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError
from frl.evaluate.said import said
from frl.tasks.metrics.rotation import angles, matrices_300wlp
from frl.tasks.registry import TASKS, ActionUnits, Affect, Expression, Pose, Truth, task_of
from frl.tasks.task import require_same_target

EXPRESSION = TargetSpec(name="expression", kind=Kind.CLASS, names=("neutral", "happy", "sad"))
AFFECT = TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal"))
UNITS = TargetSpec(name="action_units", kind=Kind.VECTOR, shape=(3,), names=("AU1", "AU2", "AU12"))
POSE = TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll"))
POINTS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(68, 2))
SPACE = TargetSpec(name="landmarks3d", kind=Kind.POINTS, shape=(68, 3))
SPECS = {spec.name: spec for spec in (EXPRESSION, AFFECT, UNITS, POSE, POINTS, SPACE)}
SIDES = torch.full((4, 2), 100.0)


def truth(spec: TargetSpec, values: object, **others: np.ndarray) -> Truth:
    values = np.asarray(values)
    specs = {spec.name: spec}
    if "subsets" in others:
        specs["subsets"] = TargetSpec(name="subsets", kind=Kind.CLASS, shape=(1,), names=("hard",))
    sides = np.full((len(values), 2), 100.0)
    return Truth(values={spec.name: values, **others}, specs=specs, subjects=np.full(len(values), -1), sides=sides)


def random_truth(name: str, count: int = 12) -> Truth:
    rng = np.random.default_rng(2)
    spec = SPECS[{"action-units": "action_units", "face3d": "landmarks3d"}.get(name, name)]
    if spec.kind == Kind.CLASS:
        return truth(spec, rng.integers(0, 3, count))
    return truth(spec, rng.uniform(0, 1, (count, *spec.shape)).astype(np.float32) * (100 if name != "affect" else 1))


@pytest.mark.parametrize("name", TASKS)
def test_the_truth_itself_has_the_best_score(name):
    known = random_truth(name)
    if name == "action-units":
        known.values["action_units"][:] = np.random.default_rng(2).integers(0, 6, (12, 3))
    task = task_of(name, known)
    targets = {field: torch.from_numpy(known.values[field]) for field in task.fields}
    encoded = task.encode(targets, torch.from_numpy(known.sides))
    assert encoded.shape == (12, task.outputs) and encoded.dtype == torch.float32
    score = next(iter(task.score(encoded.numpy(), known).items()))
    assert score[0] == task.headline
    assert score[1].value == pytest.approx(1 if score[1].higher_is_better else 0, abs=1e-4)
    assert task.loss(encoded * (20 if name == "expression" else 1), encoded).item() == pytest.approx(0, abs=1e-4)
    mirrored = task.mirror(encoded)
    assert mirrored.shape == encoded.shape and torch.equal(task.mirror(mirrored), encoded)
    worse = task.score(np.tile(task.constant(encoded.numpy()), (12, 1)), known)[task.headline]
    assert worse.value < 1 if worse.higher_is_better else worse.value > 0


@pytest.mark.parametrize("name", TASKS)
def test_a_file_without_its_target_is_refused(name):
    with pytest.raises(ConfigError, match=r"which the file lacks \(its targets: age\)"):
        TASKS[name].of({"age": TargetSpec(name="age", kind=Kind.VECTOR)})


@pytest.mark.parametrize("name", TASKS)
def test_a_target_of_another_kind_is_refused(name):
    (field,) = task_of(name, random_truth(name)).fields
    with pytest.raises(ConfigError, match="in the file it is vector"):
        TASKS[name].of({field: TargetSpec(name=field, kind=Kind.VECTOR, shape=(9,))})


def test_an_unknown_class_teaches_nothing():
    task = Expression.of(SPECS)
    encoded = task.encode({"expression": torch.tensor([0, -1, 2, 1])}, SIDES)
    assert encoded[1].isnan().all() and encoded[2].tolist() == [0, 0, 1]
    predicted = torch.randn(4, 3, requires_grad=True)
    loss = task.loss(predicted, encoded)
    known = torch.tensor([0, 2, 3])
    expected = torch.nn.functional.cross_entropy(predicted[known], torch.tensor([0, 2, 1]))
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert predicted.grad[1].eq(0).all() and predicted.grad.isfinite().all()


def test_classes_are_scored_and_laid_out_in_a_matrix():
    task = Expression.of(SPECS)
    known = truth(EXPRESSION, [0, 0, 1, 2, -1], subsets=np.array([[1], [0], [0], [1], [1]]))
    said = np.eye(3)[[0, 1, 1, 2, 0]]
    scores = task.score(said, known)
    assert scores["accuracy"].value == 0.75 and scores["balanced"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert scores["accuracy/hard"].value == 1 and scores["recall/neutral"].value == 0.5
    assert task.details(said, known)["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert task.constant(np.eye(3)[[0, 0, 1, 2]]).argmax() == 0


def test_affect_loses_by_errors_and_by_discord():
    task = Affect.of(SPECS)
    encoded = torch.randn(64, 2).tanh()
    encoded[:5, 0] = torch.nan
    predicted = (encoded.nan_to_num() * 0.5 + 0.1).requires_grad_()
    kept = encoded[5:, 0], predicted[5:, 0]
    known = torch.cat([kept[0], encoded[:, 1]]), torch.cat([kept[1], predicted[:, 1]])
    expected = (known[0] - known[1]).square().mean()
    for true, guess in (kept, (encoded[:, 1], predicted[:, 1])):
        bottom = true.var(unbiased=False) + guess.var(unbiased=False) + (true.mean() - guess.mean()) ** 2
        covariance = ((true - true.mean()) * (guess - guess.mean())).mean()
        expected = expected + 1 - 2 * covariance / bottom
    loss = task.loss(predicted, encoded)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert predicted.grad.isfinite().all()
    assert task.loss(predicted, torch.full_like(encoded, torch.nan)).item() == 0
    assert task.bounded


def test_a_constant_on_affect_scores_its_deviation():
    values = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    task = Affect.of(SPECS)
    scores = task.score(np.tile(task.constant(values), (500, 1)), truth(AFFECT, values))
    assert scores["ccc"].value == 0 and scores["rmse/valence"].value == pytest.approx(values[:, 0].std())
    assert np.isnan(scores["pcc"].value) and scores["pcc"].text == "n/a"


def test_intensities_are_clipped_and_the_gradient_is_not():
    task = ActionUnits.of(SPECS)
    predicted = torch.tensor([[-1.0, -1.0, 7.0]], requires_grad=True)
    loss = task.loss(predicted, torch.tensor([[0.0, 3.0, 4.0]]))
    assert loss.item() == pytest.approx((0 + 9 + 1) / 3)
    loss.backward()
    assert predicted.grad[0, 0] == 0 and predicted.grad[0, 1] < 0 and predicted.grad[0, 2] > 0


def test_a_unit_that_never_varies_is_missing_and_not_in_the_mean():
    values = np.array([[0, 1, 0], [3, 1, 0], [5, 1, 0], [np.nan, 1, 0]])
    task = ActionUnits.of(SPECS)
    said = np.nan_to_num(values) + [[0, 0, 0.5], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    scores = task.score(said, truth(UNITS, values))
    assert scores["icc/AU1"].value == 1 and scores["icc"].value == 1
    assert np.isnan(scores["icc/AU2"].value) and scores["icc/AU2"].text == "n/a"
    assert scores["f1/AU1"].value == 1 and np.isnan(scores["f1/AU12"].value)
    assert scores["mse/AU2"].value == 0.25


def test_angles_are_compared_the_shorter_way_round():
    task = Pose.of(SPECS)
    known = truth(POSE, np.array([[170.0, 0, 10], [0, 20, np.nan]]))
    said = np.array([[-170.0, 10, 10], [0, 20, 5]]) / 90
    scores = task.score(said, known)
    assert scores["mae/yaw"].value == pytest.approx(10) and scores["mae/pitch"].value == pytest.approx(5)
    assert scores["mae/roll"].value == pytest.approx(0)
    assert task.mirror(torch.tensor([[1.0, 2, 3]])).tolist() == [[-1, 2, -3]]


def test_papers_compare_angles_of_another_order_of_turns():
    theirs = np.array([[40.0, 20, 30], [-10, 5, 0]])
    known = truth(POSE, angles(matrices_300wlp(theirs)))
    scores = Pose.of(SPECS).score(angles(matrices_300wlp(theirs + [6, 3, 0])) / 90, known)
    assert [scores[f"mae_300wlp/{name}"].value for name in POSE.names] == pytest.approx([6, 3, 0])
    assert scores["mae_300wlp"].value == pytest.approx(3) and abs(scores["mae"].value - 3) > 0.1


def test_numbers_of_any_target_are_learned_in_their_own_unit():
    age = TargetSpec(name="age", kind=Kind.VECTOR)
    train = truth(age, np.array([20.0, 40, 60, np.nan]))
    task = task_of("numbers:age", train)
    encoded = task.encode({"age": torch.from_numpy(train.values["age"])}, SIDES).numpy()
    assert np.nanmean(encoded) == pytest.approx(0, abs=1e-6) and np.nanstd(encoded) == pytest.approx(1, abs=1e-6)
    assert task.score(np.nan_to_num(encoded), train)["mae"].value == pytest.approx(0, abs=1e-4)
    assert task.score(np.zeros((4, 1)), train)["mae"].value == pytest.approx(40 / 3)


@pytest.mark.parametrize("name", ["action-units", "numbers:action_units"])
def test_a_number_that_training_never_knew_is_not_said(name):
    values = np.array([[0, 1, np.nan], [3, 2, np.nan], [5, 1, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = task_of(name, truth(UNITS, values))
        constant = task.constant(task.encode({"action_units": torch.from_numpy(values)}, SIDES[:3]).numpy())
    assert task.unknown == (2,) and np.isnan(constant).tolist() == [False, False, True]
    known = truth(UNITS, np.nan_to_num(values, nan=4.0))
    head = np.array([[0, 1, 4], [3, 2, 4], [5, 1, 4.0]]) / task.scale - np.divide(task.offset, task.scale)
    scores = task.score(head, known)
    parts = [called for called in scores if called.endswith("/AU12")]
    assert len(parts) == 4 and all(scores[called].text == "n/a" for called in parts)
    assert scores["mae"].value == pytest.approx(0, abs=1e-9)
    assert list(said(task, head, np.zeros((3, 2))).columns) == ["AU1", "AU2"]
    assert said(task, head, np.zeros((3, 2))).lines[1] == "AU1 3.00 AU2 2.00"


def test_numbers_of_the_mirror_image_are_mirrored_back():
    """In the unit of the target, whatever was subtracted and divided."""
    rng = np.random.default_rng(4)
    names = ("pitch", "yaw", "left_eye", "right_eye")
    head = TargetSpec(name="head", kind=Kind.VECTOR, shape=(4,), names=names)
    values = rng.normal(5, 2, (30, 4)) * [1, 3, 1, 4]
    task = task_of("numbers:head", truth(head, values))
    said = torch.from_numpy(rng.normal(size=(6, 4)))
    expected = task.decode(said)[:, [0, 1, 3, 2]] * [1, -1, 1, 1]
    np.testing.assert_allclose(task.decode(task.mirror(said)), expected)
    assert torch.equal(task.mirror(said)[:, 0], said[:, 0])
    pose = task_of("numbers:pose", truth(POSE, values[:, :3]))
    np.testing.assert_allclose(pose.decode(pose.mirror(said[:, :3])), pose.decode(said[:, :3]) * [-1, 1, -1])


def test_classes_of_the_mirror_image_are_mirrored_back():
    side = TargetSpec(name="side", kind=Kind.CLASS, names=("left", "frontal", "right"))
    task = task_of("classes:side", truth(side, [0, 1, 2]))
    assert task.mirror(torch.tensor([[1.0, 2, 3]])).tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("numbers:left_eye", TargetSpec(name="left_eye", kind=Kind.VECTOR)),
        ("classes:side", TargetSpec(name="side", kind=Kind.CLASS, names=("left", "other"))),
    ],
)
def test_a_side_without_the_other_has_no_mirror(name, spec):
    task = task_of(name, truth(spec, np.array([0, 1])))
    with pytest.raises(ConfigError, match=r"lacks .*nobody knows what a mirror shows"):
        task.mirror(torch.zeros(1, task.outputs))


def test_classes_without_names_are_those_that_occur():
    gender = TargetSpec(name="gender", kind=Kind.CLASS)
    assert task_of("classes:gender", truth(gender, [0, 2, -1])).outputs == 3
    with pytest.raises(ConfigError, match="the most that a head"):
        task_of("classes:gender", truth(gender, [0, 20_000]))


@pytest.mark.parametrize("name", ["nonsense", "classes:", "emotions:expression"])
def test_a_task_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match="there is no task of this name"):
        task_of(name, random_truth("expression"))


def test_a_target_must_mean_the_same_in_both_files():
    other = TargetSpec(name="expression", kind=Kind.CLASS, names=("happy", "neutral", "sad"))
    with pytest.raises(ConfigError, match="neutral, happy, sad in the training file and class of happy"):
        require_same_target(truth(EXPRESSION, [0]), truth(other, [0]), ["expression"])
