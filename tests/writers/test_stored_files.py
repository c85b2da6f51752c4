"""HDF5 and other ``.beton`` files in an object store: read by ranges where they are, of one version, or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest
from object_store import Proxy, Trouble, faulty_s3
from pictures import encode
from PIL import Image

from frl import store
from frl.beton import Beton, BetonWriter
from frl.beton.layout import metadata_start, record_dtype
from frl.beton.manifest import Manifest
from frl.beton.targets import Kind, TargetSpec
from frl.cli import main
from frl.errors import BetonError, ConfigError, SourceError, StoreChanged, StoreError
from writers.config import WriteConfig
from writers.reject import Reject
from writers.sources import open_source
from writers.to_beton import write

COUNT = 24
SPECS = (
    TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2)),
    TargetSpec(name="age", kind=Kind.VECTOR),
    TargetSpec(name="seen", kind=Kind.VISIBILITY, shape=(5,)),
    TargetSpec(name="mood", kind=Kind.CLASS, names=("sad", "glad")),
)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with faulty_s3(monkeypatch) as proxy:
        yield proxy


def pictures(seed: int = 0, count: int = COUNT) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [encode(Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))) for _ in range(count)]


def draw_hdf5(path: Path, seed: int = 0, **layout: object) -> Path:
    """Rows of encoded images, and who is on them."""
    images = pictures(seed)
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("images", (COUNT,), h5py.vlen_dtype(np.uint8), **layout)
        for row, data in enumerate(images):
            rows[row] = np.frombuffer(data, np.uint8)
        file["foldernames"] = np.array([f"person {row % 5}" for row in range(COUNT)], object)
    return path


def draw_beton(path: Path, seed: int = 0) -> Path:
    """Images of five people, with targets of every kind of which some are unknown."""
    rng = np.random.default_rng(seed)
    with BetonWriter(path, capacity=COUNT, labels=[f"person {i}" for i in range(5)], targets=SPECS) as writer:
        for index, data in enumerate(pictures(seed)):
            known = {
                "landmarks": rng.uniform(0, 48, (5, 2)),
                "age": index / 3,
                "mood": index % 2,
                "seen": [1, 0, 1, 1, -1],
            }
            for name in list(known)[index % 5 : index % 5 + 1]:
                del known[name]
            writer.append(data, 48, 48, index % 6 - 1, f"photos/{index}.jpg", known)
    return path


DRAW: dict[str, Callable[..., Path]] = {"faces.h5": draw_hdf5, "faces.beton": draw_beton}


def put(folder: Path, where: str = "s3://faces/set") -> None:
    system = fsspec.filesystem(where.partition("://")[0])
    for path in sorted(folder.iterdir()):
        system.pipe_file(f"{where}/{path.name}", path.read_bytes())


def options(source: str | Path, out: Path, **others: object) -> WriteConfig:
    return WriteConfig(**{"sources": (str(source),), "out": out, "workers": 2, "size": 32} | others)  # type: ignore[arg-type]


def content(path: Path) -> str:
    manifest = Manifest.load(path)
    assert manifest is not None and manifest.content_sha256
    return manifest.content_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.mark.parametrize(
    "others",
    [{}, {"size": 64}, {"limit": 9, "seed": 3}, {"identities": 2, "per_identity": 3}, {"shard": "1/2"}],
    ids=str,
)
@pytest.mark.parametrize("name", DRAW)
def test_it_is_written_as_from_a_disk_bit_for_bit(
    s3: Proxy, folder: Path, tmp_path: Path, name: str, others: dict[str, object]
) -> None:
    """Names, labels, targets and images, with every third request failing: nothing is lost, nothing is doubled."""
    DRAW[name](folder / name)
    put(folder)
    here = write(options(folder / name, tmp_path / "here.beton", **others))
    s3.trouble = Trouble(every=3)
    there = write(options(f"s3://faces/set/{name}", tmp_path / "there.beton", **others))
    assert set(s3.failed) == {"drop", "busy", "cut"}
    assert (tmp_path / "there.beton").read_bytes() == (tmp_path / "here.beton").read_bytes()
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")
    assert (there.written, there.identities, there.rejects) == (here.written, here.identities, here.rejects)
    if not others:
        assert there.written == COUNT and there.identities == 5
        with Beton(tmp_path / "there.beton") as beton:
            assert beton.targets == (SPECS if name.endswith(".beton") else ())


@pytest.mark.parametrize("name", DRAW)
def test_beside_other_sources_names_and_people_are_those_of_a_disk(
    s3: Proxy, folder: Path, tmp_path: Path, name: str
) -> None:
    for other in DRAW:
        DRAW[other](folder / other, seed=len(other))
    put(folder)
    local = (str(folder / "faces.h5"), str(folder / "faces.beton"))
    write(options("", tmp_path / "here.beton", sources=local))
    mixed = tuple(f"s3://faces/set/{name}" if path.endswith(name) else path for path in local)
    write(options("", tmp_path / "there.beton", sources=mixed))
    assert (tmp_path / "there.beton").read_bytes() == (tmp_path / "here.beton").read_bytes()


@pytest.mark.parametrize("layout", [{"chunks": (3,)}, {"chunks": (4,), "compression": "gzip"}], ids=str)
def test_hdf5_in_chunks_is_read_by_ranges_too(
    s3: Proxy, folder: Path, tmp_path: Path, layout: dict[str, object]
) -> None:
    draw_hdf5(folder / "faces.h5", **layout)
    put(folder)
    write(options(folder / "faces.h5", tmp_path / "here.beton"))
    write(options("s3://faces/set/faces.h5", tmp_path / "there.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")


def test_a_beton_of_stock_ffcv_with_raw_pixels_and_without_a_manifest(s3: Proxy, folder: Path, tmp_path: Path) -> None:
    path, rng = folder / "faces.beton", np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (40, 36, 3), dtype=np.uint8) for _ in range(4)]
    with BetonWriter(path, capacity=5) as writer:
        for index, image in enumerate(pixels):
            writer.append(image.tobytes(), 40, 36, index % 2, f"{index}")
        writer.append(encode(Image.fromarray(pixels[0])), 40, 36, 7, "jpeg")
    with Beton(path) as beton:
        dtype, begin = record_dtype(beton.fields), metadata_start(len(beton.fields))
    data = bytearray(path.read_bytes())
    np.frombuffer(data, dtype, 5, begin)["f0"]["mode"][:4] = 1
    path.write_bytes(data)
    for sidecar in folder.glob("faces.beton.*"):
        sidecar.unlink()
    put(folder)
    here = open_source(str(path))
    there = open_source("beton:s3://faces/set/faces.beton")
    found = [[(c.name, c.identity, s.store.read(c.place)) for c in s.candidates()] for s in (here, there)]  # type: ignore[union-attr]
    assert found[0] == found[1] and found[0][0][2].startswith(b"BM")
    assert write(options(path, tmp_path / "here.beton")).written == 5
    write(options("s3://faces/set/faces.beton", tmp_path / "there.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")


def test_a_beton_is_not_copied_its_tables_are_read_once_and_a_sample_by_one_request(
    s3: Proxy, folder: Path, tmp_path: Path
) -> None:
    path = draw_beton(folder / "faces.beton")
    put(folder)
    write(options("s3://faces/set/faces.beton", tmp_path / "there.beton"))
    asked = [request for request in s3.requests if request.startswith("GET /faces/set/faces.beton ")]
    ranges = [tuple(map(int, re.findall(r"bytes=(\d+)-(\d+)", request)[0])) for request in asked]
    with Beton(path) as beton:
        behind = sum(spec.nbytes for spec in SPECS if spec.shape)
        stops = beton.pointers + beton.nbytes + behind
        samples = {(int(start), int(stop) - 1) for start, stop in zip(beton.pointers, stops, strict=True)}
    of_samples = [found for found in ranges if found in samples]
    assert sorted(of_samples) == sorted(samples), "one request each, image and targets together"
    tables = [found for found in ranges if found not in samples]
    assert len(tables) == 2 and tables[0][0] == 0 and tables[1][1] == path.stat().st_size - 1
    heads = sum(request.split()[:2] == ["HEAD", "/faces/set/faces.beton"] for request in s3.requests)
    assert heads == 3, "what it is, by which version, and whether it still is that one"


def test_of_hdf5_blocks_are_read_and_kept(s3: Proxy, folder: Path, tmp_path: Path) -> None:
    path = folder / "faces.h5"
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("images", (8,), h5py.vlen_dtype(np.uint8))
        for row in range(8):
            rows[row] = np.random.default_rng(row).integers(0, 256, 1 << 20, dtype=np.uint8)
    put(folder)
    source = open_source("s3://faces/set/faces.h5")
    place = [candidate.place for candidate in source.candidates()][5]
    s3.requests.clear()
    with h5py.File(path) as file:
        assert source.store.read(place) == file["images"][5].tobytes()  # type: ignore[union-attr]
    ranges = [re.findall(r"bytes=(\d+)-(\d+)", request) for request in s3.requests]
    fetched = sum(int(found[0][1]) - int(found[0][0]) + 1 for found in ranges if found)
    assert 1 << 20 <= fetched <= (1 << 20) + (1 << 18), "a row, and no more than the blocks in which it lies"
    s3.requests.clear()
    source.store.read(place)  # type: ignore[union-attr]
    assert not s3.requests


@pytest.mark.parametrize("name", DRAW)
def test_what_lies_in_memory_goes_with_the_workers(folder: Path, tmp_path: Path, name: str) -> None:
    DRAW[name](folder / name)
    put(folder, "memory://set")
    try:
        write(options(f"memory://set/{name}", tmp_path / "there.beton"))
    finally:
        fsspec.filesystem("memory").store.clear()
    write(options(folder / name, tmp_path / "here.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")


@pytest.mark.parametrize("name", DRAW)
def test_threads_may_share_it(folder: Path, name: str) -> None:
    DRAW[name](folder / name)
    put(folder, "memory://set")
    try:
        source = open_source(f"memory://set/{name}")
        places = [candidate.place for candidate in source.candidates()] * 40
        with ThreadPoolExecutor(8) as threads:
            read = list(threads.map(source.store.read, places))  # type: ignore[union-attr]
    finally:
        fsspec.filesystem("memory").store.clear()
    assert read == pictures() * 40


@pytest.mark.parametrize("when", ["listed", "half", "last"])
@pytest.mark.parametrize("name", DRAW)
def test_a_file_that_becomes_another_is_an_error_and_nothing_of_it_is_kept(
    s3: Proxy, folder: Path, tmp_path: Path, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DRAW[name](folder / name)
    put(folder)
    (tmp_path / "new").mkdir()
    other = DRAW[name](tmp_path / "new" / name, seed=1).read_bytes()
    monkeypatch.setattr("frl.beton.writer.COMMIT_SECONDS", 0.0)
    at = {"listed": 1, "half": COUNT // 2, "last": COUNT}[when]

    def progress(done: int, total: int) -> None:
        if done == at:
            fsspec.filesystem("s3").pipe_file(f"faces/set/{name}", other)

    out = tmp_path / "out" / "there.beton"
    out.parent.mkdir()
    with pytest.raises(StoreChanged, match=rf"s3://faces/set/{name}: has changed while it was read") as caught:
        write(options(f"s3://faces/set/{name}", out), progress=progress)
    assert not any("goes on" in note for note in getattr(caught.value, "__notes__", ()))
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("name", DRAW)
def test_work_that_was_begun_on_another_version_begins_anew(
    s3: Proxy, folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two versions of equal names, sizes and tables: a file of half of each would look whole."""
    DRAW[name](folder / name)
    put(folder)
    monkeypatch.setattr("frl.beton.writer.COMMIT_SECONDS", 0.0)

    def fail(done: int, total: int) -> None:
        if done == COUNT // 2:
            raise RuntimeError("ended")

    config = options(f"s3://faces/set/{name}", tmp_path / "there.beton")
    with pytest.raises(RuntimeError, match="ended"):
        write(config, progress=fail)
    again = write(replace(config, out=tmp_path / "there.beton"), progress=lambda done, total: None)
    assert again.begun == COUNT // 2, "of the same version it goes on"
    (tmp_path / "there.beton").unlink()

    with pytest.raises(RuntimeError, match="ended"):
        write(config, progress=fail)
    DRAW[name](folder / name, seed=1) if name.endswith(".h5") else draw_over(folder / name)
    put(folder)
    assert write(config).begun == 0
    write(options(folder / name, tmp_path / "here.beton"))
    assert content(tmp_path / "there.beton") == content(tmp_path / "here.beton")


