"""frl verify and frl info of several files, of which one cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from beton_samples import draw_sample

import frl.cli.verify
from frl.beton import BetonWriter, Report
from frl.cli import main


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A sound file, one that is cut off, one that is not there, and another sound one."""
    paths = [tmp_path / f"{name}.beton" for name in ("first", "cut", "absent", "last")]
    for path in (paths[0], paths[1], paths[3]):
        with BetonWriter(path, capacity=1, page_size=1 << 21) as writer:
            writer.append(*draw_sample(0).arguments)
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    return [str(path) for path in paths]


@pytest.mark.parametrize("depth", [[], ["--deep"]])
def test_a_file_that_cannot_be_read_costs_no_other_its_verdict(
    files: list[str], depth: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *files, *depth]) == 1
    printed, complained = capsys.readouterr()
    verdicts = [line for line in printed.splitlines() if not line.startswith(" ")]
    first, cut, absent, last = files
    assert [line.partition(",")[0] for line in verdicts] == [
        f"{first}: sound",
        f"{cut}: FAULTY",
        f"{absent}: FAULTY",
        f"{last}: sound",
    ]
    lines = complained.splitlines()
    assert len(lines) == 2, "and no next command"
    assert lines[0].startswith(f"frl verify: {cut}: ") and lines[1].startswith(f"frl verify: {absent}: ")


def test_a_verdict_is_printed_before_the_next_file_is_looked_at(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verify = frl.cli.verify.verify

    def interrupted_at_the_last(path: Path, **options: object) -> Report:
        if str(path) == files[-1]:
            raise KeyboardInterrupt
        return verify(path, **options)

    monkeypatch.setattr(frl.cli.verify, "verify", interrupted_at_the_last)
    assert main(["verify", files[0], files[-1]]) == 130
    assert f"{files[0]}: sound, 1 images" in capsys.readouterr().out


def test_a_manifest_to_compare_with_that_is_none_is_no_fault_of_the_files(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", files[0], files[-1], "--against", "nowhere.json"]) == 1
    printed, complained = capsys.readouterr()
    assert printed == "" and complained.count("nowhere.json: is not a readable manifest") == 1


def test_info_tells_of_the_files_that_can_be_read(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", *files]) == 1
    printed, complained = capsys.readouterr()
    assert [line.partition(": ")[0] for line in printed.splitlines() if ": 1 images, " in line] == [files[0], files[-1]]
    lines = complained.splitlines()
    assert [line.partition(".beton: ")[0] for line in lines] == [
        f"frl info: {Path(path).with_suffix('')}" for path in files[1:3]
    ]
