"""Names of faces are theirs alone, annotations are their photograph's alone, and no name steers the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, picture
from PIL import Image
from source_layouts import pack, plant

from frl.beton.manifest import SampleLine
from frl.cli import main as frl
from writers.items import Item
from writers.outlet import count_found
from writers.reject import Reason, Reject
from writers.sources import Candidate, open_source
from writers.sources.annotations import numbered
from writers.to_beton import main

ESCAPE = "\x1b]0;owned\x07\x1b[31m"
STEM = st.text(st.sampled_from("ab#12."), min_size=1, max_size=6)


@given(faces=st.lists(st.tuples(STEM, st.integers(1, 12)), unique=True))
def test_no_two_faces_have_one_name(faces: list[tuple[str, int]]) -> None:
    names = [numbered(f"{stem}.jpg", number) for stem, number in faces]
    assert len(set(names)) == len(names)


@given(photos=st.lists(STEM, unique=True), found=st.data())
def test_nor_have_those_that_a_detector_finds(photos: list[str], found: st.DataObject) -> None:
    names: list[str] = []
    for stem in photos:
        item = Item("s", Candidate(numbered(f"{stem}.jpg", 1)), None)
        names += item.names(found.draw(st.integers(1, 3)))
    assert len(set(names)) == len(names)


def test_a_photograph_called_like_a_face_of_another_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = plant(tmp_path / "photos", {name: encode(picture(80 + len(name), 90)) for name in ("a.jpg", "a#2.jpg")})
    plant(photos, {"a.faces.json": b'[{"box": [1, 2, 30, 30]}, {"box": [40, 40, 30, 30]}]'})
    out = tmp_path / "faces.beton"
    assert main([f"flickr:{photos}", "--out", str(out), "--workers", "1", "--max-rejects", "0"]) == 0
    names = {line.split("\t")[2] for line in Path(f"{out}.samples.tsv").read_text().splitlines()}
    assert names == {"photos/a.jpg", "photos/a#2.jpg", "photos/a#2#1.jpg"}


FACES = json.dumps([{"box": [1, 2, 30, 30]}]).encode()


def boxed(folder: Path) -> dict[str, bool | str]:
    """Whether each photograph has a box, or its fault."""
    return {c.name: c.fault or c.box is not None for c in open_source(f"flickr:{folder}").candidates()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg"])
def test_annotations_are_those_of_the_jpeg_not_of_its_namesakes(tmp_path: Path, suffix: str, packed: bool) -> None:
    files = {f"IMG{suffix}": b"", "IMG.png": b"", "IMG.faces.json": FACES, "b/1.png": b"", "b/1.faces.json": FACES}
    place = pack(tmp_path / "photos.tar", files) if packed else plant(tmp_path / "photos", files)
    assert boxed(place) == {f"IMG{suffix}": True, "IMG.png": False, "b/1.png": True}


def test_annotations_that_may_be_of_two_photographs_are_of_none_unless_they_say_so(tmp_path: Path) -> None:
    photos = plant(tmp_path, {"IMG.webp": b"", "IMG.png": b"", "IMG.faces.json": FACES})
    found = boxed(photos)
    assert "IMG.faces.json; call its own IMG.png.faces.json" in str(found["IMG.png"])
    assert "IMG.webp.faces.json" in str(found["IMG.webp"])
    plant(photos, {"IMG.png.faces.json": FACES})
    assert boxed(photos) == {"IMG.png": True, "IMG.webp": True}


# terminals


def test_no_name_reaches_the_terminal_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the source, its images, its people, its tables and its rejects: by every command that prints names."""
    images = {f"{ESCAPE}who/{i}{ESCAPE}.jpg": encode(picture(50 + i, 40)) for i in (1, 2)}
    root = plant(tmp_path / f"in{ESCAPE}", images)
    plant(root, {f"{ESCAPE}who/bad{ESCAPE}.jpg": b"<html>"})
    (root / "loose_bb_train.csv").write_text(f"NAME_ID,X,Y,W,H\n{ESCAPE}who/1{ESCAPE},1,2,30,30\n{ESCAPE},1,2,30,30\n")
    out = tmp_path / f"{ESCAPE}.beton"
    write = [f"vggface2:{root}", "--out", str(out), "--workers", "1"]
    assert main([*write, "--max-rejects", "0"]) == 1
    assert main(write) == 0
    assert main(write) == 1  # it exists already
    assert frl(["info", str(out)]) == 0
    assert frl(["verify", str(out), "--deep"]) == 0
    assert frl(["extract", str(out), "--out", str(tmp_path / f"{ESCAPE}again")]) == 0
    Path(f"{out}.samples.tsv").unlink()
    assert frl(["verify", str(out), "--deep"]) == 1
    printed = "".join(capsys.readouterr())
    assert "\\x1b]0;owned\\x07" in printed
    assert not [character for character in printed if not character.isprintable() and character not in "\n\r\t"]
    for sidecar in (".json", ".md", ".rejects.tsv"):
        assert "\x1b" not in Path(f"{out}{sidecar}").read_text()