def draw_over(path: Path) -> None:
    for old in path.parent.iterdir():
        old.unlink()
    draw_beton(path, seed=1)


def test_shards_of_two_versions_are_not_joined(s3: Proxy, folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        draw_hdf5(folder / "faces.h5", seed=number)
        put(folder)
        write(options("s3://faces/set/faces.h5", tmp_path / f"{number}.beton", shard=f"{number}/2"))
    with pytest.raises(ConfigError, match="was written with versions"):
        from frl.beton.merge import merge

        merge([tmp_path / "1.beton", tmp_path / "2.beton"], tmp_path / "both.beton")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "damage", "kind", "cause"),
    [
        ("faces.h5", cut, SourceError, r"cannot be opened as HDF5 .*truncated.*Fetch it again"),
        ("faces.h5", lambda data: b"", SourceError, "cannot be opened as HDF5"),
        (
            "faces.h5",
            lambda data: b"<html>no</html>" * 99,
            SourceError,
            "cannot be opened as HDF5 .*signature not found",
        ),
        ("faces.beton", cut, BetonError, "it is truncated, or its header is damaged"),
        ("faces.beton", lambda data: b"", BetonError, "it is truncated"),
        ("faces.beton", lambda data: data[:100], BetonError, "it is truncated"),
        (
            "faces.beton",
            lambda data: b"\x89HDF\r\n\x1a\n" + bytes(9999),
            BetonError,
            "is no .beton: it is an HDF5 file",
        ),
        ("faces.beton", lambda data: data[:-8] + bytes(8), BetonError, "differ from faces.beton.json"),
    ],
)
def test_what_is_damaged_is_refused_by_its_address(
    s3: Proxy, folder: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes], kind: type, cause: str, capsys
) -> None:
    path = DRAW[name](folder / name)
    path.write_bytes(damage(path.read_bytes()))
    put(folder)
    with pytest.raises(kind, match=cause) as caught:
        write(options(f"s3://faces/set/{name}", tmp_path / "there.beton"))
    assert caught.value.subject == f"s3://faces/set/{name}"
    assert main(["write", f"s3://faces/set/{name}", "--out", str(tmp_path / "there.beton"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert f"s3://faces/set/{name}: " in error and "Traceback" not in error
    assert not list(tmp_path.glob("*.beton*"))


def test_an_image_that_is_damaged_is_rejected_as_on_a_disk(s3: Proxy, folder: Path, tmp_path: Path) -> None:
    path = draw_beton(folder / "faces.beton")
    data = bytearray(path.read_bytes())
    with Beton(path) as beton:
        image, landmarks = int(beton.pointers[3]), int(beton.pointers[8] + beton.nbytes[8])
    data[image : image + 300] = bytes(300)
    data[landmarks] ^= 1
    path.write_bytes(data)
    put(folder)
    here = write(options(path, tmp_path / "here.beton"))
    there = write(options("s3://faces/set/faces.beton", tmp_path / "there.beton"))
    assert here.rejects == there.rejects and here.written == there.written == COUNT - 2
    rejects = [(tmp_path / f"{name}.beton.rejects.tsv").read_text() for name in ("here", "there")]
    assert rejects[0] == rejects[1] and "its targets differ from the checksum" in rejects[0]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda lines: lines[:-1], "does not fit the file"),
        (lambda lines: [*lines[:3], lines[3].replace(b"photos", b"phrtos"), *lines[4:]], "not those of the manifest"),
    ],
)
def test_lines_that_are_not_the_files_are_refused(s3: Proxy, folder: Path, tmp_path: Path, change, cause: str) -> None:
    draw_beton(folder / "faces.beton")
    path = folder / "faces.beton.samples.tsv"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    put(folder)
    with pytest.raises(SourceError, match=f"s3://faces/set/faces.beton.samples.tsv: {cause}|{cause}"):
        write(options("s3://faces/set/faces.beton", tmp_path / "there.beton"))


