"""The folder of faces: its layout, its truth, and what it refuses."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from frl.errors import WriteError
from frl.synthetic import draw_identity, draw_scene, make_model, render, write_folder
from frl.synthetic.folder import _map
from frl.synthetic.truth import TARGETS

IDENTITIES, IMAGES, SIZE = 3, 4, 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faces") / "set"
    write_folder(out, IDENTITIES, IMAGES, size=SIZE, seed=5, workers=1)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_is_that_of_vggface2(folder: Path) -> None:
    expected = {f"train/n{who:06d}/{image:04d}_01.jpg" for who in (1, 2, 3) for image in (1, 2, 3, 4)}
    assert set(contents(folder)) == expected | {"truth.jsonl", "truth.targets.json"}


def test_truth_has_a_complete_line_for_each_picture(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == sorted(set(contents(folder)) - {"truth.jsonl", "truth.targets.json"})
    for number, line in enumerate(lines):
        who, image = divmod(number, IMAGES)
        scene = draw_scene(5, who, image)
        face = render(make_model(draw_identity(5, who), SIZE), scene)
        assert line["identity"] == who + 1 and f"n{who + 1:06d}" in line["path"]
        np.testing.assert_allclose(line["landmarks"], face.landmarks, atol=1e-3)
        assert line["visible"] == face.visible.tolist()
        assert line["pose"] == {"yaw": scene.pose.yaw, "pitch": scene.pose.pitch, "roll": scene.pose.roll}
        assert line["intensities"] == asdict(scene.expression)
        assert line.keys() == {"path", "identity", *(spec.name for spec in TARGETS)}
        picture = cv2.imread(str(folder / line["path"]))[..., ::-1]
        assert np.abs(picture.astype(float) - face.image).mean() < 8, "the JPEG shows the face of the truth"


def test_bytes_do_not_depend_on_the_workers(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "two", IDENTITIES, IMAGES, size=SIZE, seed=5, workers=2)
    assert contents(tmp_path / "two") == contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["two"], "nothing temporary stays"


def test_another_seed_gives_other_faces(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", 1, 1, size=SIZE, seed=6, workers=1)
    name = "train/n000001/0001_01.jpg"
    assert contents(tmp_path / "other")[name] != contents(folder)[name]


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    write_folder(out, 1, 1, size=SIZE, workers=1)
    before = contents(out)
    with pytest.raises(WriteError, match="not an empty folder"):
        write_folder(out, 1, 1, size=SIZE, workers=1)
    assert contents(out) == before
    (tmp_path / "file").write_text("taken")
    with pytest.raises(WriteError, match="not an empty folder"):
        write_folder(tmp_path / "file", 1, 1, size=SIZE, workers=1)


@pytest.mark.parametrize("numbers", [(0, 1, 48), (1, 0, 48), (1, 1, 8)])
def test_senseless_numbers_are_refused(tmp_path: Path, numbers: tuple[int, int, int]) -> None:
    with pytest.raises(WriteError, match="Ask for at least"):
        write_folder(tmp_path / "set", *numbers, workers=1)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr("frl.synthetic.folder._jpeg", fail)
    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "set", 1, 1, size=SIZE, workers=1)
    assert not list(tmp_path.iterdir())


def test_a_dead_worker_is_an_error_and_no_wait() -> None:
    with pytest.raises(WriteError, match="died"):
        list(_map(os._exit, 4, 2))
