"""Sources list what is there, in an order of their own, and say what they cannot use."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

import pytest

from frl.errors import SourceError
from writers.config import WriteConfig
from writers.item_list import choose
from writers.reject import Reject
from writers.sources import Box, Candidate, Source, open_source, open_sources
from writers.sources.directory import Directory
from writers.sources.files import read_file
from writers.sources.skipped import total


def plant(root: Path, *paths: str) -> Path:
    """Make files that hold their own path."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return root


def names(source: Source) -> list[str]:
    return [candidate.name for candidate in source.candidates()]


def test_a_folder_lists_images_at_any_depth_in_order_and_nothing_else(tmp_path: Path) -> None:
    plant(tmp_path, "b.JPG", "a/2.png", "a/1.webp", "a/deep/er/x.tiff", "z.bmp", "c.jpeg", "d.tif")
    plant(tmp_path, "notes.txt", "boxes.csv", ".hidden.jpg", ".cache/y.jpg", "jpg", "page.jpg.html")
    source = open_source(str(tmp_path))
    assert names(source) == ["a/1.webp", "a/2.png", "a/deep/er/x.tiff", "b.JPG", "c.jpeg", "d.tif", "z.bmp"]
    assert all(candidate.identity is None and candidate.box is None for candidate in source.candidates())


@pytest.mark.parametrize("kind", ["folder", "flickr"])
def test_the_kind_may_be_said(tmp_path: Path, kind: str) -> None:
    plant(tmp_path, "part1/x.jpg", "part2/y.jpg")
    assert {c.identity for c in open_source(str(tmp_path)).candidates()} == {"part1", "part2"}
    assert {c.identity for c in open_source(f"{kind}:{tmp_path}").candidates()} == {None}


def test_identity_folders_in_the_root(tmp_path: Path) -> None:
    plant(
        tmp_path, "n000002/0001_01.jpg", "n000001/0002_01.jpg", "n000001/0001_01.jpg", "n000001/clip/7.png", "list.csv"
    )
    source = open_source(str(tmp_path))
    assert [(c.name, c.identity) for c in source.candidates()] == [
        ("n000001/0001_01.jpg", "n000001"),
        ("n000001/0002_01.jpg", "n000001"),
        ("n000001/clip/7.png", "n000001"),
        ("n000002/0001_01.jpg", "n000002"),
    ]


def test_identity_folders_in_splits(tmp_path: Path) -> None:
    plant(tmp_path, "train/n2/a.jpg", "test/n1/b.jpg", "bb_landmark/readme.txt", "samples/loose.jpg")
    source = open_source(str(tmp_path))
    assert [(c.name, c.identity) for c in source.candidates()] == [("test/n1/b.jpg", "n1"), ("train/n2/a.jpg", "n2")]


@pytest.mark.parametrize("folder", ["", "bb_landmark/"])
def test_vggface2_boxes_are_found_beside_the_images(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, "train/n000002/0001_01.jpg", "train/n000002/0002_01.jpg", "test/n000001/0001_01.jpg")
    plant(tmp_path, f"{folder}loose_bb_train.csv", f"{folder}loose_bb_test.csv")
    (tmp_path / f"{folder}loose_bb_train.csv").write_text('NAME_ID,X,Y,W,H\n"n000002/0001_01",161,-3,224,324\n')
    (tmp_path / f"{folder}loose_bb_test.csv").write_text('NAME_ID,X,Y,W,H\n"n000001/0001_01",1,2,5.5,6\n')
    boxes = {c.name: c.box for c in open_source(f"vggface2:{tmp_path}").candidates()}
    assert boxes == {
        "train/n000002/0001_01.jpg": Box(161, -3, 224, 324),
        "train/n000002/0002_01.jpg": None,
        "test/n000001/0001_01.jpg": Box(1, 2, 5.5, 6),
    }


def test_vggface2_landmarks_are_found_beside_the_images(tmp_path: Path) -> None:
    plant(tmp_path, "train/n000002/0001_01.jpg", "train/n000002/0002_01.jpg")
    header = ",".join(["NAME_ID", *(f"P{i}{axis}" for i in range(1, 6) for axis in "XY")])
    (tmp_path / "loose_landmark_train.csv").write_text(f'{header}\n"n000002/0002_01",1,2,3,4,5,6.5,7,8,9,10\n')
    first, second = open_source(str(tmp_path)).candidates()
    assert first.points is None and second.box is None
    assert second.points is not None and second.points.tolist() == [1, 2, 3, 4, 5, 6.5, 7, 8, 9, 10]


