"""Every file is an image that is read, or is counted with the reason why it is none: in folders and in archives."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, picture
from source_layouts import LAYOUTS, Images, pack, plant

from frl.beton import Beton, verify
from frl.beton.manifest import Manifest
from frl.errors import SourceError
from frl.images.names import suffix_of
from writers.sources import open_source
from writers.sources.skipped import total
from writers.to_beton import main

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300)


def jpeg(seed: int) -> bytes:
    return encode(picture(40 + seed, 40 + seed))


IMAGES = {
    "Ann/1.jpg": jpeg(0),
    "Ann/2.jfif": jpeg(1),
    "Ann/3.jpe": jpeg(2),
    "Ann/4": jpeg(3),
    "Ann/5.GIF": encode(picture(50, 50), "GIF"),
    "Bob/6.avif": encode(picture(51, 51), "AVIF"),
    "Bob/7.photo": encode(picture(52, 52), "PNG"),
}
BAD = {
    "Bob/8.heic": HEIC,
    "Bob/9": HEIC[:200],
    "Bob/10.jfif": b"<html>404</html>",
    "Bob/11.avif": b"",
    "Bob/12.nef": encode(picture(60, 60), "TIFF"),
}
SKIPPED = {
    "Ann/notes.txt": b"to be sorted",
    "Ann/scores.csv": b"a,b",
    "Ann/README": b"",
    "Ann/._1.jpg": jpeg(0),
    "__MACOSX/Ann/1.jpg": jpeg(0),
    "Ann/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg": jpeg(0),
    "Bob/.thumbnails/6.jpg": jpeg(0),
    "Bob/Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(100),
    "Bob/.hidden.jpg": jpeg(0),
}


def write(source: str, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main([source, "--out", str(out), "--workers", "1", "--dedupe", "none", *options]) == 0
    return capsys.readouterr().out


Tree = Callable[[Images], Path]


@pytest.fixture(params=["folder", "tar", "tar.gz"])
def tree_of(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """Makes a folder or an archive of files."""
    if request.param == "folder":
        return lambda files: plant(tmp_path / "photos", files)
    return lambda files: pack(tmp_path / f"photos.{request.param}", files)


@pytest.fixture
def tree(tree_of: Tree) -> Path:
    return tree_of(IMAGES | BAD | SKIPPED)


@pytest.mark.parametrize("kind", ["folder", "vggface2", "lfw", "flickr"])
def test_content_decides_and_all_is_accounted_for(
    kind: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faces.beton"
    said = write(f"{kind}:{tree}", out, capsys)
    assert f"read 12 = written {len(IMAGES)} + rejected {len(BAD)}" in said
    assert verify(out, deep=True).ok
    with Beton(out) as beton:
        names = {beton.name(i) for i in range(len(beton))}
    assert all(any(path in name for name in names) for path in IMAGES)
    rejects = dict(line.split("\t") for line in Path(f"{out}.rejects.tsv").read_text().splitlines())
    reasons = {name.rpartition("/")[2]: reason for name, reason in rejects.items()}
    assert "pillow-heif" in reasons["8.heic"] and "pillow-heif" in reasons["9"]
    assert "not an image" in reasons["10.jfif"] and reasons["11.avif"] == "empty file"
    assert "camera raw" in reasons["12.nef"]
    assert re.search(r"skipped, and not among these: .*3 no images \(.*\.txt 1", said)
    for reason in ("twins", "thumbnails", "hidden"):
        assert re.search(rf"\d {reason}", said), reason
    manifest = Manifest.load(out)
    assert manifest is not None
    skipped = {key: count for key, count in manifest.counts.items() if key.startswith("skipped: ")}
    # In a folder, one that is not looked into counts once; in an archive, each of its files does.
    assert sum(skipped.values()) == len(SKIPPED)


@pytest.mark.parametrize("place", ["folder", "tar", "tar.gz", "store"])
@pytest.mark.parametrize("deep", [True, False])
def test_images_beside_the_splits_are_counted_wherever_they_lie(place: str, deep: bool, tmp_path: Path) -> None:
    """Before the first split of an archive and behind it; without splits, there is no beside."""
    split = "" if not deep else "{}/"
    paths = ["extra.jpg", *(split.format(name) + f"{name}-1/a.jpg" for name in ("train", "val", "test")), "more/b.jpg"]
    files = dict.fromkeys(paths, jpeg(1)) | {"more/notes.txt": b""}
    if place == "store":
        fsspec.filesystem("memory").put(f"{plant(tmp_path / 'photos', files)}/", "/photos", recursive=True)
        source = "vggface2:memory://photos"
    else:
        folder = plant(tmp_path / "photos", files)
        source = f"vggface2:{folder if place == 'folder' else pack(tmp_path / f'photos.{place}', files)}"
    try:
        people = {c.name: c.identity for c in open_source(source).candidates()}
        skipped = skipped_of(source)
    finally:
        fsspec.filesystem("memory").store.clear()
    outside = {} if deep else {"extra.jpg": None, "more/b.jpg": "more"}
    assert people == {path: path.split("/")[-2] for path in paths[1:-1]} | outside
    assert skipped.get("outside of train/, val/ and test/", 0) == (2 if deep else 0)


def test_a_folder_beside_the_splits_that_cannot_be_listed_is_counted(tmp_path: Path) -> None:
    table = b"NAME_ID,X,Y,W,H\np1/a,1,2,30,30\n"
    folder = plant(tmp_path / "photos", {"train/p1/a.jpg": jpeg(1), "loose_bb_train.csv": table})
    (folder / "other").mkdir()
    (folder / "other" / "round").symlink_to(folder / "other")
    assert skipped_of(f"vggface2:{folder}") == {"cannot be read": 1}


def test_shards_of_a_webdataset_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"1.jfif": jpeg(1), "1.cls": b"Ann", "2.heic": HEIC, "2.cls": b"Bob", "3.txt": b"words", "4": jpeg(4)}
    pack(tmp_path / "s-0.tar", members)
    said = write(f"webdataset:{tmp_path}", tmp_path / "out.beton", capsys)
    assert "read 3 = written 2 + rejected 1" in said and "1 no images (.txt 1)" in said
    assert "Ann" in (tmp_path / "out.beton.json").read_text()


@pytest.mark.parametrize("place", ["folder", "store"])
def test_shards_of_every_usual_name_are_read_and_what_lies_beside_them_is_counted(place: str, tmp_path: Path) -> None:
    folder = plant(tmp_path / "wds", {"a.tar.idx": b"0 1", "sub/deep/notes.txt": b""})
    names = ["a.tar", "b.tgz", "c.tar.gz", "d.TAR"]
    for number, name in enumerate([*names, "sub/deep/e.tar"]):
        pack(tmp_path / "wds" / name, {f"{number}.jpg": jpeg(number)})
    where = f"webdataset:{folder}"
    if place == "store":
        fsspec.filesystem("memory").put(f"{folder}/", "/wds", recursive=True)
        where = "webdataset:memory://wds"
    try:
        listed = {candidate.name.split("/")[0] for candidate in open_source(where).candidates()}
        skipped = skipped_of(where)
    finally:
        fsspec.filesystem("memory").store.clear()
    assert listed == set(names)
    assert skipped == {"no images (.idx 1)": 1} | ({"tars in folders below": 1} if place == "folder" else {})


def test_a_tar_of_a_compression_that_is_not_read_is_refused_and_not_passed_by(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {"1.jpg": jpeg(1)})
    (tmp_path / "b.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    with pytest.raises(SourceError, match="b.tar.zst"):
        list(open_source(f"webdataset:{tmp_path}").candidates())


def skipped_of(location: str) -> dict[str, int]:
    """What the source has counted once it is listed."""
    source = open_source(location)
    list(source.candidates())
    return total([source.store]).counts()


ANNOTATED = {
    "Ann/1.jpg": jpeg(0),
    "Ann/1.faces.json": b'[{"box": [2, 3, 20, 20]}]',
    "Ann/2": jpeg(1),
    "Ann/2.faces.json": b'[{"box": [2, 3, 21, 21]}]',
    "Ann/3.faces.json": b"[]",
    "Ann/._1.faces.json": b"\0",
    "Ann/notes.json": b"{}",
}


@pytest.mark.parametrize("kind", ["folder", "flickr", "vggface2", "lfw"])
def test_annotations_are_skipped_only_where_they_are_not_read(kind: str, tree_of: Tree) -> None:
    """Those of no image, too: the account of how they met the images tells of them."""
    tree = tree_of(ANNOTATED)
    read = kind in ("folder", "flickr") or (kind == "vggface2" and tree.is_dir())
    notes = 1 if read else 4
    twins = "twins and remains of macOS (._*, __MACOSX, .DS_Store)"
    assert skipped_of(f"{kind}:{tree}") == {f"no images (.json {notes})": notes, twins: 1}


def test_annotations_are_skipped_where_a_table_takes_their_place(tmp_path: Path) -> None:
    folder = plant(tmp_path / "photos", ANNOTATED)
    (tmp_path / "boxes.csv").write_text("NAME_ID,X,Y,W,H\nAnn/1,1,2,30,30\n")
    source = open_source(f"flickr:{folder}", tmp_path / "boxes.csv")
    assert [candidate.box for candidate in source.candidates()] == [(1, 2, 30, 30), None]
    assert total([source.store]).counts()["no images (.json 4)"] == 4


def test_an_image_without_a_suffix_has_its_annotations_and_its_label(tree_of: Tree, tmp_path: Path) -> None:
    boxes = {c.name: c.box for c in open_source(f"flickr:{tree_of(ANNOTATED)}").candidates()}
    assert boxes == {"Ann/1.jpg": (2, 3, 20, 20), "Ann/2": (2, 3, 21, 21)}
    pack(tmp_path / "s.tar", {"1": jpeg(1), "1.cls": b"Ann", "2.photo": jpeg(2), "2.json": b'{"identity": "Bob"}'})
    people = {c.name: c.identity for c in open_source(f"webdataset:{tmp_path / 's.tar'}").candidates()}
    assert people == {"1": "Ann", "2.photo": "Bob"}


@pytest.mark.parametrize(
    ("images", "whose"),
    [
        (("1.nef", "1.png"), {"1.png"}),
        (("1.jfif", "1.png"), {"1.jfif"}),
        (("1", "1.jpg"), {"1.jpg"}),
        (("1", "1.png"), set()),
        (("1.nef", "1.png", "1.webp"), set()),
    ],
)
def test_whose_annotations_are_of_several_namesakes(images: tuple[str, ...], whose: set[str], tree_of: Tree) -> None:
    """A raw image cannot be used, so they are its developed namesake's; several others reject all of them."""
    tree = tree_of(dict.fromkeys(images, jpeg(1)) | {"1.faces.json": b'[{"box": [2, 3, 20, 20]}]'})
    found = {c.name: c for c in open_source(f"flickr:{tree}").candidates()}
    assert {name for name, candidate in found.items() if candidate.box} == whose
    for name, candidate in found.items():
        if name.endswith(".nef"):
            assert candidate.fault and "camera raw" in candidate.fault
        elif not whose:
            assert candidate.fault and "may be a namesake's" in candidate.fault


