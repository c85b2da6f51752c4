"""Lists whose paths lead nowhere: refused where files are that they probably mean, before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import encode, picture

from frl.errors import SourceError
from writers.sources.misplaced import FIRST, refuse_wrong_paths
from writers.to_beton import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "anna").mkdir()
    for name in ("1.jpg", "2.PNG"):
        (tmp_path / "anna" / name).write_bytes(encode(picture(64, 64)))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("anna\\1.jpg", "anna/1.jpg"),
        ("faces\\anna\\1.jpg", "anna/1.jpg"),
        ("/gone/faces/anna/1.jpg", "anna/1.jpg"),
        ("anna/1.png", "anna/1.jpg"),
        ("anna/1", "anna/1.jpg"),
        ("anna/2.jpg", "anna/2.PNG"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_a_path_probably_means_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, meant: str, form: str
) -> None:
    line = f"path,identity\n{path},a\n" if form == "csv" else json.dumps({"path": path})
    (folder / f"list.{form}").write_text(line)
    out = folder / "out.beton"
    assert main([f"list:{folder / f'list.{form}'}", "--out", str(out), "--workers", "1"]) == 1
    said = capsys.readouterr().err
    assert f"list.{form}: none of the first 1 images that it names is there, {path} for one; {meant} is." in said
    assert not out.exists()


def test_one_image_that_is_there_is_enough(folder: Path) -> None:
    refuse_wrong_paths(str(folder / "list.csv"), [*["anna\\1.jpg"] * (FIRST - 1), "anna/1.jpg"])


@pytest.mark.parametrize("paths", [[], [""], ["bert/1.jpg"], ["s3://bucket/anna/1.jpg"]])
def test_what_means_nothing_else_is_left_to_be_read(folder: Path, paths: list[str]) -> None:
    refuse_wrong_paths(str(folder / "list.csv"), paths)


def test_a_file_elsewhere_is_not_what_an_absolute_path_means(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"/gone/anna/1\.jpg for one; anna/1\.jpg is"):
        refuse_wrong_paths(str(folder / "list.csv"), ["/gone/anna/1.jpg"])
