"""``frl evaluate landmarks`` and so on, from files to tables: what is found, and what is refused at the start."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import BetonWriter
from frl.beton.targets import Kind, TargetSpec
from frl.cli.evaluate import main, run
from frl.cli.evaluate.extraction import Extraction
from frl.cli.evaluate.supervised import AnyTarget, Expression, Landmarks, Pose
from frl.errors import BetonError, ConfigError
from frl.runtime.distributed import pick_device
from pipelines.whole_images import WholeImages

SIDE = 32
SPECS = (
    TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2)),
    TargetSpec(name="expression", kind=Kind.CLASS, names=("dark", "bright")),
    TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll")),
    TargetSpec(name="age", kind=Kind.VECTOR),
    TargetSpec(name="gender", kind=Kind.CLASS),
)
OPTIONS: dict[str, Any] = {"arch": "resnet18-w16-nopool", "size": SIDE, "device": "cpu", "engine": "torch"}


def face(place: np.ndarray, grey: int) -> bytes:
    """A JPEG with a bright square that the targets tell the place and the brightness of."""
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    x, y = place.round().astype(int)
    pixels[y - 3 : y + 4, x - 3 : x + 4] = grey
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def write(
    path: Path, people: list[str], images: int = 6, specs: tuple[TargetSpec, ...] = SPECS, **changed: Any
) -> Path:
    """A file of faces that are easy to read.

    Args:
        path: of the file.
        people: their names.
        images: of each.
        specs: of the targets that are written.
        changed: a target's value of every face, in the place of the true one.
    """
    rng = np.random.default_rng(len(people))
    with BetonWriter(path, capacity=len(people) * images, labels=people, settings={}, targets=specs) as writer:
        for label, name in enumerate(people):
            for number in range(images):
                place, bright = rng.uniform(6, SIDE - 7, 2), int(rng.integers(0, 2))
                values = {
                    "landmarks": place + np.array([[-3, -3], [3, -3], [0, 0], [-3, 3], [3, 3]]),
                    "expression": bright,
                    "pose": [place[0] - 16, place[1] - 16, 0],
                    "age": float(place[0]),
                    "gender": bright,
                } | changed
                kept = {spec.name: values[spec.name] for spec in specs}
                image = face(place, 250 if bright else 130)
                writer.append(image, SIDE, SIDE, label, f"{name}/{number}.jpg", targets=kept)
    return path


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("train") / "train.beton", [f"p{i}" for i in range(30)])


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("test") / "test.beton", [f"q{i}" for i in range(8)])


def headline(found: dict[str, Any], network: str, labels: str = "100%") -> float:
    """The best headline of a network over its features."""
    rows = [row for row in found["rows"] if row["network"].startswith(network) and row["labels"] == labels]
    values = [row["scores"][found["headline"]]["mean"] for row in rows]
    assert values, network
    return min(values)


def test_points_are_found_and_the_table_says_so(train: Path, test: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "results.json"
    arguments = f"landmarks --train {train} --test {test} --arch resnet18-w16-nopool --size {SIDE} --device cpu"
    main(f"{arguments} --engine torch --labels 20% 100% --seeds 2 --flip --out {out} --cache {tmp_path / 'c'}".split())
    text, found = capsys.readouterr().out, json.loads(out.read_text())
    assert "180 faces of 30 subjects" in text and "48 faces of 8 subjects" in text
    assert headline(found, "raw") < 0.5 * headline(found, "constant")
    assert headline(found, "HOG", "20%") > headline(found, "HOG")
    kinds = [(row["network"].split(" ")[0], row["features"], row["labels"]) for row in found["rows"]]
    networks = [("untrained", "pooled"), ("untrained", "unpooled"), ("raw", ""), ("HOG", "")]
    assert kinds == [(*network, share) for network in networks for share in ("20%", "100%")] + [
        ("constant", "", "100%")
    ]
    few = found["rows"][0]
    assert [trial["seed"] for trial in few["trials"]] == [0, 1] and few["scores"]["nme"]["deviation"] > 0
    assert few["faces"] == 36 and len(found["rows"][1]["trials"]) == 1
    assert found["rows"][1]["scores"]["nme"]["deviation"] is None  # and no NaN, which is not JSON
    # Every face's five points have their eyes 6 pixels apart.
    assert found["rows"][0]["trials"][0]["details"]["normaliser"] == "inter-ocular distance"
    for row in found["rows"]:
        shown = f"{100 * row['scores']['nme']['mean']:.2f}%"
        assert any(line.startswith(row["network"]) and shown in line for line in text.splitlines()), row["network"]


def test_the_cache_gives_the_same_and_reads_no_image(train: Path, test: Path, tmp_path: Path, monkeypatch: Any) -> None:
    options = Pose(train=train, test=test, cache=tmp_path / "cache", **OPTIONS)
    first = run(options)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 6
    monkeypatch.setattr("pipelines.whole_images.WholeImages.__iter__", None)
    assert run(options) == first


def test_the_features_of_a_stage_are_judged_and_kept_for_themselves(train: Path, test: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "train": train, "test": test, "cache": tmp_path / "cache"}
    errors = {}
    for stage in (None, 1, 2):
        found = run(Landmarks(**options, stage=stage))
        network = next(row["network"] for row in found["rows"] if row["network"].startswith("untrained"))
        assert network == f"untrained (resnet18-w16-nopool{f', stage {stage}' if stage else ''})"
        errors[stage] = headline(found, network)
    assert len(set(errors.values())) == 3


def test_one_file_is_split_by_subject(train: Path) -> None:
    found = run(Pose(data=train, test_share=0.3, features="pooled", baselines=True, **OPTIONS))
    assert found["train"]["subjects"] + found["test"]["subjects"] == 30
    assert found["test"]["faces"] >= 54 and found["train"]["faces"] + found["test"]["faces"] == 180
    assert headline(found, "raw") < 0.6 * headline(found, "constant")


def test_each_fold_is_judged_in_turn_and_each_network_sees_the_file_once(
    train: Path, capsys: Any, monkeypatch: Any
) -> None:
    shown, iterate = [], WholeImages.__iter__
    monkeypatch.setattr(WholeImages, "__iter__", lambda images: (shown.append(images), iterate(images))[1])
    found = run(Pose(data=train, folds=3, labels=("20%", "100%"), seeds=2, **OPTIONS))
    assert "and 2 times otherwise, so that each face is judged on once" in capsys.readouterr().out
    assert len(shown) == 3  # untrained, raw pixels, HOG
    few, whole = found["rows"][:2]
    assert [(trial["fold"], trial["seed"]) for trial in few["trials"]] == [
        (k, seed) for k in range(3) for seed in (0, 1)
    ]
    assert [trial["fold"] for trial in whole["trials"]] == [0, 1, 2] and found["folds"] == 3
    assert sum(trial["faces"] for trial in whole["trials"]) == 2 * 180
    scores, spread = [trial["scores"]["mae"] for trial in whole["trials"]], whole["scores"]["mae"]
    assert spread["mean"] == pytest.approx(np.mean(scores)) and spread["deviation"] == pytest.approx(
        np.std(scores, ddof=1)
    )
    # Of the constant, from the file itself: the other folds' median or mean never saw the fold.
    assert len({trial["scores"]["mae"] for trial in found["rows"][-1]["trials"]}) == 3


@pytest.mark.parametrize("how", ["frozen", "knn"])
def test_classes_with_and_without_names(how: Any, train: Path, test: Path) -> None:
    named = run(Expression(train=train, test=test, how=how, **OPTIONS))
    unnamed = run(AnyTarget(target="classes:gender", train=train, test=test, how=how, **OPTIONS))
    assert headline(named, "raw") > headline(named, "constant")
    assert [row["scores"]["accuracy"] for row in named["rows"]] == [
        row["scores"]["accuracy"] for row in unnamed["rows"]
    ]


def test_numbers_of_any_target(train: Path, test: Path) -> None:
    found = run(AnyTarget(target="numbers:age", train=train, test=test, **OPTIONS))
    assert headline(found, "raw") < 0.5 * headline(found, "constant")


def test_faces_of_which_nothing_is_known_are_counted(train: Path, tmp_path: Path, capsys: Any) -> None:
    known = TargetSpec(name="age", kind=Kind.VECTOR)
    path = tmp_path / "holes.beton"
    with BetonWriter(path, capacity=9, labels=None, settings={}, targets=(known,)) as writer:
        for number in range(9):
            age = None if number < 4 else float(number)
            writer.append(face(np.full(2, 10.0 + number), 200), SIDE, SIDE, -1, f"{number}.jpg", targets={"age": age})
    run(AnyTarget(target="numbers:age", train=train, test=path, **OPTIONS))
    assert "5 faces, subjects unknown, of" in (text := capsys.readouterr().out)
    assert "left out: 4 of which nothing is known" in text


def test_published_figures_stand_below(train: Path, test: Path, capsys: Any) -> None:
    run(Landmarks(train=train, test=test, benchmark="wflw", **OPTIONS))
    text = capsys.readouterr().out
    assert (
        "published on wflw, 2,500 faces, which are not the 48 here" in text
        and "HRNetV2-W18, ImageNet: nme 4.60" in text
    )


def refuse(match: str, kind: type = Landmarks, error: type = ConfigError, **options: Any) -> None:
    with pytest.raises(error, match=match):
        run(kind(**OPTIONS | options))


def test_files_that_do_not_fit_are_refused(train: Path, test: Path, tmp_path: Path) -> None:
    refuse("nothing to learn from", train=train)
    refuse("--train or --test, too", train=train, data=test)
    refuse("no such file", train=train, test=tmp_path / "no.beton")
    refuse("is no .beton", train=train, test=write_text(tmp_path / "text.beton"), error=BetonError)
    refuse("in both files, such as 'p0'", train=train, test=train)
    nobody = tmp_path / "nobody.beton"
    with BetonWriter(nobody, capacity=9, labels=[], settings={}, targets=SPECS[3:4]) as writer:
        for number in range(9):
            row = face(np.array([9 + number, 9]), 250)
            writer.append(row, SIDE, SIDE, -1, f"{number}.jpg", targets={"age": number})
    copy = tmp_path / "copy.beton"
    for suffix in ("", ".json"):
        shutil.copy(f"{nobody}{suffix}", f"{copy}{suffix}")
    refuse("holds the very faces of", AnyTarget, target="numbers:age", train=nobody, test=copy)
    refuse("is no share", data=train, test_share=1.0)


def write_text(path: Path) -> Path:
    path.write_text("no beton at all, but long enough to have a header" * 9)
    return path


def test_a_shared_subject_may_be_allowed(train: Path) -> None:
    found = run(Pose(train=train, test=train, shared_subjects=True, features="pooled", **OPTIONS))
    assert found["test"]["faces"] == 180


def test_targets_that_do_not_fit_are_refused(train: Path, test: Path, tmp_path: Path) -> None:
    ages = write(tmp_path / "ages.beton", ["a", "b"], specs=SPECS[3:4])
    refuse("lacks .its targets: age", train=ages, test=ages, shared_subjects=True)
    refuse("not in the test", train=train, test=ages)
    seven = (TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(7, 2)),)
    other = write(tmp_path / "seven.beton", ["a", "b"], specs=seven, landmarks=np.ones((7, 2)))
    refuse(r"points \(5, 2\) in the training file and points \(7, 2\)", train=train, test=other)
    unknown = write(tmp_path / "unknown.beton", ["a", "b"], age=None)
    refuse("of its 12 faces, 0 have a known age", AnyTarget, target="numbers:age", train=train, test=unknown)
    alike = write(tmp_path / "alike.beton", ["a", "b"], age=5.0, expression=0)
    refuse("the same age in all", AnyTarget, target="numbers:age", train=alike, test=test)
    refuse("has no face of bright, of which", Expression, train=alike, test=test)
    refuse("inter-pupil is not known of 5", train=train, test=test, normaliser="inter-pupil")
    refuse("no task of this name", AnyTarget, target="age", train=train, test=test)


@pytest.mark.parametrize("seeds", [0, -1, 1001])
def test_a_number_of_seeds_out_of_bounds_is_refused(seeds: int, train: Path) -> None:
    refuse("--seeds", data=train, seeds=seeds)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_a_share_for_the_test_out_of_bounds_is_refused(share: float, train: Path) -> None:
    refuse("--test-share", data=train, test_share=share)


def test_options_that_would_have_no_effect_are_refused(train: Path, test: Path) -> None:
    refuse("--test-share: --test says which faces", train=train, test=test, test_share=0.5)
    refuse("--folds: --train and --test are divided already", train=train, test=test, folds=3)
    refuse("--test-share: --folds says how many", data=train, folds=3, test_share=0.5)
    refuse("--folds: 1 is", data=train, folds=1)
    refuse("--folds: 31 parts of whole subjects cannot be made of 30", data=train, folds=31)
    refuse("--shared-subjects: --data is split so that nobody", data=train, shared_subjects=True)
    refuse("--features: fine-tuning trains the whole network", data=train, how="finetune", features="unpooled")
    refuse("--batch-size: fine-tuning has a batch size of its own", data=train, how="finetune", batch_size=128)


def test_a_class_that_training_never_saw_is_named_whatever_its_number(train: Path, tmp_path: Path) -> None:
    """One without names has as many classes as the training data show."""
    other = write(tmp_path / "other.beton", ["q0", "q1"], gender=3)
    refuse("has no face of 3, of which", AnyTarget, train=train, test=other, target="classes:gender")


def test_labels_that_do_not_fit_are_refused(train: Path, test: Path) -> None:
    refuse("neither a share nor a number", train=train, test=test, labels=("some",))
    refuse("names a part twice", train=train, test=test, labels=("50%", "9", "50.0%"))
    refuse("0.1% of 180 training faces are 0", train=train, test=test, labels=("0.1%",))
    refuse("200 of 180 training faces are 200", train=train, test=test, labels=("200",))
    refuse("nothing published on", train=train, test=test, benchmark="wflv")


def test_what_does_not_learn_is_computed_on_the_rank_s_own_device(train: Path) -> None:
    """Under torchrun all ranks look at HOG's features: all on the first GPU there would be little room for training."""
    task = Landmarks(data=train, how="finetune")
    assert Extraction(task, torch.device("cuda", 3)).device == torch.device("cuda", 3)
    assert Extraction(task).device == pick_device("auto", 0)
