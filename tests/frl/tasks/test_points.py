"""Errors of points, by every benchmark's normaliser, against values worked out by hand or by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from frl.beton.targets import MIRRORS, Kind, TargetSpec
from frl.errors import ConfigError
from frl.evaluate.said import said
from frl.synthetic.scene import Pose as HeadPose
from frl.tasks.layouts.w300lp import pose_of
from frl.tasks.metrics.points import area_under, cumulative_errors, failure_rate, lengths
from frl.tasks.metrics.rotation import matrices_300wlp
from frl.tasks.registry import TASKS, Face3d, Landmarks, Points, Truth, task_of

RNG = np.random.default_rng(5)


def spec(count: int, axes: int = 2, name: str = "landmarks", **options: object) -> TargetSpec:
    return TargetSpec(name=name, kind=Kind.POINTS, shape=(count, axes), **options)


def truth(points: np.ndarray, **others: np.ndarray) -> Truth:
    """Faces in images of 200 x 100 pixels."""
    name = "landmarks3d" if points.shape[2] == 3 else "landmarks"
    specs = {name: spec(*points.shape[1:], name=name)}
    if "face_box" in others:
        specs["face_box"] = spec(2, name="face_box")
    if "subsets" in others:
        specs["subsets"] = TargetSpec(name="subsets", kind=Kind.CLASS, shape=(2,), names=("common", "challenging"))
    if "pose" in others:
        specs["pose"] = TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll"))
    count = len(points)
    sides = np.tile([200.0, 100.0], (count, 1))
    return Truth(values={name: points, **others}, specs=specs, subjects=np.full(count, -1), sides=sides)


def encoded(task: Points, known: Truth, points: np.ndarray) -> np.ndarray:
    return task.encode({task.field: torch.from_numpy(points)}, torch.from_numpy(known.sides)).numpy()


def test_the_middle_of_an_image_is_0_and_its_edges_are_halves():
    task = Points.of({"landmarks": spec(3, 3)}, "landmarks")
    corners = np.array([[[-0.5, -0.5, 20], [199.5, 99.5, 0], [99.5, 49.5, -200]]])
    found = encoded(task, truth(corners), corners).reshape(3, 3)
    assert np.allclose(found, [[-0.5, -0.5, 0.1], [0.5, 0.5, 0], [0, 0, -1]])
    assert np.allclose(task.decode(found.reshape(1, 9), truth(corners).sides), corners)


@pytest.mark.parametrize("count, corners", [(68, (36, 45)), (98, (60, 72)), (29, (8, 9))])
def test_the_outer_corners_of_the_eyes_divide_by_default(count, corners):
    points = RNG.uniform(10, 90, (4, count, 2))
    points[:, corners[0]], points[:, corners[1]] = (30, 50), (70, 80)  # 50 apart
    task = Landmarks.of({"landmarks": spec(count)})
    known = truth(points)
    score = task.score(encoded(task, known, points + [3, 4]), known)["nme"]
    assert score.value == pytest.approx(5 / 50) and not score.higher_is_better and score.text == "10.00%"


def test_the_other_normalisers():
    points = RNG.uniform(10, 90, (3, 68, 2))
    points[:, 36:42], points[:, 42:48] = (20, 30), (50, 70)  # the pupils 50 apart
    points[:, 0], points[:, 1] = (0, 0), (160, 90)
    assert lengths(points, "inter-pupil") == pytest.approx(50)
    assert lengths(points, "box") == pytest.approx(120)
    assert lengths(points, "diag") == pytest.approx(np.hypot(160, 90))
    assert lengths(points, "box", np.array([[[0, 0], [9, 4]]] * 3)) == pytest.approx(6)
    assert np.isnan(lengths(np.zeros((1, 68, 2)), "inter-ocular")).all()


def test_aflw_is_divided_by_its_box_up_to_7_per_cent():
    points = RNG.uniform(10, 90, (4, 19, 2))
    known = truth(points, face_box=np.tile([[0.0, 0], [40, 90]], (4, 1, 1)))
    task = Landmarks.of({"landmarks": spec(19)})
    scores = task.score(encoded(task, known, points + [0, 3]), known)
    assert list(scores) == ["nme", "fr7", "auc7"] and scores["nme"].value == pytest.approx(3 / 60)
    assert task.details(encoded(task, known, points), known)["normaliser"] == "box of face_box"


def test_unknown_points_do_not_count():
    points = RNG.uniform(10, 90, (2, 68, 2))
    points[0, :40], points[1, 36] = np.nan, np.nan
    task = Landmarks.of({"landmarks": spec(68)}, normaliser="box")
    known = truth(points)
    guess = np.where(np.isnan(points), 0, points + [3, 4])
    assert task.errors(encoded(task, known, guess), known) == pytest.approx(5 / lengths(points, "box"))
    # The length itself is unknown.
    assert np.isnan(Landmarks.of({"landmarks": spec(68)}).errors(encoded(task, known, guess), known)).all()


def test_each_subset_has_its_scores():
    points = RNG.uniform(10, 90, (4, 68, 2))
    points[:, 36], points[:, 45] = (30, 50), (70, 80)
    known = truth(points, subsets=np.array([[1, 0], [1, 0], [0, 1], [0, 1]]))
    guess = points + np.array([1, 1, 9, 9])[:, None, None]
    task = Landmarks.of({"landmarks": spec(68)})
    scores = task.score(encoded(task, known, guess), known)
    assert next(iter(scores)) == task.headline == "nme"
    assert scores["nme/common"].value == pytest.approx(2**0.5 / 50)
    assert scores["nme/challenging"].value == pytest.approx(9 * 2**0.5 / 50)
    assert scores["nme"].value == pytest.approx(5 * 2**0.5 / 50)
    assert scores["fr10/challenging"].value == 1 and scores["fr10"].value == 0.5
    assert set(task.details(encoded(task, known, guess), known)["cumulative"]) == {"all", "common", "challenging"}


def test_the_area_is_simpsons():
    integrate = pytest.importorskip("scipy.integrate")
    errors = RNG.gamma(4, 0.02, 500)
    along, share = cumulative_errors(errors, 0.10)
    assert len(along) == 1001 and share[-1] == pytest.approx(np.mean(errors <= 0.10))
    assert area_under(errors, 0.10) == pytest.approx(integrate.simpson(share, x=along) / 0.10, abs=1e-12)
    assert area_under(np.zeros(3), 0.07) == pytest.approx(1) and area_under(np.ones(3), 0.10) == 0
    assert np.isnan(area_under(np.full(3, np.nan), 0.10))
    assert failure_rate(np.array([0.05, 0.1, 0.11, np.nan]), 0.10) == pytest.approx(1 / 3)


def test_a_mirror_permutes_and_is_its_own_inverse():
    task = Landmarks.of({"landmarks": spec(68)})
    points = torch.randn(2, 136)
    mirrored = task.mirror(points)
    assert torch.equal(task.mirror(mirrored), points)
    left, right = points.reshape(2, 68, 2)[:, 36], mirrored.reshape(2, 68, 2)[:, 45]
    assert MIRRORS["300w"][36] == 45 and torch.equal(left * torch.tensor([-1, 1]), right)
    with pytest.raises(ConfigError, match="mirror"):
        Points.of({"landmarks": spec(7)}, "landmarks").mirror(torch.zeros(1, 14))


def test_a_normaliser_that_does_not_know_the_points_is_refused():
    with pytest.raises(ConfigError, match="inter-pupil is not known of 19 points"):
        Landmarks.of({"landmarks": spec(19)}, normaliser="inter-pupil")


def test_the_wing_loss():
    """Against the formula of the paper, and with a gradient where something is unknown."""
    task = Landmarks.of({"landmarks": spec(68)})
    predicted = torch.zeros(1, 136, requires_grad=True)
    aim = torch.full((1, 136), torch.nan)
    aim[0, :2] = torch.tensor([0.05, 0.5])
    near = 0.1 * np.log(1 + 0.05 / 0.02)
    far = 0.5 - (0.1 - 0.1 * np.log(1 + 0.1 / 0.02))
    loss = task.loss(predicted, aim)
    assert loss.item() == pytest.approx((near + far) / 2, rel=1e-5)
    loss.backward()
    assert predicted.grad.isfinite().all() and predicted.grad[0, 2:].eq(0).all() and predicted.grad[0, 1] == -0.5
    assert task.loss(predicted, torch.full((1, 136), torch.nan)).item() == 0


def turn(yaw: float, pitch: float, roll: float) -> np.ndarray:
    return HeadPose(yaw=yaw, pitch=pitch, roll=roll).matrix()


def test_the_pose_of_points_in_space_is_the_rotation_of_the_head():
    poses = np.array([[20.0, -10, 5], [-65, 15, -8], [0, 0, 0], [45, 30, 25]])
    shape = RNG.normal(size=(40, 3)) * [1, 1.3, 0.7]
    turned = np.stack([shape @ turn(*pose).T for pose in poses])
    points = turned * 20 + [100, 50, 7]
    known = truth(points, pose=poses)
    task = Face3d.of(known.specs)
    assert np.allclose(task.pose(encoded(task, known, points), known), poses, atol=1e-3)
    scores = task.score(encoded(task, known, points), known)
    assert scores["pose_mae"].value < 1e-3 and scores["nme"].value < 1e-6
    # A head that turns everything by another 10 degrees of yaw is wrong by about as much.
    more = np.stack([shape @ turn(yaw + 10, pitch, roll).T for yaw, pitch, roll in poses]) * 20 + [100, 50, 7]
    assert task.score(encoded(task, known, more), known)["pose_mae/yaw"].value == pytest.approx(10, abs=0.01)


def test_the_error_in_three_dimensions_is_the_mean_of_three_bins_of_yaw():
    points = RNG.uniform(10, 90, (6, 40, 3))
    yaw = np.array([0.0, -20, 30, 31, -90, 200])
    known = truth(points, pose=np.stack([yaw, yaw * 0, yaw * 0], axis=1))
    moved = points + np.array([1, 1, 1, 2, 3, 3])[:, None, None] * np.array([1, 0, 50])
    task = Face3d.of(known.specs)
    scores = task.score(encoded(task, known, moved), known)
    size = lengths(points, "box")
    bins = [np.mean([1, 1, 1] / size[:3]), 2 / size[3], np.mean([3, 3] / size[4:])]
    assert [scores[f"nme/yaw {part}"].value for part in ("0-30", "30-60", "60-90")] == pytest.approx(bins)
    assert scores["nme"].value == pytest.approx(np.mean(bins))
    assert scores["nme_all"].value == pytest.approx(np.mean(np.array([1, 1, 1, 2, 3, 3]) / size))


def test_perfect_points_of_aflw2000_have_a_perfect_pose():
    """Their poses are of another order of turns, in which the bins of yaw are counted, too."""
    rng = np.random.default_rng(8)
    theirs = rng.uniform([-80, -30, -30], [80, 30, 30], (60, 3))
    poses = np.stack([pose_of({"Pose_Para": np.array([[*np.radians([p, -y, r]), 0, 0, 0, 0]])}) for y, p, r in theirs])
    shape = rng.normal(size=(68, 3)) * [20, 25, 10]
    points = np.einsum("nij,kj->nki", matrices_300wlp(theirs), shape) + [100, 50, 7]
    known = truth(points, pose=poses)
    task = Face3d.of(known.specs)
    scores = task.score(encoded(task, known, points), known)
    assert scores["pose_mae"].value < 1e-3 and scores["pose_mae_300wlp"].value < 1e-3
    yaw = np.abs(theirs[:, 0])
    counts = {
        "yaw 0-30": (yaw <= 30).sum(),
        "yaw 30-60": ((yaw > 30) & (yaw <= 60)).sum(),
        "yaw 60-90": (yaw > 60).sum(),
    }
    assert task.details(encoded(task, known, points), known)["faces"] == counts


def test_depth_that_nobody_annotated_does_not_matter():
    points = RNG.uniform(10, 90, (6, 40, 3))
    points[..., 2] = np.nan
    known = truth(points, pose=np.zeros((6, 3)))
    task = Face3d.of(known.specs)
    scores = task.score(encoded(task, known, points), known)
    assert scores["nme"].value < 1e-6 and "pose_mae" not in scores


def test_depth_that_training_never_knew_is_not_said():
    """Of a head that was trained whole, too, whose depth is a number like any other."""
    poses = RNG.uniform(-30, 30, (6, 3))
    shape = RNG.normal(size=(68, 3)) * [20, 25, 10]
    points = np.stack([shape @ turn(*pose).T for pose in poses]) + [100, 50, 7]
    test = truth(points, pose=poses)
    train = truth(np.where([True, True, False], points, np.nan), pose=poses)
    for name in ("face3d", "points:landmarks3d"):
        task = task_of(name, train)
        head = encoded(task, test, points)
        blind = np.where(np.isnan(encoded(task, train, train.values["landmarks3d"])), np.nan, head)
        assert np.isnan(task.decode(head, test.sides)[..., 2]).all()
        np.testing.assert_allclose(task.decode(head, test.sides)[..., :2], points[..., :2], atol=1e-4)
        assert list(said(task, head, test.sides).columns) == [f"{axis}{i}" for i in range(68) for axis in "xy"]
        found = task.score(head, test)
        assert list(found) == list(task.score(blind, test)) and found["nme"].value < 1e-6
    scores = task_of("face3d", train).score(head, test)
    assert np.isnan(scores["pose_mae"].value) and scores["pose_mae/yaw"].text == "n/a"
    learned = task_of("face3d", test)
    assert not learned.unknown and list(learned.score(head, test)) == list(scores)
    assert learned.score(head, test)["pose_mae"].value < 1e-3 and "z0" in said(learned, head, test.sides).columns


def test_points_without_depth_are_no_task_in_space():
    with pytest.raises(ConfigError, match=r"needs 'landmarks3d' to be points \(n, 3\)"):
        TASKS["face3d"].of({"landmarks3d": spec(68, name="landmarks3d")})


def test_the_floors_of_aflw2000(real_faces: Path):
    """The mean shape in the face's box, and one annotation against the other, as published for this metric."""
    folder = real_faces / "aflw2000_3d_points"
    points = np.load(folder / "AFLW2000-3D.pts68.npy").transpose(0, 2, 1).astype(float)
    again = np.load(folder / "AFLW2000-3D-Reannotated.pts68.npy").transpose(0, 2, 1).astype(float)
    again = np.concatenate([again, np.full((len(again), 68, 1), np.nan)], axis=2)
    yaw = np.load(folder / "AFLW2000-3D.pose.npy")
    box = np.load(folder / "AFLW2000-3D_crop.roi_box.npy").astype(float)
    pose = np.stack([yaw, np.full_like(yaw, np.nan), np.full_like(yaw, np.nan)], axis=1)
    task = Face3d.of({"landmarks3d": spec(68, 3, "landmarks3d")})

    size, corner = (box[:, 2:] - box[:, :2])[:, None], box[:, None, :2]
    mean = ((points[..., :2] - corner) / size).mean(axis=0) * size + corner
    mean = np.concatenate([mean, np.zeros((2000, 68, 1))], axis=2)
    known = truth(points, pose=pose)
    assert task.details(encoded(task, known, mean), known)["faces"] == {
        "yaw 0-30": 1312,
        "yaw 30-60": 383,
        "yaw 60-90": 305,
    }
    parts = ("nme/yaw 0-30", "nme/yaw 30-60", "nme/yaw 60-90", "nme")
    found = task.score(encoded(task, known, mean), known)
    assert [100 * found[part].value for part in parts] == pytest.approx([13.75, 26.40, 29.94, 23.36], abs=0.01)
    known = truth(again, pose=pose)
    found = task.score(encoded(task, known, points), known)
    assert [100 * found[part].value for part in parts] == pytest.approx([2.79, 3.20, 4.20, 3.40], abs=0.01)
