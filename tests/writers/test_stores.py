"""Faces in an object store: read where they are, uploaded when finished, through a network that fails."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from object_store import Proxy, Trouble, faulty_s3
from pictures import encode
from PIL import Image
from source_layouts import LAYOUTS

from frl import store
from frl.beton import Beton
from frl.beton.manifest import Manifest
from frl.beton.verifier import verify
from frl.cli import main
from frl.errors import SourceError, StoreError, WriteError
from writers import to_beton
from writers.config import WriteConfig
from writers.sources import open_source, open_sources
from writers.to_beton import write

PEOPLE, EACH = 3, 8


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with faulty_s3(monkeypatch) as proxy:
        yield proxy


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Folders of people, boxes beside them, a note, a broken image and an image without a suffix."""
    rng = np.random.default_rng(0)
    root = tmp_path / "local" / "crops"
    rows = ["NAME_ID,X,Y,W,H"]
    for person in range(PEOPLE):
        (root / f"n{person:06}").mkdir(parents=True)
        for index in range(EACH):
            image = Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
            (root / f"n{person:06}" / f"{index:04}_01{'.jpg' if index else ''}").write_bytes(encode(image))
            rows.append(f"n{person:06}/{index:04}_01,4,4,40,40")
    (root / "n000000" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (root / "n000000" / "readme.txt").write_text("a note")
    (root / "loose_bb_train.csv").write_text("\n".join(rows) + "\n")
    return root


def put(folder: Path, where: str) -> None:
    system = fsspec.filesystem(where.partition("://")[0])
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{where}/{path.relative_to(folder)}", path.read_bytes())


def options(source: str | Path, out: object) -> WriteConfig:
    return WriteConfig(sources=(str(source),), out=Path(str(out)), workers=2, size=32)


def content(path: Path) -> str:
    manifest = Manifest.load(path)
    assert manifest is not None and manifest.content_sha256
    return manifest.content_sha256


def test_a_bucket_is_written_as_its_folder_is(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    """Every image, box, reject and skipped file; with nothing copied first, and every third request failing."""
    put(faces, "s3://faces/set/crops")
    here = write(options(faces, tmp_path / "here.beton"))
    s3.trouble = Trouble(every=3)
    there = write(options("s3://faces/set/crops", tmp_path / "there.beton"))
    assert set(s3.failed) == {"drop", "busy", "cut"}
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")
    assert (there.written, there.rejects, there.boxes) == (here.written, here.rejects, here.boxes)
    assert there.written == PEOPLE * EACH and there.boxes == PEOPLE * EACH
    assert here.skipped == there.skipped and ".txt 1" in there.skipped


@pytest.mark.parametrize("kind", ["synthetic", "lfw", "hdf5", "csv", "json lines", "beton"])
def test_every_source_is_written_from_a_store_as_from_a_disk(s3: Proxy, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    noise = (Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)) for _ in range(12))
    images = {f"P{i % 3}/P{i % 3}_{i:04}.jpg": encode(image) for i, image in enumerate(noise)}
    (tmp_path / "set").mkdir()
    source = LAYOUTS[kind].build(tmp_path / "set", images)
    put(tmp_path / "set", "s3://faces/set")
    here = write(options(source, tmp_path / "here.beton"))
    s3.trouble = Trouble(every=4)
    there = write(options(source.replace(f"{tmp_path}/set", "s3://faces/set"), tmp_path / "there.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton") and s3.failed
    assert here.written == there.written == len(images) and (here.rejects, here.boxes) == (there.rejects, there.boxes)
    assert here.skipped == there.skipped or kind == "synthetic"
    joined = [[(join.rows, join.used, join.images, join.without) for join in done.joins] for done in (here, there)]
    assert joined[0] == joined[1]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tars_of_a_bucket_are_written_as_those_of_a_disk(s3: Proxy, faces: Path, tmp_path: Path, suffix: str) -> None:
    for number in range(2):
        with tarfile.open(faces.parent / f"s-{number:02}{suffix}", f"w:{'gz' if suffix.endswith('gz') else ''}") as tar:
            for path in sorted((faces / f"n{number:06}").glob("0*.jpg")):
                tar.add(path, f"{number}{path.stem.replace('_', '')}.jpg")
                label = tarfile.TarInfo(f"{number}{path.stem.replace('_', '')}.cls")
                label.size = 1
                tar.addfile(label, io.BytesIO(b"%d" % number))
        store_file = fsspec.filesystem("s3")
        store_file.put_file(str(faces.parent / f"s-{number:02}{suffix}"), f"s3://faces/local/s-{number:02}{suffix}")
    here = write(options(f"webdataset:{faces.parent}/s-{{00..01}}{suffix}", tmp_path / "here.beton"))
    s3.trouble = Trouble(every=4)
    there = write(options(f"webdataset:s3://faces/local/s-{{00..01}}{suffix}", tmp_path / "there.beton"))
    assert there.written == here.written == 2 * (EACH - 1) and there.identities == 2
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton") and s3.failed
    with pytest.raises(SourceError, match=r"s-02\.tar.*is not there"):
        open_source(f"s3://faces/local/s-{{00..02}}{suffix}")


def test_lists_and_annotations_beside_images_are_read_from_stores(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    names = [f"n000001/{index:04}_01.jpg" for index in range(1, EACH)]
    (faces / "faces.csv").write_text("path,identity\n" + "".join(f"{name},ann\n" for name in names))
    (faces / "n000001" / "0001_01.faces.json").write_text('[{"identity": "bob", "box": [2, 2, 30, 30]}]')
    put(faces, "s3://faces/crops")
    for kind, name in (("", "/faces.csv"), ("folder:", "")):
        assert write(options(f"{kind}{faces}{name}", tmp_path / "here.beton")).identities == 1
        write(options(f"{kind}s3://faces/crops{name}", tmp_path / "there.beton"))
        assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")
        for path in tmp_path.glob("*.beton*"):
            path.unlink()


def test_an_image_that_a_list_names_is_asked_for_once(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    names = [f"n000001/{index:04}_01.jpg" for index in range(1, EACH)]
    (faces / "faces.csv").write_text("path\n" + "".join(f"{name}\n" for name in names))
    put(faces, "s3://faces/crops")
    s3.requests.clear()
    write(options("s3://faces/crops/faces.csv", tmp_path / "there.beton"))
    asked = [request.split()[0] for request in s3.requests if ".jpg" in request]
    assert asked == ["GET"] * len(names)


def test_what_describes_a_list_and_who_is_on_it_is_read_from_stores(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    names = [f"n000001/{index:04}_01.jpg" for index in range(1, EACH)]
    (faces / "faces.csv").write_text(
        "path,person,mood\n" + "".join(f"{name},ann,{i % 2}\n" for i, name in enumerate(names))
    )
    (faces / "faces.targets.json").write_text(
        '[{"name": "mood", "kind": "class", "shape": [], "names": ["sad", "glad"]}]'
    )
    put(faces, "s3://faces/crops")
    for where, out in ((faces, "here"), ("s3://faces/crops", "there")):
        config = options(f"{where}/faces.csv", tmp_path / f"{out}.beton")
        assert write(replace(config, targets=("identity=person",))).identities == 1
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")
    with Beton(tmp_path / "there.beton") as beton:
        assert beton.targets[0].names == ("sad", "glad")


def test_annotations_among_folders_of_people_are_read_from_stores(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    (faces / "loose_bb_train.csv").unlink()
    (faces / "n000001" / "0001_01.faces.json").write_text('[{"box": [2, 2, 30, 30]}]')
    put(faces, "s3://faces/crops")
    here = write(options(f"vggface2:{faces}", tmp_path / "here.beton"))
    there = write(options("vggface2:s3://faces/crops", tmp_path / "there.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")
    assert here.boxes == there.boxes == 1 and here.skipped == there.skipped


def test_what_lies_in_memory_is_read_by_the_process_that_holds_it(faces: Path, tmp_path: Path) -> None:
    put(faces, "memory://set/crops")
    try:
        write(options("memory://set/crops", tmp_path / "there.beton"))
    finally:
        fsspec.filesystem("memory").store.clear()
    write(options(faces, tmp_path / "here.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")


def test_at_the_end_of_patience_an_error_names_the_image(s3: Proxy, faces: Path, tmp_path: Path, capsys) -> None:
    put(faces, "s3://faces/crops")
    out = tmp_path / "there.beton"
    s3.trouble = Trouble(every=1, ways=("busy", "drop"), methods=())
    begun = {"listed": False}

    def way(method: str) -> str | None:
        """All goes well until the images themselves are read."""
        begun["listed"] |= "0003_01.jpg" in s3.requests[-1]
        return "drop" if begun["listed"] else None

    s3.way = way  # type: ignore[method-assign]
    assert main(["write", "vggface2:s3://faces/crops", "--out", str(out), "--workers", "1", "--size", "32"]) == 1
    error = capsys.readouterr().err
    assert "s3://faces/crops/n00000" in error and "cannot be read" in error and "tried 7 times" in error
    assert not out.exists() and "Traceback" not in error


def test_a_finished_file_is_uploaded_and_seen_whole(s3: Proxy, faces: Path, tmp_path: Path) -> None:
    write(options(faces, tmp_path / "here.beton"))
    s3.trouble = Trouble(every=3, ways=("drop", "busy"))
    config = options(faces, "s3://faces/out/faces.beton")
    summary = write(WriteConfig(**{**vars(config), "scratch": tmp_path / "scratch"}))
    assert s3.failed and "s3://faces/out/faces.beton" in str(summary)
    assert not any((tmp_path / "scratch").iterdir()), "what was made here is gone"
    s3.trouble = None
    names = {found.path for found in store.listing("s3://faces/out")}
    assert names == {f"faces.beton{suffix}" for suffix in ("", ".json", ".samples.tsv", ".rejects.tsv", ".md", ".png")}
    (tmp_path / "back").mkdir()
    for name in names:
        store.download(f"s3://faces/out/{name}", tmp_path / "back" / name)
    verify(tmp_path / "back" / "faces.beton", deep=True)
    assert content(tmp_path / "back" / "faces.beton") == content(tmp_path / "here.beton")
    uploads = [request for request in s3.requests if request.startswith(("PUT", "POST"))]
    assert "faces.beton?" in uploads[-1] + "?" and not uploads[-1].partition("?")[0].endswith((".json", ".md"))

    assert main(["write", str(faces), "--out", "s3://faces/out/faces.beton", "--workers", "1"]) == 1
    before = store.state("s3://faces/out/faces.beton")
    assert store.state("s3://faces/out/faces.beton") == before


def test_what_comes_next_after_an_upload_is_what_takes_an_address(faces: Path, capsys) -> None:
    out = "memory://out/faces.beton"
    try:
        assert main(["write", str(faces), "--out", out, "--workers", "1", "--size", "32"]) == 0
        last = capsys.readouterr().err.splitlines()[-1]
        assert last == f"Next: frl pull {out}; or: frl pretrain --data {out} --stage FOLDER --out runs/faces"
    finally:
        fsspec.filesystem("memory").store.clear()


def test_an_upload_that_fails_leaves_no_file_and_its_command_goes_on(
    s3: Proxy, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WAITS_S", (0.01,))
    config = WriteConfig(**{**vars(options(faces, "s3://faces/faces.beton")), "scratch": tmp_path / "scratch"})
    s3.trouble = Trouble(every=1, ways=("busy",), methods=("PUT", "POST"))
    with pytest.raises(StoreError, match=r"s3://faces/faces\.beton.*cannot be written"):
        write(config)
    s3.trouble = None
    assert not store.is_file("s3://faces/faces.beton") and any((tmp_path / "scratch").rglob("faces.beton"))
    write(config)
    assert store.is_file("s3://faces/faces.beton")


def test_a_finished_file_whose_upload_failed_is_only_uploaded(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same options; by others, and where it is damaged, it is written anew."""
    out, prepared, plain = "memory://out/faces.beton", [], to_beton.prepare_all
    config = replace(options(faces, out), scratch=tmp_path / "scratch", workers=1)

    def prepare_all(items, *arguments):
        prepared.append(len(items))
        return plain(items, *arguments)

    def refuse(*_: object) -> None:
        raise StoreError(out, "cannot be written", "Wait.")

    monkeypatch.setattr(to_beton, "prepare_all", prepare_all)
    try:
        with monkeypatch.context() as failing, pytest.raises(StoreError, match="cannot be written"):
            failing.setattr(store, "upload", refuse)
            first = write(config)
        assert len(prepared) == 1
        for path in (tmp_path / "scratch").rglob("faces.beton.md"):
            path.unlink()  # as after a kill just before it is made
        first = write(replace(config, max_rejects=1))
        said = capsys.readouterr().err
        assert len(prepared) == 1 and "but not uploaded; uploading it. To write it anew, delete" in said
        assert (first.written, first.rejected, first.boxes) == (PEOPLE * EACH, 1, PEOPLE * EACH)
        assert {found.path for found in store.listing("memory://out")} >= {"faces.beton", "faces.beton.md"}
        assert not any((tmp_path / "scratch").iterdir())
        for change in ({"size": 24}, {"max_rejects": 0}, {}):
            with monkeypatch.context() as failing, pytest.raises(StoreError):
                failing.setattr(store, "upload", refuse)
                write(replace(config, overwrite=True))
            count = len(prepared)
            if not change:
                (found,) = (tmp_path / "scratch").rglob("faces.beton.samples.tsv")
                found.write_bytes(found.read_bytes()[:-1])
            if change == {"max_rejects": 0}:
                with pytest.raises(WriteError, match="--max-rejects: 0"):
                    write(replace(config, overwrite=True, max_rejects=0))
            else:
                write(replace(config, overwrite=True, **change))
            assert len(prepared) == count + 1
    finally:
        fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("s3://faces/nothing", "is not there"),
        ("s3://nowhere/nothing", "is not there"),
        ("beton:s3://faces/crops/a.beton", "is not there"),
        ("hdf5:s3://faces/crops/a.h5", "is not there"),
        ("s3://faces/set", "to list one is to read all. Copy train.rec"),
        ("rec:s3://faces/set", "to list one is to read all. Copy train.rec"),
        ("s3://faces/set/train.rec", "to list one is to read all. Copy train.rec"),
        ("wflw:s3://faces/WFLW@train", "benchmarks are read from a disk. Copy its folder"),
        ("nosuch://faces/a", "is no kind of store"),
    ],
)
def test_what_cannot_be_read_is_refused(s3: Proxy, source: str, cause: str) -> None:
    fsspec.filesystem("s3").pipe_file("faces/set/train.rec", b"x")
    with pytest.raises((SourceError, StoreError), match=cause):
        open_sources([source])
