"""Whatever the layout: kills, failing reads, full disks, harmful archives, bad boxes end well or say what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import worker_tasks
from pictures import encode, picture
from processes import kill, left_in_shared_memory
from source_layouts import LAYOUTS, Layout, pack, plant

from frl.beton import verify
from writers import flow
from writers.to_beton import main

COMMAND = [sys.executable, str(Path(__file__).resolve().parents[2] / "writers" / "to_beton.py")]
FACES = {f"P{i % 3}/P{i % 3}_{i:04}.jpg": encode(picture(24 + i % 7, 24 + i % 7), quality=40 + i) for i in range(60)}


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture
def source(tmp_path: Path, layout: Layout) -> str:
    (tmp_path / "in").mkdir()
    return layout.build(tmp_path / "in", FACES)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Where to write; shared memory is as before, at the end."""
    shared_memory = set(os.listdir("/dev/shm"))
    (tmp_path / "out").mkdir()
    yield tmp_path / "out" / "faces.beton"
    assert not left_in_shared_memory(shared_memory)


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (worker_tasks.be_killed, "its worker process was killed by SIGKILL"),
        (worker_tasks.fail_to_read, "OSError: [Errno 5] Input/output error"),
    ],
)
def test_a_killed_worker_or_a_failing_source_ends_the_command(
    source: str,
    layout: Layout,
    out: Path,
    end: Callable[[], None],
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(flow, "Preparation", partial(worker_tasks.Doomed, end=end))
    before = time.monotonic()
    assert main([source, "--out", str(out), "--workers", "2"]) == 1
    assert time.monotonic() - before < 240  # the workers' own patience is five minutes; a busy machine is slow
    error = capsys.readouterr().err
    assert cause in error and any(layout.name(path, number) in error for number, path in enumerate(FACES))
    assert list(out.parent.iterdir()) == []


def test_killed_at_any_moment_the_file_is_whole_or_absent(
    source: str, out: Path, request: pytest.FixtureRequest
) -> None:
    """Twice a source, so that all of them are killed at two dozen moments; then the same command succeeds."""
    command = [*COMMAND, source, "--out", str(out), "--workers", "1", "--overwrite"]
    moments = random.Random(request.node.name)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    for group in (False, True):
        process = subprocess.Popen(command, **quiet)
        started = time.monotonic()
        while process.poll() is None and not list(out.parent.iterdir()) and time.monotonic() - started < 20:
            time.sleep(0.01)  # the interpreter starts, the source is listed
        time.sleep(moments.uniform(0, 0.3))
        kill(process, group=group)
        assert not out.exists() or verify(out, deep=True).ok
    assert main([source, "--out", str(out), "--workers", "1", "--overwrite"]) == 0
    report = verify(out, deep=True)
    assert report.ok and report.samples == len(FACES)
    assert list(out.parent.glob(".*")) == []


def test_a_full_disk_is_named_and_leaves_nothing(source: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Full at one of the images, or where the samples of a stream are put aside."""
    images_start = 8 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (images_start + 5000, hard))
    try:
        assert main([source, "--out", str(out), "--workers", "1"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("kind", ["vggface2", "lfw", "flickr", "folder", "webdataset"])
def test_an_archive_that_means_harm_or_is_cut_writes_nothing_elsewhere(
    tmp_path: Path, out: Path, kind: str, suffix: str
) -> None:
    archive = tmp_path / f"faces{suffix}"
    with tarfile.open(archive, f"w:{suffix[5:]}") as tar:
        link = tarfile.TarInfo("P0/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in {"../outside.jpg": b"x", "/tmp/frl-absolute.jpg": b"x", **FACES}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    os.truncate(archive, archive.stat().st_size * 3 // 4)
    before = set(tmp_path.iterdir())
    assert main([f"{kind}:{archive}", "--out", str(out), "--workers", "1"]) == 0
    rejects = dict(line.split("\t") for line in Path(f"{out}.rejects.tsv").read_text().splitlines())
    named = {name.rpartition(f"faces{suffix}/")[2]: reason for name, reason in rejects.items()}
    assert "links in archives are not followed" in named["P0/link.jpg"]
    assert "leads out of the archive" in named["../outside.jpg"]
    assert "leads out of the archive" in rejects[f"faces{suffix}//tmp/frl-absolute.jpg"]
    assert len(rejects) in (4, 5), "the image at the cut, the archive's end, or both"
    assert set(tmp_path.iterdir()) == before
    assert not Path("/tmp/frl-absolute.jpg").exists() and not (tmp_path.parent / "outside.jpg").exists()


BOXES = {"good": (5, 5, 20, 20), "outside": (100, 0, 10, 10), "flat": (5, 5, 0, 20)}


def with_a_table(kind: str, root: Path) -> list[str]:
    photos = plant(root / "photos", {f"n1/{name}.png": encode(picture(40, 40), "PNG") for name in BOXES})
    rows = [("NAME_ID", "X", "Y", "W", "H"), *((f"n1/{name}", *box) for name, box in BOXES.items())]
    return [f"{kind}:{photos}", "--boxes", str(table(root / "boxes.csv", rows))]


def with_json_beside(root: Path) -> list[str]:
    photos = plant(root / "photos", {f"{name}.png": encode(picture(40, 40), "PNG") for name in BOXES})
    plant(photos, {f"{name}.faces.json": json.dumps([{"box": box}]).encode() for name, box in BOXES.items()})
    return [f"flickr:{photos}"]


def in_shards(root: Path) -> list[str]:
    members = {}
    for name, box in BOXES.items():
        members |= {f"{name}.png": encode(picture(40, 40), "PNG"), f"{name}.json": json.dumps({"box": box}).encode()}
    return [f"webdataset:{pack(root / 'faces.tar', members)}"]


def in_a_list(root: Path) -> list[str]:
    plant(root, {f"{name}.png": encode(picture(40, 40), "PNG") for name in BOXES})
    rows = [("path", "x", "y", "w", "h"), *((f"{name}.png", *box) for name, box in BOXES.items())]
    return [str(table(root / "faces.csv", rows))]


def in_json_lines(root: Path) -> list[str]:
    plant(root, {f"{name}.png": encode(picture(40, 40), "PNG") for name in BOXES})
    lines = (json.dumps({"path": f"{name}.png", "box": box}) for name, box in BOXES.items())
    (root / "faces.jsonl").write_text("\n".join(lines))
    return [str(root / "faces.jsonl")]


def table(path: Path, rows: list[tuple[object, ...]]) -> Path:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


BOXED = {
    "vggface2": partial(with_a_table, "vggface2"),
    "folder": partial(with_a_table, "folder"),
    "flickr": partial(with_a_table, "flickr"),
    "flickr with json": with_json_beside,
    "webdataset": in_shards,
    "csv": in_a_list,
    "json lines": in_json_lines,
}


@pytest.mark.parametrize("kind", BOXED)
def test_a_box_outside_its_image_or_without_area_is_rejected(tmp_path: Path, kind: str, out: Path) -> None:
    assert main([*BOXED[kind](tmp_path), "--out", str(out), "--workers", "1"]) == 0
    rejects = dict(line.split("\t") for line in Path(f"{out}.rejects.tsv").read_text().splitlines())
    assert {Path(name).stem: reason.partition(") ")[2] for name, reason in rejects.items()} == {
        "outside": "lies outside its 40 x 40 pixels",
        "flat": "has no area",
    }


def nothing(kind: str, root: Path) -> str:
    """A source without an image."""
    if kind == "hdf5":
        with h5py.File(root / "faces.h5", "w") as file:
            file.create_dataset("images", (0,), h5py.vlen_dtype(np.uint8))
        return str(root / "faces.h5")
    if kind == "list":
        return str(table(root / "faces.csv", [("path",)]))
    if kind in ("tar", "tar.gz"):
        return f"vggface2:{pack(root / f'faces.{kind}', {})}"
    if kind == "webdataset":
        return f"webdataset:{pack(root / 'faces.tar', {'1.txt': b'no face'})}"
    (root / "empty").mkdir()
    return f"{kind}:{root / 'empty'}"


@pytest.mark.parametrize("kind", ["vggface2", "lfw", "flickr", "folder", "tar", "tar.gz", "webdataset", "hdf5", "list"])
def test_an_empty_source_is_an_error_that_names_it(
    tmp_path: Path, kind: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = nothing(kind, tmp_path)
    assert main([source, "--out", str(out), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert source in error and "no image found" in error
    assert list(out.parent.iterdir()) == []
