"""frl extract, and the command that it proposes to come back."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from beton_samples import draw_sample

from frl.beton import Beton, BetonWriter
from frl.beton.samples import stored_samples
from frl.beton.targets import Kind, TargetSpec
from frl.cli import main
from frl.images.names import SPLITS

AGE = TargetSpec(name="age", kind=Kind.VECTOR)


def write(path: Path, people: list[str | None], targets: tuple[TargetSpec, ...] = ()) -> Path:
    names = sorted({name for name in people if name is not None})
    with BetonWriter(path, capacity=9, page_size=1 << 21, labels=names, targets=targets) as writer:
        for number, name in enumerate(people):
            label = -1 if name is None else names.index(name)
            values = {spec.name: np.float32(number) for spec in targets}
            writer.append(draw_sample(number, 40, 40).encoded, 40, 40, label, f"{number}.jpg", values)
    return path


def grouped(path: Path) -> list[list[bytes]]:
    """The images of each person; those of nobody known one by one, each behind an empty text."""
    groups: dict[str, list[bytes]] = {}
    with Beton(path) as beton:
        for sample in stored_samples(beton):
            image = sample.encoded.tobytes()
            groups.setdefault(sample.identity or f"{len(groups)}", [] if sample.identity else [b""]).append(image)
    return sorted(sorted(group) for group in groups.values())


@pytest.mark.parametrize(
    ("people", "targets"),
    [
        (["alice", "alice", "bob", None], ()),
        (["alice", "bob", None, "bob"], (AGE,)),
        (["faces.csv", "bob", None], (AGE,)),
        (["x.csv", "bob", None], ()),
        ([None, None], ()),
        *[([split, split, "bob"], ()) for split in SPLITS],
    ],
)
def test_the_proposed_command_gives_the_people_back(
    people: list[str | None], targets: tuple[TargetSpec, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "before.beton", people, targets)
    assert main(["extract", str(before), "--out", str(tmp_path / "new" / "my faces")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Next: frl ")]
    after = tmp_path / "after.beton"
    command = [str(after) if word == "FILE" else word for word in shlex.split(line)[2:]]
    assert main([*command, "--workers", "1"]) == 0
    assert grouped(after) == grouped(before)
    with Beton(after) as beton:
        assert [spec.name for spec in beton.targets] == [spec.name for spec in targets]


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
