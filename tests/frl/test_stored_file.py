"""A file of an object store, read in any order: the bytes are the file's, and no more is asked for than needed."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from object_store import Proxy, Trouble, faulty_s3

from frl import store, stored_file
from frl.errors import StoreChanged, StoreError
from frl.stored_file import StoredFile

DATA = random.Random(0).randbytes(100_003)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with faulty_s3(monkeypatch) as proxy:
        fsspec.filesystem("s3").pipe_file("faces/a", DATA)
        yield proxy


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_file, "BLOCK", 1000)
    monkeypatch.setattr(stored_file, "KEPT", 7)
    monkeypatch.setattr(store, "PART", 4000)


def test_whatever_is_sought_and_read_is_the_files(s3: Proxy, small_blocks: None) -> None:
    s3.trouble = Trouble(every=5)
    file = StoredFile.now("s3://faces/a").open()
    draw = random.Random(1)
    for _ in range(60):
        place, nbytes = draw.randrange(len(DATA) + 10), draw.choice((0, 1, 16, 999, 1000, 1001, 7777))
        whence = draw.choice((os.SEEK_SET, os.SEEK_END))
        assert file.seek(place - len(DATA) if whence == os.SEEK_END else place, whence) == place == file.tell()
        assert file.read(nbytes) == DATA[place : place + nbytes]
        assert len(file._blocks) <= 7  # type: ignore[attr-defined]
    file.seek(0)
    assert file.read() == DATA and s3.failed


def test_a_buffer_is_filled_whole(s3: Proxy, small_blocks: None) -> None:
    """HDF5's library takes what was left of it for the file's."""
    file = StoredFile.now("s3://faces/a").open()
    file.seek(500)
    buffer = bytearray(50_000)
    assert file.readinto(buffer) == 50_000 and buffer == DATA[500:50_500]  # type: ignore[attr-defined]
    file.seek(len(DATA) - 3)
    assert file.readinto(buffer) == 3 and buffer[:3] == DATA[-3:]  # type: ignore[attr-defined]


def fetched(s3: Proxy) -> list[str]:
    return [request.split()[-1] for request in s3.requests if request.startswith("GET")]


def test_ranges_that_lie_near_each_other_are_one_request(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    near = 10_000
    monkeypatch.setattr(stored_file, "NEAR", near)
    file = StoredFile.now("s3://faces/a")
    s3.requests.clear()
    ranges = [(near + 30, 10), (0, 20), (20, 5), (7, 0), (2 * near - 10 - 200, 200)]
    assert file.read_ranges(ranges) == [DATA[start : start + nbytes] for start, nbytes in ranges]
    assert fetched(s3) == ["bytes=0-24", f"bytes={near + 30}-{2 * near - 11}"]
    assert file.read_ranges([]) == [] and file.read_ranges([(5, 0)]) == [b""]


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=6), st.integers(0, 2000))
def test_ranges_are_what_they_are_one_by_one(ranges: list[tuple[int, int]], near: int) -> None:
    file = StoredFile("memory://a", store.State(len(DATA), ""), DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_file, "NEAR", near)
        assert file.read_ranges(ranges) == [DATA[start : start + nbytes] for start, nbytes in ranges]


def test_a_copy_in_another_process_reads_the_same_version_or_none(s3: Proxy) -> None:
    file = pickle.loads(pickle.dumps(StoredFile.now("s3://faces/a")))
    assert file.read(10, 20) == DATA[10:30]
    file.confirm()
    fsspec.filesystem("s3").pipe_file("faces/a", DATA[::-1])
    for meet in (file.confirm, file.open):
        with pytest.raises(StoreChanged, match="s3://faces/a: has changed"):
            meet()


def test_a_file_that_shrank_is_another_and_one_that_is_gone_is_not_there(
    s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WAITS_S", (0.01,))
    file = StoredFile.now("s3://faces/a")
    fsspec.filesystem("s3").pipe_file("faces/a", DATA[:10])
    with pytest.raises(StoreChanged, match="has changed while it was read"):
        file.read(100, 20)
    fsspec.filesystem("s3").rm_file("faces/a")
    with pytest.raises(StoreError, match="is not there"):
        file.read(0, 5)
    with pytest.raises(StoreError, match="is not there"):
        StoredFile.now("s3://faces/a")


def test_what_lies_in_memory_goes_with_the_file() -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file("/a", DATA)
    try:
        file = pickle.loads(pickle.dumps(StoredFile.now("memory://a")))
    finally:
        system.store.clear()
    assert file.read(3, 4) == DATA[3:7] and file.open().read() == DATA
