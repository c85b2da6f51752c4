"""Work that was stopped at any moment goes on to the same files, byte for byte; what is damaged is not trusted."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import resource
import tempfile
import time
from pathlib import Path

import pytest
from beton_samples import Sample, draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import BetonWriter, verify, writer
from frl.errors import WriteError

FORK = multiprocessing.get_context("fork")
POOL = [draw_sample(i, 20 + i, 30, i % 3 - 1) for i in range(12)]

Tasks = list[list[Sample] | None]
"""Each gives some samples, or a reject."""


class Stopped(Exception):
    """What ends a run early."""


@pytest.fixture(autouse=True)
def commit_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)


def write(path: Path, tasks: Tasks, stop: int | None = None, work: str = "w", pause_s: float = 0.0) -> int:
    """Write the samples, as far as ``stop``; the number of tasks that were done already."""
    with BetonWriter(path, capacity=99, page_size=1 << 21, labels=["a", "b"], work=work) as file:
        begun = file.done
        for number, task in enumerate(tasks[begun:], begun):
            if number == stop:
                raise Stopped
            for sample in task or ():
                file.append(*sample.arguments)
            if task is None:
                file.reject(f"{number}.jpg", "it is a web page")
            file.counts["tasks"] += 1
            file.commit(number + 1)
            time.sleep(pause_s)
    return begun


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def uninterrupted(tasks: Tasks) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "a.beton", tasks)
        return contents(Path(folder))


tasks_strategy = st.lists(
    st.none() | st.lists(st.integers(0, len(POOL) - 1).map(POOL.__getitem__), max_size=3), min_size=1, max_size=9
).filter(any)


def test_work_that_is_done_again_is_told_of(tmp_path: Path) -> None:
    """Of another command, or damaged."""
    path, tasks = tmp_path / "a.beton", [[sample] for sample in POOL[:6]]

    def lost(work: str) -> str | None:
        with (
            pytest.raises(Stopped),
            BetonWriter(path, capacity=99, page_size=1 << 21, labels=["a", "b"], work=work) as w,
        ):
            found = w.lost
            raise Stopped
        return found

    with pytest.raises(Stopped):
        write(path, tasks, stop=4)
    assert lost("w") is None
    with open(path.with_name(f".{path.name}.samples.tsv.partial"), "r+b") as file:
        file.write(b"\n")
    assert lost("w") == "4 done before are done again: what was kept of them is damaged"
    with pytest.raises(Stopped):
        write(path, tasks, stop=4)
    said = "4 done before are done again: they are of other options, of other images, or of another version of frl"
    assert lost("another") == said
    assert write(path, tasks) == 0


@settings(max_examples=25, deadline=None)
@given(tasks=tasks_strategy, data=st.data())
def test_stopped_twice_and_resumed_gives_the_same_bytes(tasks: Tasks, data: st.DataObject) -> None:
    stops = sorted(data.draw(st.tuples(st.integers(0, len(tasks) - 1), st.integers(0, len(tasks) - 1))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.beton"
        for stop in stops:
            with pytest.raises(Stopped):
                write(path, tasks, stop)
        assert write(path, tasks) == stops[-1]
        assert contents(Path(folder)) == uninterrupted(tasks)


@settings(max_examples=40, deadline=None)
@given(tasks=tasks_strategy, data=st.data())
def test_a_damaged_beginning_is_not_trusted(tasks: Tasks, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.beton"
        with pytest.raises(Stopped):
            write(path, tasks, data.draw(st.integers(0, len(tasks) - 1)))
        left = sorted(file for file in Path(folder).iterdir() if file.stat().st_size)
        if left:
            victim = data.draw(st.sampled_from(left))
            damaged = bytearray(victim.read_bytes())
            # In the .beton, bytes that mean something: in the first records, or in the first images behind them.
            size = len(damaged)
            place = data.draw(st.integers(0, size - 1) | st.integers(min(2106, size - 1), min(2300, size - 1)))
            place = max(place, min(size - 1, 1 << 21)) if data.draw(st.booleans()) else place
            if data.draw(st.booleans()):
                damaged[place] ^= data.draw(st.integers(1, 255))
            else:
                del damaged[place:]
            victim.write_bytes(damaged)
        write(path, tasks)
        assert contents(Path(folder)).keys() == uninterrupted(tasks).keys()
        assert verify(path, deep=True).ok
        for name, data_bytes in uninterrupted(tasks).items():
            if (
                name != "a.beton"
            ):  # where a flipped byte between the metadata and the first page may stay: it means nothing
                assert (Path(folder) / name).read_bytes() == data_bytes


def test_a_resumed_writer_gives_back_what_it_stored(tmp_path: Path) -> None:
    tasks: Tasks = [[sample] for sample in POOL]
    with pytest.raises(Stopped):
        write(tmp_path / "a.beton", tasks, stop=5)
    with BetonWriter(tmp_path / "a.beton", capacity=99, page_size=1 << 21, labels=["a", "b"], work="w") as file:
        file.append(*POOL[5].arguments)
        stored = [(encoded, line.label, line.name) for encoded, line in file.stored()]
    assert stored == [(sample.encoded, sample.label, sample.name) for sample in POOL[:6]]


def test_other_work_begins_anew(tmp_path: Path) -> None:
    tasks: Tasks = [[sample] for sample in POOL]
    with pytest.raises(Stopped):
        write(tmp_path / "a.beton", tasks, stop=5, work="one")
    assert write(tmp_path / "a.beton", tasks, work="another") == 0
    assert contents(tmp_path) == uninterrupted(tasks)


def test_what_is_kept_is_said_and_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    tasks: Tasks = [[sample] for sample in POOL]
    with pytest.raises(Stopped) as stopped:
        write(tmp_path / "a.beton", tasks, stop=5)
    assert stopped.value.__notes__ == ["The same command goes on after the 5 images that are done."]
    assert not (tmp_path / "a.beton").exists()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(WriteError, match="File too large.*Free space"):
            write(tmp_path / "a.beton", tasks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_another_failure_of_the_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: Tasks = [[sample] for sample in POOL]

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(WriteError, match="Input/output error.*permissions") as failed:
        patch.setattr(os, "rename", fail)
        write(tmp_path / "a.beton", tasks)
    assert failed.value.__notes__ == ["The same command goes on after the 12 images that are done."]
    assert write(tmp_path / "a.beton", tasks) == 12
    assert contents(tmp_path) == uninterrupted(tasks)


def test_killed_at_random_moments_it_gets_to_the_end(tmp_path: Path) -> None:
    path, moments, tasks = (
        tmp_path / "a.beton",
        random.Random(0),
        [[sample] if i % 7 else None for i, sample in enumerate(POOL * 8)],
    )
    resumed = 0
    for _ in range(20):
        process = FORK.Process(target=write, args=(path, tasks), kwargs={"pause_s": 0.01})
        process.start()
        process.join(timeout=moments.uniform(0.02, 0.2))
        process.kill()
        process.join(timeout=300)
        journal = tmp_path / ".a.beton.journal.partial"
        resumed += journal.exists() and journal.read_bytes().count(b"\n") > 1
        if path.exists():
            assert verify(path, deep=True).ok
            path.unlink()
    assert resumed > 5
    write(path, tasks)
    assert contents(tmp_path) == uninterrupted(tasks)
