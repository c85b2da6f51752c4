"""What we write is what stock ffcv reads, and it is there wholly or not at all."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from beton_samples import Sample, draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import Beton, BetonWriter, verify
from frl.errors import WriteError
from frl.files import InUseError

FORK = multiprocessing.get_context("fork")


def write(path: Path, samples: list[Sample], overwrite: bool = False) -> None:
    with BetonWriter(path, capacity=len(samples), page_size=1 << 21, overwrite=overwrite) as writer:
        for sample in samples:
            writer.append(*sample.arguments)
        writer.reject("bad.jpg", "it is a web page")


def decode(ffcv: ModuleType, data: np.ndarray, height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    assert ffcv.libffcv.imdecode(data, image, height, width, height, width) == 0
    return image


# ---------------------------------------------------------------- stock ffcv


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(-1, 1 << 40)), min_size=1, max_size=9
    ),
    spare=st.integers(0, 5),
    page_size=st.sampled_from([1 << 21, 1 << 22]),
)
def test_stock_ffcv_reads_what_we_write(ffcv: ModuleType, shapes: list, spare: int, page_size: int) -> None:
    samples = [draw_sample(i, *shape) for i, shape in enumerate(shapes)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.beton"
        with BetonWriter(path, capacity=len(samples) + spare, page_size=page_size) as writer:
            for sample in samples:
                writer.append(*sample.arguments)
        reader = ffcv.reader.Reader(str(path))
        data = np.fromfile(path, np.uint8)
    assert reader.field_names == ["image", "label"]
    assert [type(handler) for handler in reader.handlers.values()] == [ffcv.fields.RGBImageField, ffcv.fields.IntField]
    assert (reader.num_samples, reader.page_size) == (len(samples), page_size)
    assert len(reader.alloc_table) == len(samples)
    for i, sample in enumerate(samples):
        image, label = reader.metadata[i]
        entry = reader.alloc_table[i]
        assert (image["mode"], image["height"], image["width"], label) == (0, *shapes[i])
        assert (entry["sample_id"], entry["ptr"], entry["size"]) == (i, image["data_ptr"], len(sample.encoded))
        stored = data[entry["ptr"] :][: entry["size"]]
        assert stored.tobytes() == sample.encoded
        original = np.frombuffer(sample.encoded, np.uint8)
        shape = sample.height, sample.width
        assert np.array_equal(decode(ffcv, stored, *shape), decode(ffcv, original, *shape))


@pytest.mark.parametrize("os_cache", [True, False])
def test_stock_ffcvs_loader_delivers_what_we_write(
    ffcv: ModuleType, stock_loader: type, tmp_path: Path, os_cache: bool
) -> None:
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import OrderOption

    samples = [draw_sample(i, 32, 32, i * 7 - 1) for i in range(6)]
    # At three quarters of a page each, every sample gets a page of its own, and the last page stays short.
    padding = b"\0" * (3 << 19)
    path = tmp_path / "ours.beton"
    with BetonWriter(path, capacity=9, page_size=1 << 21) as writer:
        for sample in samples:
            writer.append(sample.encoded + padding, 32, 32, sample.label, sample.name)
    loader = stock_loader(
        str(path),
        batch_size=4,
        num_workers=1,
        os_cache=os_cache,
        order=OrderOption.SEQUENTIAL,
        drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]},
    )
    images, labels = [], []
    for batch, batch_labels in loader:
        images += [np.array(image) for image in batch]  # Copied: ffcv reuses the memory of a batch.
        labels += np.array(batch_labels).reshape(-1).tolist()
    assert labels == [sample.label for sample in samples]
    for image, sample in zip(images, samples, strict=True):
        assert np.array_equal(image, decode(ffcv, np.frombuffer(sample.encoded, np.uint8), 32, 32))


# ---------------------------------------------------------------- the format


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 1 << 21), min_size=1, max_size=12), page_size=st.sampled_from([1 << 21, 1 << 22]))
def test_no_image_crosses_a_page_and_the_bytes_go_through(sizes: list[int], page_size: int) -> None:
    payloads = [bytes([i + 1]) * size for i, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.beton"
        with BetonWriter(path, capacity=len(sizes), page_size=page_size) as writer:
            for payload in payloads:
                writer.append(memoryview(payload), 8, 8, -1, "x")
        with Beton(path) as beton:
            last = beton.pointers + beton.nbytes - np.uint64(1)
            assert np.array_equal(beton.pointers // page_size, last // page_size)
            assert [beton.encoded(i).tobytes() for i in range(len(beton))] == payloads


def test_many_blocks_of_metadata(tmp_path: Path) -> None:
    # The writer's blocks hold 4096 samples: two full ones, and one sample more.
    count = 8193
    with BetonWriter(tmp_path / "many.beton", capacity=count) as writer:
        for i in range(count):
            writer.append(i.to_bytes(4, "little"), 1 + i % 100, 1 + i % 90, i, str(i))
    with Beton(tmp_path / "many.beton") as beton:
        index = np.arange(count)
        assert np.array_equal(beton.labels, index)
        assert np.array_equal(beton.heights, 1 + index % 100)
        assert np.array_equal(beton.widths, 1 + index % 90)
        assert all(beton.encoded(i).tobytes() == i.to_bytes(4, "little") for i in range(count))


def test_the_sidecars_say_what_is_inside(beton_path: Path, samples: list[Sample]) -> None:
    manifest = json.loads((beton_path.parent / "faces.beton.json").read_text())
    lines = (beton_path.parent / "faces.beton.samples.tsv").read_bytes()
    assert manifest["samples"] == len(samples)
    assert manifest["bytes"] == beton_path.stat().st_size
    assert manifest["samples_sha256"] == hashlib.sha256(lines).hexdigest()
    assert (manifest["identities"], manifest["settings"], manifest["rejected"]) == (["a", "b", "c"], {"seed": 3}, 1)
    assert [line.split("\t") for line in lines.decode().splitlines()] == [
        [f"{zlib.crc32(sample.encoded):08x}", str(sample.label), sample.name] for sample in samples
    ]
    assert (beton_path.parent / "faces.beton.rejects.tsv").read_text() == "broken.jpg\tit is empty\n"


def test_the_same_input_gives_the_same_files(tmp_path: Path, samples: list[Sample]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "faces.beton", samples)
    assert len(os.listdir(tmp_path / "a")) == 4
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("encoded", "height", "width", "label", "cause"),
    [
        (b"", 8, 8, 0, "0 bytes"),
        (b"x" * ((1 << 21) + 1), 8, 8, 0, "2097153 bytes"),
        (b"x", 0, 8, 0, "0 x 8"),
        (b"x", 8, 65536, 0, "8 x 65536"),
        (b"x", 60000, 60000, 0, "60000 x 60000"),
        (b"x", 8, 8, 2, "label 2"),
        (b"x", 8, 8, -2, "label -2"),
    ],
)
def test_a_refused_image_leaves_no_trace(
    tmp_path: Path, encoded: bytes, height: int, width: int, label: int, cause: str
) -> None:
    sample = draw_sample(0, label=1)
    with BetonWriter(tmp_path / "a.beton", capacity=2, page_size=1 << 21, labels=["a", "b"]) as writer:
        with pytest.raises(WriteError, match=f"odd.jpg.*{cause}"):
            writer.append(encoded, height, width, label, "odd.jpg")
        writer.append(*sample.arguments)
    assert verify(tmp_path / "a.beton", deep=True).ok
    assert Beton(tmp_path / "a.beton").encoded(0).tobytes() == sample.encoded


def test_more_images_than_room(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="room for 1"), BetonWriter(tmp_path / "a.beton", capacity=1) as writer:
        writer.append(*draw_sample(0).arguments)
        writer.append(*draw_sample(1).arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("capacity", "page_size"), [(0, 1 << 21), (-1, 1 << 21), (1, 1 << 20), (1, 3 << 20)])
def test_impossible_arguments(tmp_path: Path, capacity: int, page_size: int) -> None:
    with pytest.raises(WriteError):
        BetonWriter(tmp_path / "a.beton", capacity=capacity, page_size=page_size)


def test_a_file_without_images_is_not_written(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match="no image.*1 rejected: a.jpg: it is empty"),
        BetonWriter(tmp_path / "a.beton", capacity=2) as writer,
    ):
        writer.reject("a.jpg", "it is empty")
    assert os.listdir(tmp_path) == []


def test_the_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"), BetonWriter(tmp_path / "no" / "a.beton", capacity=1):
        pass


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path, samples: list[Sample]) -> None:
    path = tmp_path / "a.beton"
    write(path, samples[:2])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(WriteError, match="exists already"):
        write(path, samples)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    write(path, samples, overwrite=True)
    assert len(Beton(path)) == len(samples)
    assert verify(path, deep=True).ok


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(tmp_path: Path, samples: list[Sample], error: type[BaseException]) -> None:
    write(tmp_path / "a.beton", samples[:2])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(error), BetonWriter(tmp_path / "a.beton", capacity=9, overwrite=True) as writer:
        writer.append(*samples[3].arguments)
        raise error
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_two_processes_cannot_write_one_file(tmp_path: Path, samples: list[Sample]) -> None:
    path = tmp_path / "a.beton"
    outcome = FORK.SimpleQueue()

    def second() -> None:
        try:
            write(path, samples)
        except WriteError as error:
            outcome.put(str(error))

    with BetonWriter(path, capacity=9) as writer:
        writer.append(*samples[0].arguments)
        process = FORK.Process(target=second)
        process.start()
        process.join(timeout=300)
        assert not process.is_alive()
        assert not outcome.empty()
        assert outcome.get().endswith("(another process is writing it). " + InUseError.remedy)
    assert len(Beton(path)) == 1
    assert verify(path, deep=True).ok


# ---------------------------------------------------------------- memory and disk


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    sample = draw_sample(0, 2, 2)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            with BetonWriter(tmp_path / f"{count}.beton", capacity=count) as writer:
                for i in range(count):
                    writer.append(*sample.arguments)
                    if i % 10 == 0:
                        writer.reject("x", "y")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # Whatever is imported or cached once.
    assert peak(40_000) - peak(20_000) < 1 << 19  # by then all that is gathered before it is written has been full


@pytest.mark.parametrize("room", [-1, 10_000, 1_000_000])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, samples: list[Sample], room: int) -> None:
    # The disk is full at the first image, at one of the images, or at the table behind them.
    images_start, images_bytes = 8 << 20, 1000 * len(samples[0].encoded)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (images_start + min(room, images_bytes + 1), hard))
    try:
        with (
            pytest.raises(WriteError, match="a.beton.*File too large.*Free space"),
            BetonWriter(tmp_path / "a.beton", capacity=1000) as writer,
        ):
            for _ in range(1000):
                writer.append(*samples[0].arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- kills


def assert_absent_or_sound(path: Path, lengths: set[int]) -> None:
    if path.exists():
        report = verify(path, deep=True)
        assert report.ok, report.faults
        assert report.samples in lengths
        assert len(report.checked) == 4  # The sidecars were there, and agreed.


STEPS = ("pwrite", "pwritev", "fsync", "rename", "unlink", "ftruncate")
"""The calls by which a writer changes the disk."""


@pytest.mark.parametrize("old", [False, True])
def test_killed_before_any_step_of_writing(tmp_path: Path, samples: list[Sample], old: bool) -> None:
    path = tmp_path / "a.beton"

    def die_before(step: int) -> None:
        remaining = iter(range(step))

        def guard(call: Callable) -> Callable:
            def guarded(*args: object, **kwargs: object) -> object:
                if next(remaining, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return guarded

        for name in STEPS:
            setattr(os, name, guard(getattr(os, name)))
        write(path, samples, overwrite=True)
        os._exit(7)

    finished = False
    for step in range(100):
        if old:
            write(path, samples[:2], overwrite=True)
        process = FORK.Process(target=die_before, args=(step,))
        process.start()
        process.join(timeout=300)
        assert process.exitcode in (-signal.SIGKILL, 7)
        assert_absent_or_sound(path, {2, len(samples)} if old else {len(samples)})
        if finished := process.exitcode == 7:
            break
        if not old:
            path.unlink(missing_ok=True)
    assert finished
    assert step > 20
    write(path, samples, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [f"a.beton{end}" for end in ("", ".json", ".rejects.tsv", ".samples.tsv")]


def test_killed_at_random_moments(tmp_path: Path, samples: list[Sample]) -> None:
    path, moments = tmp_path / "a.beton", random.Random(0)

    def write_for_ever() -> None:
        while True:
            write(path, samples * 20, overwrite=True)

    for _ in range(20):
        process = FORK.Process(target=write_for_ever)
        process.start()
        time.sleep(moments.uniform(0.005, 0.06))
        assert process.is_alive()
        process.kill()
        process.join(timeout=300)
        assert process.exitcode == -signal.SIGKILL
        assert_absent_or_sound(path, {20 * len(samples)})
    write(path, samples, overwrite=True)
    assert verify(path, deep=True).ok
    assert not list(tmp_path.glob(".*"))