def test_labels_of_shards_are_read_and_other_notes_counted(tmp_path: Path) -> None:
    notes = {"1.txt": b"words", "1.npy": b"\x93NUMPY", "__MACOSX/._1.json": b"\0", ".2.cls": b"Eve"}
    pack(tmp_path / "s.tar", {"1.jpg": jpeg(1), "1.cls": b"Ann", "1.json": b'{"caption": "a face"}', **notes})
    found = skipped_of(f"webdataset:{tmp_path / 's.tar'}")
    assert sum(found.values()) == len(notes) and found["no images (.txt 1, .npy 1)"] == 2


def test_what_was_skipped_beside_drawn_faces_is_counted(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    folder = LAYOUTS["synthetic"].build(tmp_path / "drawn", {"Ann/1.jpg": jpeg(1)})
    plant(Path(folder), {"train/Ann/notes.txt": b"", "train/Ann/1.faces.json": b"[]"})
    assert skipped_of(folder) == {"no images (.txt 1)": 1}


def test_names_of_what_was_skipped_reach_the_terminal_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant(tmp_path / "photos", {"1.jpg": jpeg(1), "a.\x1b[31mred": b""})
    said = write(f"folder:{folder}", tmp_path / "x.beton", capsys)
    assert "\x1b" not in said and r"1 no images (.\x1b[31mred 1)" in said


def test_only_the_first_shard_counts_what_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the sum over all shards, which frl merge keeps, is right."""
    folder = plant(tmp_path / "photos", {f"{i}.jpg": jpeg(i) for i in range(4)} | {"a.txt": b"", "b.txt": b""})
    counts = []
    for number in (1, 2):
        write(f"folder:{folder}", tmp_path / f"{number}.beton", capsys, "--shard", f"{number}/2")
        manifest = Manifest.load(tmp_path / f"{number}.beton")
        assert manifest is not None
        counts.append(sum(count for key, count in manifest.counts.items() if key.startswith("skipped")))
    assert counts == [2, 0]


def test_nothing_but_other_files_says_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "papers", {"a.pdf": b"%PDF-1.7", "b.pdf": b"%PDF-1.7", ".c.jpg": b""})
    assert main([f"folder:{folder}", "--out", str(tmp_path / "x.beton")]) == 1
    said = capsys.readouterr().err
    assert "no image found" in said and "2 no images (.pdf 2)" in said and "1 hidden" in said


@pytest.mark.parametrize("name", ["pipe", "pipe.jpg"])
def test_a_pipe_among_the_files_keeps_nobody_waiting(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant(tmp_path / "photos", {"1.jpg": jpeg(1)})
    os.mkfifo(folder / name)
    said = write(f"folder:{folder}", tmp_path / "x.beton", capsys)
    expected = "rejected 1" if name.endswith(".jpg") else "1 no regular files"
    assert expected in said


def test_a_camera_raw_in_a_list_is_not_its_preview(tmp_path: Path) -> None:
    plant(tmp_path, {"1.CR2": encode(picture(60, 60), "TIFF"), "list.csv": b"path\n1.CR2\n"})
    (candidate,) = open_source(str(tmp_path / "list.csv")).candidates()
    assert "camera raw" in (candidate.fault or "")


@given(path=st.text("ab./\u00e9G", max_size=12))
def test_a_suffix_is_what_python_calls_so(path: str) -> None:
    assert suffix_of(path) == os.path.splitext(path)[1].lower()
