"""What lists say in other ways than they mean: names that look alike, numbers with a comma; and what is carried on."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from pictures import encode, picture

from frl.beton import Beton
from frl.beton.manifest import Manifest
from frl.cli.extract import main as extract
from writers.sources.labels import person
from writers.to_beton import main

FACES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(FACES):
        (tmp_path / f"{i}.jpg").write_bytes(encode(picture(64, 64), quality=90 - i))
    return tmp_path


def write(folder: Path, column: str, values: list[str], *options: str, separator: str = ",") -> int:
    """Write a list whose lines say something; the file is ``out.beton``."""
    lines = [separator.join(("path", column)), *(separator.join((f"{i}.jpg", v)) for i, v in enumerate(values))]
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return main([f"list:{folder / 'list.csv'}", *options, "--out", str(folder / "out.beton"), "--workers", "1"])


@pytest.mark.parametrize(
    ("values", "cell", "remedy"),
    [
        (["-30,5", "2,25", "0", "1", "2", "3"], "-30,5", "Write -30.5"),
        (["?", "20", "21", "22", "23", "24"], "?", "Leave a cell empty"),
    ],
)
def test_one_cell_does_not_make_classes_of_numbers(
    folder: Path, capsys: pytest.CaptureFixture[str], values: list[str], cell: str, remedy: str
) -> None:
    assert write(folder, "yaw", values, "--targets", "yaw", separator=";") == 1
    said = capsys.readouterr().err
    assert f"its yaw seems to be numbers, but {cell!r} is none. {remedy}" in said and "--targets yaw:class" in said
    assert write(folder, "yaw", values, "--targets", "yaw:class", separator=";") == 0


@pytest.mark.parametrize("values", [["a", "b", "1", "c", "d", "e"], ["0-2", "4-6", "8-13", "0-2", "60-", "4-6"]])
def test_classes_may_have_numbers_in_them(folder: Path, values: list[str]) -> None:
    assert write(folder, "age", values, "--targets", "age") == 0
    with Beton(folder / "out.beton") as beton:
        assert set(beton.targets[0].names) == set(values)


def test_names_that_look_alike_are_one_person(folder: Path) -> None:
    composed = "Jos\N{LATIN SMALL LETTER E WITH ACUTE}"
    names = ["Bob", "Bob ", "Bob\N{NO-BREAK SPACE}", composed, unicodedata.normalize("NFD", composed), "bob"]
    assert write(folder, "identity", names) == 0
    with Beton(folder / "out.beton") as beton:
        assert beton.manifest is not None
        assert sorted(beton.manifest.identities) == ["list.csv/Bob", f"list.csv/{composed}", "list.csv/bob"]


def test_so_are_classes(folder: Path) -> None:
    assert (
        write(folder, "mood", ["sad", "sad ", " sad", "glad", "glad\N{NO-BREAK SPACE}", "glad"], "--targets", "mood")
        == 0
    )
    with Beton(folder / "out.beton") as beton:
        assert beton.targets[0].names == ("glad", "sad")
        assert sorted(beton.target("mood", range(FACES)).tolist()) == [0, 0, 0, 1, 1, 1]


def test_nobody_has_spaces_around_them_too() -> None:
    assert person("\N{NO-BREAK SPACE}nan ") is None


def test_people_keep_their_names_when_they_are_extracted_and_written_again(folder: Path) -> None:
    names = ["Ann O'Neil"] * 3 + ["B: C*"] * 3
    lines = [json.dumps({"path": f"{i}.jpg", "identity": name, "age": i}) for i, name in enumerate(names)]
    (folder / "list.jsonl").write_text("\n".join(lines))
    once, again = folder / "once.beton", folder / "again.beton"
    made = folder / "extracted"
    assert main([f"list:{folder / 'list.jsonl'}", "--targets", "age", "--out", str(once), "--workers", "1"]) == 0
    assert extract([str(once), "--out", str(made)]) in (None, 0)
    assert main([f"list:{made / 'faces.csv'}", "--out", str(again), "--workers", "1"]) == 0
    manifest = Manifest.load(again)
    assert manifest is not None
    assert sorted(name.partition("/")[2] for name in manifest.identities) == ["Ann O'Neil", "B: C*"]


def test_a_licence_goes_on_with_the_images(folder: Path) -> None:
    """Unless another is stated."""
    assert write(folder, "identity", ["a"] * FACES, "--licence", "CC-BY-4.0") == 0
    for options, licence in (((), "CC-BY-4.0"), (("--licence", "my own"), "my own")):
        again = folder / f"{len(options)}.beton"
        assert main([str(folder / "out.beton"), *options, "--out", str(again), "--workers", "1"]) == 0
        manifest = Manifest.load(again)
        assert manifest is not None and list(manifest.settings["licences"].values()) == [licence]