@pytest.mark.parametrize("numbers", ["1,2,0,4", "1,2,3,-4", "nan,2,3,4", "1,inf,3,4"])
def test_a_box_without_an_area_is_its_images_fault_alone(tmp_path: Path, numbers: str) -> None:
    plant(tmp_path / "faces", "1.jpg", "2.jpg")
    table = tmp_path / "own.csv"
    table.write_text(f"NAME_ID,X,Y,W,H\n1,{numbers}\n2,1,2,5,6\n")
    first, second = open_source(str(tmp_path / "faces"), table).candidates()
    assert first.box is None and first.fault and first.fault.startswith("its box (")
    assert second == Candidate("2.jpg", "2.jpg", box=Box(1, 2, 5, 6))


def test_several_boxes_of_a_photograph_are_several_faces(tmp_path: Path) -> None:
    plant(tmp_path / "photos", "a/1.jpg", "2.jpg")
    table = tmp_path / "own.csv"
    table.write_text("NAME_ID,X,Y,W,H\na/1,1,2,5,6\n2,5,5,5,5\na/1,6,7,8,9\n")
    faces = list(open_source(f"flickr:{tmp_path / 'photos'}", table).candidates())
    assert faces == [
        Candidate("2.jpg", "2.jpg", box=Box(5, 5, 5, 5)),
        Candidate("a/1.jpg", "a/1.jpg", box=Box(1, 2, 5, 6)),
        Candidate("a/1#2.jpg", "a/1.jpg", box=Box(6, 7, 8, 9)),
    ]


def test_boxes_of_an_own_table(tmp_path: Path) -> None:
    plant(tmp_path / "faces", "part/1.jpg", "2.png")
    table = tmp_path / "own.csv"
    table.write_text("NAME_ID,X,Y,W,H\npart/1,1,2,5,6\n")
    boxes = {c.name: c.box for c in open_source(f"flickr:{tmp_path / 'faces'}", table).candidates()}
    assert boxes == {"part/1.jpg": Box(1, 2, 5, 6), "2.png": None}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "columns"),
        ("NAME,X,Y\n", "columns"),
        ("NAME_ID,X,Y,W,H\na/1,1,2,3\n", "line 2"),
        ("NAME_ID,X,Y,W,H\na/1,1,2,3,4\na/2,1,2,x,4\n", "line 3"),
        ("NAME_ID,X,Y,W,H\n,,,,,,\n", "line 2"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, content: str, cause: str) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(content)
    with pytest.raises(SourceError, match=cause) as caught:
        list(open_source(f"folder:{tmp_path}", table).candidates())
    assert str(table) in str(caught.value)


def test_reading_gives_the_bytes_even_after_pickling(tmp_path: Path) -> None:
    plant(tmp_path, "train/n1/a.jpg")
    source = pickle.loads(pickle.dumps(open_source(f"vggface2:{tmp_path}")))
    (candidate,) = source.candidates()
    assert source.store.read(pickle.loads(pickle.dumps(candidate)).place) == b"train/n1/a.jpg"


def test_sources_get_names_of_their_own(tmp_path: Path) -> None:
    for place in ("one/faces", "two/faces", "other"):
        plant(tmp_path / place, "x.jpg")
    sources = open_sources([str(tmp_path / "one/faces"), str(tmp_path / "other")])
    assert list(sources) == ["faces", "other"]
    sources = open_sources([str(tmp_path / "one/faces"), str(tmp_path / "two/faces")])
    assert list(sources) == ["one/faces", "two/faces"]


def test_what_is_not_there_cannot_be_listed_or_turns_in_circles_is_refused(tmp_path: Path) -> None:
    folder = plant(tmp_path / "faces", "x.jpg")
    with pytest.raises(SourceError, match="is not there"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="vggface2, lfw, flickr"):
        open_source(f"hdf6:{folder}")
    with pytest.raises(SourceError, match="is no tar"):
        open_source(str(folder / "x.jpg"))
    with pytest.raises(SourceError, match="twice"):
        open_sources([str(folder), f"folder:{folder}"])
    (folder / "round").symlink_to(folder)
    with pytest.raises(SourceError, match="leads back"):
        names(open_source(f"folder:{folder}"))


def test_links_are_followed_and_dead_ones_stay_to_be_noticed(tmp_path: Path) -> None:
    plant(tmp_path / "elsewhere", "x.jpg")
    folder = plant(tmp_path / "faces", "a.jpg")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "dead.jpg").symlink_to(tmp_path / "gone.jpg")
    assert names(open_source(str(folder))) == ["a.jpg", "dead.jpg", "linked/x.jpg"]
    with pytest.raises(Reject, match="No such file"):
        Directory(str(folder)).read("dead.jpg")


