"""``frl evaluate`` from files to figures."""

from __future__ import annotations

import io
import itertools
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import BetonWriter
from frl.cli import main as frl
from frl.cli.evaluate import Knn, Verification, main, run
from frl.config import RunConfig, as_dict
from frl.errors import BetonError, CheckpointError, ConfigError, SourceError
from frl.evaluate import untrained
from frl.evaluate.alignment import TEMPLATE
from frl.results import baseline_of
from frl.runtime import checkpoint

PEOPLE = ("Ann", "Bob", "Cy")


def face(person: int, number: int) -> bytes:
    """A JPEG whose bright third tells the person; the number changes the brightness a little."""
    pixels = np.full((24, 24, 3), 20, np.uint8)
    pixels[:, 8 * person : 8 * person + 8] = 255 - 3 * number
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(untrained("resnet18", seed=7).state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for person, name in enumerate(PEOPLE):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "images" / name / f"{name}_{number:04d}.jpg").write_bytes(face(person, number))
    return tmp_path / "images"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = ["2\t1", "Ann\t1\t2", "Ann\t1\tBob\t1", "Bob\t1\t2", "Cy\t2\tBob\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "pairs.txt"


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    path = tmp_path / "faces.beton"
    with BetonWriter(path, capacity=9, labels=list(PEOPLE), settings={}) as writer:
        for number in range(3):
            for person, name in enumerate(PEOPLE):
                writer.append(face(person, number), 24, 24, person, f"{name}/{number}.jpg")
    return path


def test_verification_prints_and_saves_every_network(
    weights: Path, images: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "verification.json"
    main(f"verification --weights {weights} --images {images} --pairs {pairs} --size 32 --out {out}".split())
    names = ["weights.pt (resnet18)", "untrained (resnet18)", "raw pixels", "HOG"]
    assert [baseline_of(name) for name in names] == [None, "untrained", "raw pixels", "HOG"]
    title, *rows = capsys.readouterr().out.splitlines()
    assert title == "lfw: 4 pairs of 5 images, 2 folds; central squares"
    assert [row.split("  ")[0] for row in rows[:4]] == names
    assert rows[4] == "note: no TAR at FAR 0.1, 0.01, 0.001, 0.0001: 2 pairs of different people are too few"
    assert rows[5].startswith("published on all of lfw") and "(Wu et al." in rows[6]
    figures = json.loads(out.read_text())
    assert list(figures) == names
    assert figures["raw pixels"]["accuracy"] == 1.0 and "100.00%" in rows[2]
    assert figures["HOG"]["tar_at_far"]["0.1"] is None and figures["HOG"]["pairs"] == 4
    assert figures["weights.pt (resnet18)"]["thresholds"] != figures["untrained (resnet18)"]["thresholds"]


def test_the_same_seed_gives_the_untrained_network(weights: Path, images: Path, pairs: Path) -> None:
    task = Verification(weights=weights, images=images, pairs=pairs, size=32, seed=7, device="cpu")
    results = list(run(task).values())
    assert results[0] == results[1]


def points_csv(path: Path, names: list[str], shift: float = 0) -> Path:
    """The template's points for images of 24 pixels."""
    points = (TEMPLATE * 24 / 112 + shift).reshape(-1)
    lines = [",".join([name, *map(str, points)]) for name in names]
    path.write_text("\n".join(["image," + ",".join(f"{axis}{i}" for i in range(5) for axis in "xy"), *lines]))
    return path


def test_points_align_and_faces_without_any_are_counted(
    images: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = points_csv(tmp_path / "points.csv", [f"{name}/{name}_0001.png" for name in PEOPLE] + ["Ann/Ann_0002.jpg"])
    lines = ["2\t1", "Ann\t1\t2", "Ann\t1\tBob\t1", "Ann\t2\t1", "Cy\t2\tBob\t1"]
    pairs.write_text("\n".join(lines))
    arguments = f"verification --images {images} --pairs {pairs} --size 112 --points {table} --arch resnet18"
    main(arguments.split())
    said = capsys.readouterr().out
    assert "lfw: 3 pairs of 4 images, 2 folds; aligned by five points" in said
    assert "note: 1 of 4 images cannot be used (Cy/Cy_0002.jpg: points.csv has no points of it): 1 of 4 pairs" in said
    with pytest.raises(SourceError, match=r"names none of the 4 images.*its first is else/face"):
        main([*arguments.split()[:-4], "--points", str(points_csv(tmp_path / "other.csv", ["else/face.jpg"])),
              "--arch", "resnet18"])  # fmt: skip


def test_points_beside_their_image_and_rows_without_one_are_told_of(
    images: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs.write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nAnn\t2\t1\nCy\t2\tBob\t1\n")
    table = points_csv(tmp_path / "points.csv", ["Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "Zed/1", "Zed/2"])
    far = points_csv(tmp_path / "far.csv", ["Cy/Cy_0002"], shift=900).read_text().splitlines()[1]
    table.write_text(f"{table.read_text()}\n{far}\n")
    main(f"verification --images {images} --pairs {pairs} --size 112 --points {table} --arch resnet18".split())
    said = capsys.readouterr().out
    assert "note: points.csv: 2 of 6 rows fit no image that is compared, such as Zed/1" in said
    assert (
        "note: 1 of 4 images cannot be used (Cy/Cy_0002.jpg: cannot be aligned (only 0 of its 5 points lie inside its "
        "24 x 24 pixels)): 1 of 4 pairs"
    ) in said


def test_every_option_reaches_the_figures(images: Path, pairs: Path, beton: Path) -> None:
    # Each fold has images of its own, on which the other one's centring and whitening are fitted.
    pairs.write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nCy\t1\t2\nBob\t2\tCy\t2\n")
    base = Verification(images=images, pairs=pairs, size=32, arch="resnet18", device="cpu")
    plain = run(base)["untrained (resnet18)"]
    options = {
        "flip": {"flip": True},
        "centre": {"centre": True},
        "whiten": {"whiten": 2},
        "grid": {"thresholds": "grid"},
        "fit data": {"centre": True, "fit_data": beton},
    }
    found = {name: run(replace(base, **changed))["untrained (resnet18)"] for name, changed in options.items()}
    assert len({result.thresholds for result in [plain, *found.values()]}) == 1 + len(options)


def test_the_kind_and_the_stage_of_features_reach_the_figures(images: Path, pairs: Path, beton: Path) -> None:
    found = {}
    for stage, features in itertools.product((None, 2, 3), ("pooled", "unpooled")):
        options = {"size": 64, "arch": "resnet18", "device": "cpu", "stage": stage, "features": features}
        (first, *others), result = zip(*run(Verification(images=images, pairs=pairs, **options)).items(), strict=True)
        said = [*([f"stage {stage}"] if stage else []), *(["unpooled"] if features == "unpooled" else [])]
        assert first == f"untrained ({', '.join(['resnet18', *said])})" and others == ["raw pixels", "HOG"]
        assert first in run(Knn(data=beton, neighbours=1, **options))
        found[first] = result[0].thresholds
    assert len(set(found.values())) == len(found)


def test_a_stage_that_is_not_there_is_refused(images: Path, pairs: Path, beton: Path) -> None:
    with pytest.raises(ConfigError, match=r"stage: 0.*next to the image"):
        run(Knn(data=beton, arch="resnet18", size=32, stage=0))
    with pytest.raises(ConfigError, match=r"stage: 5 is no stage.*Give 1 to 4"):
        run(Verification(images=images, pairs=pairs, arch="resnet18", size=32, device="cpu", stage=5))


def test_a_verification_set_of_insightface(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pairs of faces that differ by brightness or by the bright third."""
    shown = [(0, 1, 0, 2), (0, 1, 1, 1), (2, 1, 2, 3), (1, 2, 2, 2)]
    stored = [face(*who) for first in shown for who in (first[:2], first[2:])], [True, False, True, False]
    (tmp_path / "tiny.bin").write_bytes(pickle.dumps(stored, 2))
    task = Verification(protocol="bin", images=tmp_path / "tiny.bin", folds=2, size=24, arch="resnet18", device="cpu")
    assert run(task)["raw pixels"].folds == (1.0, 1.0)
    assert capsys.readouterr().out.startswith("bin: 4 pairs of 8 images, 2 folds; as stored")


@pytest.mark.parametrize("engine", ["threads", "ffcv", "torch"])
def test_knn_on_a_beton(engine: str, beton: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ffcv" if engine == "ffcv" else "torch")
    main(f"knn --data {beton} --weights {weights} --size 32 --neighbours 2 --batch-size 4 --engine {engine}".split())
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert rows[-1].split(maxsplit=2)[2] == "100.00% of 9 images, 3 identities, 2 neighbours, 32 pixels"


def test_normalisation_and_limit_reach_the_images(beton: Path) -> None:
    # A huge mean drowns the images: all are alike, and the first of equals votes.
    task = Knn(data=beton, size=32, neighbours=1, arch="resnet18", device="cpu", engine="torch", limit=6)
    assert run(task)["raw pixels"].images == 6
    blinded = Knn(
        data=beton, size=32, neighbours=1, arch="resnet18", device="cpu", engine="torch", mean=(1e9, 1e9, 1e9)
    )
    assert run(blinded)["raw pixels"].accuracy < 1


def test_nothing_to_measure_is_refused(images: Path, pairs: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to measure"):
        run(Verification(images=images, pairs=pairs, baselines=False))


def test_a_missing_beton_is_named(tmp_path: Path) -> None:
    with pytest.raises(BetonError, match=r"absent\.beton"):
        run(Knn(data=tmp_path / "absent.beton", arch="resnet18"))


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["knn", "--data", "x.beton", "--neighbors", "3"])
    assert caught.value.code != 0


def test_a_run_is_taken_for_its_newest_checkpoint(
    images: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step, seed in ((1, 1), (2, 7)):
        network = {f"backbone.{name}": t for name, t in untrained("resnet18", seed=seed).state_dict().items()}
        path = checkpoint.path_of(tmp_path / "run" / "checkpoints", step)
        checkpoint.save(path, {"step": step, "model": network, "config": as_dict(RunConfig())})
    arguments = f"verification --images {images} --pairs {pairs} --size 32 --seed 7 --weights {tmp_path / 'run'}"
    main(arguments.split())
    _, newest, untrained_row, *_ = capsys.readouterr().out.splitlines()
    assert newest.startswith("run/step-000000002.pt (resnet18)")
    assert newest.split()[2:] == untrained_row.split()[2:]


@pytest.mark.parametrize("task", ["verification", "knn"])
def test_weights_that_hold_nan_are_no_figure(
    task: str, images: Path, pairs: Path, beton: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault D1: neither 50.00 % nor chance, but the tensor."""
    torch.save({k: v * float("nan") for k, v in torch.load(weights).items() if v.is_floating_point()}, weights)
    source = f"--images {images} --pairs {pairs}" if task == "verification" else f"--data {beton} --engine torch"
    with pytest.raises(CheckpointError, match=r"weights\.pt: holds values that are NaN.*conv1\.weight \(all"):
        main(f"{task} --weights {weights} {source} --size 32 --no-baselines".split())
    assert capsys.readouterr().out == ""


def test_features_that_overflow_are_no_figure(beton: Path, tmp_path: Path) -> None:
    """Every weight is finite, and what comes out is not."""
    state = untrained("resnet18").state_dict()
    state["layer4.1.bn2.weight"] = torch.full_like(state["layer4.1.bn2.weight"], 3e38)
    state["bn1.weight"] = torch.full_like(state["bn1.weight"], 1e38)
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(CheckpointError, match="its features of 9 of 9 images are infinite or NaN"):
        run(Knn(data=beton, weights=tmp_path / "huge.pt", size=32, device="cpu", engine="torch", baselines=False))


def test_results_are_not_overwritten_unasked(images: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    task = Verification(images=str(images), pairs=str(pairs), size=32, arch="resnet18", out=str(out))  # type: ignore[arg-type]
    first = run(task)
    kept = out.read_text()
    with pytest.raises(ConfigError, match="--overwrite"):
        run(task)
    assert out.read_text() == kept
    assert run(replace(task, overwrite=True)) == first


def test_a_task_that_is_meant_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert frl(["evaluate", "landmark", "--data", "faces.beton"]) == 1
    assert "the task: there is none called 'landmark'. Is landmarks meant? Known are" in capsys.readouterr().err