def test_without_its_lines_a_beton_is_refused(s3: Proxy, folder: Path, tmp_path: Path) -> None:
    draw_beton(folder / "faces.beton")
    (folder / "faces.beton.samples.tsv").unlink()
    put(folder)
    with pytest.raises(StoreError, match=r"s3://faces/set/faces\.beton\.samples\.tsv: is not there"):
        write(options("s3://faces/set/faces.beton", tmp_path / "there.beton"))


@pytest.mark.parametrize("name", DRAW)
def test_what_goes_or_is_locked_while_it_is_read_is_said_of_the_file(
    s3: Proxy, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never of a sample, which would be left out as if it alone were damaged."""
    DRAW[name](folder / name)
    put(folder)
    source = open_source(f"s3://faces/set/{name}")
    places = [candidate.place for candidate in source.candidates()]
    monkeypatch.setattr("frl.stored_file.KEPT", 1)
    fresh = open_source(f"s3://faces/set/{name}").store
    monkeypatch.setattr(store, "WAITS_S", (0.01,))
    s3.trouble = Trouble(every=1, ways=("drop",))
    with pytest.raises(StoreError, match="It was tried 2 times"):
        fresh.read(places[0])  # type: ignore[union-attr]
    s3.trouble = None
    fsspec.filesystem("s3").rm_file(f"faces/set/{name}")
    with pytest.raises(StoreError, match=f"s3://faces/set/{name}: is not there"):
        fresh.read(places[1])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", DRAW)
def test_what_may_not_be_read_is_said_at_once(
    s3: Proxy, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> object:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(store._system("s3://faces"), "info", denied)
    with pytest.raises(StoreError, match=r"may not be looked at \(Forbidden\)\. Check the store's keys and rights"):
        open_source(f"s3://faces/set/{name}")


@pytest.mark.parametrize("damaged", ["images", "foldernames"])
def test_damage_within_hdf5_is_told_as_on_a_disk(s3: Proxy, folder: Path, damaged: str) -> None:
    """A row is left out; without the names nobody would know who is on any."""
    path, images = folder / "faces.h5", pictures()
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("images", (COUNT,), h5py.vlen_dtype(np.uint8))
        for row, data in enumerate(images):
            rows[row] = np.frombuffer(data, np.uint8)
    if damaged == "foldernames":
        with h5py.File(path, "a") as file:
            file["foldernames"] = np.array(["somebody"] * COUNT, object)
    data = bytearray(path.read_bytes())
    heap = data.rindex(b"GCOL", 0, data.index(images[7][:200] if damaged == "images" else b"somebody"))
    data[heap : heap + 4] = b"XXXX"
    path.write_bytes(data)
    put(folder)
    said = []
    for where in (str(path), "s3://faces/set/faces.h5"):
        source = open_source(where)
        with pytest.raises((Reject, SourceError), match="cannot be read.*bad global heap collection") as caught:
            for candidate in source.candidates():
                source.store.read(candidate.place)  # type: ignore[union-attr]
        said.append(str(caught.value).removeprefix(where))
    assert said[0] == said[1] and ("foldernames" in said[0]) == (damaged == "foldernames")


def test_a_program_that_leaves_hdf5_of_a_store_open_ends_well(s3: Proxy, folder: Path) -> None:
    """HDF5 closes at exit what is open, when Python is gone by which it reads."""
    draw_hdf5(folder / "faces.h5")
    put(folder)
    code = (
        "from writers.sources import open_source\n"
        "source = open_source('s3://faces/set/faces.h5')\n"
        "print(len(source.store.read(next(source.candidates()).place)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0 and int(done.stdout) == len(pictures()[0]), done.stderr