@given(name=st.text(), label=st.integers(-1, 9))
def test_lines_about_samples_hold_any_name_and_steer_no_terminal(name: str, label: int) -> None:
    line = SampleLine(crc32=7, label=label, name=name.encode("utf-8", "replace").decode())
    encoded = line.encode()
    assert SampleLine.decode(encoded) == line
    assert not any(code < 0x20 for code in encoded.replace(b"\t", b"").removesuffix(b"\n"))


def test_lines_of_earlier_versions_are_read_as_they_stand() -> None:
    assert SampleLine.decode(b"00000007\t1\ta\x1b[31m\\t\\\\x1b\n").name == "a\x1b[31m\t\\x1b"


# what a detector found


def test_faces_found_are_counted_whether_or_not_they_are_kept() -> None:
    small, none, broken = (Reject("x", reason) for reason in (Reason.SMALL, Reason.NO_FACE, Reason.UNUSABLE))
    assert [count_found(faces) for faces in ([small, small], [none], [broken], [])] == [2, 0, 0, 0]


def test_the_summary_of_a_search_says_how_many_faces_were_found(
    tmp_path: Path, real_faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("dlib")
    photo = next(iter(sorted((real_faces / "flickr_uncropped800").glob("*.jpg"))))
    plant(tmp_path / "photos", {"1.jpg": photo.read_bytes(), "2.jpg": encode(picture(300, 300))})
    out = ["--out", str(tmp_path / "f.beton"), "--workers", "1", "--detect", "dlib", "--min-face", "100"]
    assert main([f"folder:{tmp_path}/photos", *out]) == 0
    printed = capsys.readouterr()
    assert "; faces found " in printed.out and "faces found 0" not in printed.out
    assert "with a face box" not in printed.out and "without --detect" not in printed.err


def test_bystanders_that_a_detector_finds_are_not_the_person_of_the_folder(tmp_path: Path, real_faces: Path) -> None:
    pytest.importorskip("dlib")
    photos = sorted((real_faces / "flickr_uncropped800").glob("*.jpg"))[:2]
    both = np.vstack([np.asarray(Image.open(path).convert("RGB").resize((360, 360))) for path in photos])
    people = {"Ann/1.jpg": photos[0].read_bytes(), "Bob/2.png": encode(Image.fromarray(both), "PNG")}
    out = tmp_path / "f.beton"
    options = ["--out", str(out), "--workers", "1", "--detect", "dlib", "--min-face", "100"]
    assert main([f"vggface2:{plant(tmp_path / 'people', people)}", *options]) == 0
    lines = [line.split("\t") for line in Path(f"{out}.samples.tsv").read_text().splitlines()]
    assert {name: label for _, label, name in lines} == {
        "people/Ann/1.jpg": "0",
        "people/Bob/2#1.png": "-1",
        "people/Bob/2#2.png": "-1",
    }
