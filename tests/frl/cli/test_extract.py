"""The folders that frl extract and frl synthesize make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from beton_samples import draw_sample

from frl.beton import BetonWriter
from frl.cli import main


def write(path: Path, people: list[str]) -> Path:
    with BetonWriter(path, capacity=9, page_size=1 << 21, labels=people) as writer:
        for label in range(len(people)):
            writer.append(draw_sample(label, 40, 40).encoded, 40, 40, label, f"{label}.jpg")
    return path


@pytest.mark.parametrize("command", [["extract", "{beton}", "--out"], ["synthesize"]])
def test_a_folder_that_none_can_replace_is_refused_before_the_work(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beton = write(tmp_path / "a.beton", ["alice"])
    (tmp_path / "here").mkdir()
    (tmp_path / "mounted").mkdir()
    (tmp_path / "link").symlink_to("mounted")
    monkeypatch.chdir(tmp_path / "here")
    ismount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mounted" or ismount(path))
    monkeypatch.setattr("frl.synthetic.folder._map", None)  # nothing is drawn
    for out, cause in (
        (".", "the folder in which the command runs"),
        (str(tmp_path / "here"), "the folder in which the command runs"),
        (str(tmp_path / "mounted"), "a file system is mounted"),
        (str(tmp_path / "link"), "is a link"),
    ):
        assert main([*(word.format(beton=beton) for word in command), out]) == 1
        assert cause in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if "beton" not in path.name) == ["here", "link", "mounted"]
    assert not any((tmp_path / "here").iterdir())