@pytest.mark.parametrize("kind", ["folder", "vggface2", "lfw", "flickr"])
def test_a_link_to_itself_is_the_fault_of_its_image_alone(tmp_path: Path, kind: str) -> None:
    folder = plant(tmp_path / "faces", "p1/a.jpg")
    for path in ("p1/b.jpg", "c.jpg", "p1/round"):
        (folder / path).symlink_to(Path(path).name)
    source = open_source(f"{kind}:{folder}")
    assert sorted(names(source)) == ["c.jpg", "p1/a.jpg", "p1/b.jpg"]
    assert total([source.store]).counts() == {"cannot be read": 1}
    with pytest.raises(Reject, match="Too many levels of symbolic links"):
        Directory(str(folder)).read("c.jpg")
    assert open_source(str(folder)).store.location == str(folder)  # guessing the kind, too


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("a" * 300 + ".jpg", "File name too long"),
        ("a.jpg/b.jpg", "Not a directory"),
        ("a\0.jpg", "embedded null byte"),
        ("\ud83d.jpg", "surrogates not allowed"),
        ("socket", "No such device or address"),
        (".", "Is a directory"),
    ],
)
def test_what_cannot_be_opened_by_its_name_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cause: str
) -> None:
    plant(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    with pytest.raises(Reject, match=f"cannot be read: .*{cause}"):
        read_file(name)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (
            "list.jsonl",
            '{"path": "a.jpg"}\n{"path": "b\\u0000.jpg"}\n{"path": "\\ud83d.jpg"}\n',
            ["(line 2)", "(line 3)", "a.jpg"],
        ),
        ("list.csv", "path\na.jpg\nb\0.jpg\n", ["(line 2)", "a.jpg"]),
    ],
)
def test_a_path_that_no_file_can_have_is_the_fault_of_its_line(
    tmp_path: Path, name: str, content: str, named: list[str]
) -> None:
    """Its name is none that can be sorted, written or shown, either."""
    (tmp_path / name).write_text(content)
    items = choose({"": open_source(str(tmp_path / name))}, WriteConfig(sources=("x",), out=tmp_path / "x.beton"))
    assert sorted(item.name for item in items) == named
    assert [bool(item.candidate.fault) for item in items] == [item.name != "a.jpg" for item in items]


def test_half_of_a_character_is_nobodys_name(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"path": "a.jpg", "identity": "\\ud83d"}\n')
    (candidate,) = open_source(str(tmp_path / "list.jsonl")).candidates()
    assert candidate.fault == "its identity is neither a name nor a number: '\\ud83d'"


def test_real_faces_are_recognised(real_faces: Path) -> None:
    sources = open_sources([str(real_faces / "lfw_color150"), str(real_faces / "ytf_frames192")])
    counts = {
        name: (sum(1 for _ in source.candidates()), len({c.identity for c in source.candidates()}))
        for name, source in sources.items()
    }
    assert counts == {"lfw_color150": (3811, 2086), "ytf_frames192": (2198, 180)}
    assert {c.identity for c in open_source(str(real_faces / "utkface200")).candidates()} == {None}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"


@pytest.mark.parametrize(
    ("name", "content", "cause", "remedy"),
    [
        ("faces.tar", POINTER, "is no tar: it is a Git LFS pointer", "git lfs pull"),
        ("faces.tar.gz", b"<!DOCTYPE html><html></html>", "is no tar: it is a web page", "Download it again"),
        ("faces.zip", b"PK\x05\x06" + bytes(18), "is no tar: it is a zip archive", "unzip FILE"),
        (
            "faces.tar.zst",
            b"\x28\xb5\x2f\xfd" + bytes(40),
            "is no tar: it is a file compressed with Zstandard",
            "zstd -dc",
        ),
        ("faces.tar.gz", b"\x1f\x8b" + bytes(40), "cannot be decompressed", "fetch it again"),
        ("faces.h5", POINTER, "is no HDF5 file: it is a Git LFS pointer", "git lfs pull"),
        ("faces.csv", POINTER, "is no list: it is a Git LFS pointer", "git lfs pull"),
    ],
)
def test_what_came_in_place_of_a_source_is_named(
    tmp_path: Path, name: str, content: bytes, cause: str, remedy: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        list(open_source(str(tmp_path / name)).candidates())
    assert f"{name}: {cause}" in str(caught.value) and remedy in str(caught.value)
