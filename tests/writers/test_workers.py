"""Workers give results in order, and whatever becomes of them or of their parent, nothing hangs or stays behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from processes import assert_gone, left_in_shared_memory
from worker_tasks import (
    blow_up,
    start_blowing_up,
    start_dying,
    start_failing,
    start_never,
    start_reading_environment,
    start_squares,
)

from frl.errors import InternalError, MachineError, SourceError, WriteError
from writers.workers import AHEAD, CHUNK, OUTBOX_BYTES, WorkerPool


def name(task: int) -> str:
    return f"image-{task}"


def worker_pids() -> list[int]:
    return [process.pid or 0 for process in multiprocessing.active_children()]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("tasks", [0, 1, CHUNK, 5 * CHUNK + 3])
def test_results_come_in_the_order_of_the_tasks(count: int, tasks: int) -> None:
    with WorkerPool(start_squares, count=count) as pool:
        pids = worker_pids()
        assert len(pids) == count
        assert list(pool.map(range(tasks))) == [task * task for task in range(tasks)]
    assert_gone(pids)


def test_results_of_any_size_arrive() -> None:
    """From chunks that leave almost all of the shared memory empty to such as find no room there."""
    tasks = [*range(4 * CHUNK), *range(60, 0, -1), *[600] * CHUNK]
    sizes = [sum(task << 12 for task in tasks[first : first + CHUNK]) for first in range(0, len(tasks), CHUNK)]
    assert min(sizes) < OUTBOX_BYTES < max(sizes)
    with WorkerPool(start_blowing_up, count=2) as pool:
        for task, result in zip(tasks, pool.map(tasks), strict=True):
            assert result == blow_up(task)


@pytest.mark.parametrize(("total", "size"), [(0, CHUNK), (64 * CHUNK, CHUNK), (192 * CHUNK, 3 * CHUNK), (10**6, 64)])
def test_many_quick_tasks_travel_in_larger_chunks(total: int, size: int) -> None:
    """Each of the two workers still gets 32 of them. It holds two when the first result is there, and a fifth waits."""
    with WorkerPool(start_squares, count=2, most=64) as pool:
        first = []

        def tasks() -> Iterator[int]:
            for task in range(20 * CHUNK):
                first.append(task)
                yield task

        results = pool.map(tasks(), total)
        assert next(results) == 0
        assert 5 * size <= len(first) <= 9 * size
        assert list(results) == [task * task for task in range(1, 20 * CHUNK)]


def test_work_in_flight_is_bounded() -> None:
    """Chunks are only begun near the oldest result that has not been taken."""

    begun = 0

    def tasks() -> Iterator[int]:
        nonlocal begun
        for task in range(1, 100 * CHUNK + 1):
            begun = task
            yield task

    with WorkerPool(start_squares, count=2) as pool:
        for taken, _ in enumerate(pool.map(tasks())):
            assert begun <= (taken // CHUNK + AHEAD * 2 + 1) * CHUNK
    assert begun == 100 * CHUNK


def test_heavy_tasks_travel_in_small_chunks() -> None:
    """Tasks that fill a chunk each are not held by the sixteen."""
    begun = 0

    def tasks() -> Iterator[int]:
        nonlocal begun
        for task in range(1, 200):
            begun = task
            yield task

    with WorkerPool(start_squares, count=2, weight=lambda task: CHUNK) as pool:
        for taken, result in enumerate(pool.map(tasks()), 1):
            assert result == taken**2
            assert begun <= taken + AHEAD * 2


def test_an_exception_names_its_task_and_ends_the_workers() -> None:
    """It is none of the image's making."""
    words = r"(?s)image-40: preparing it: ZeroDivisionError: nothing left. This is a fault of frl.*Traceback.*fail_at"
    with pytest.raises(InternalError, match=words):  # noqa: SIM117
        with WorkerPool(partial(start_failing, 40, ZeroDivisionError("nothing left")), count=2, name=name) as pool:
            pids = worker_pids()
            list(pool.map(range(200)))
    assert_gone(pids)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "/scratch/x"), "No space left.*/scratch/x.*Free space"),
        (MemoryError(), "memory"),
    ],
)
def test_an_error_of_the_machine_is_not_the_images(error: Exception, words: str) -> None:
    with pytest.raises(MachineError, match=f"image-3: preparing it.*{words}"):  # noqa: SIM117
        with WorkerPool(partial(start_failing, 3, error), count=1, name=name) as pool:
            list(pool.map(range(20)))


def test_an_error_of_ours_arrives_as_it_is() -> None:
    error = SourceError("faces.tar", "is truncated", "Fetch it again.")
    with pytest.raises(SourceError, match="faces.tar: is truncated. Fetch it again."):  # noqa: SIM117
        with WorkerPool(partial(start_failing, 3, error), count=1, name=name) as pool:
            list(pool.map(range(200)))


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(SourceError, match="libfaces"), WorkerPool(start_never, count=2, name=name) as pool:
        list(pool.map(range(200)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_worker_is_noticed_and_its_task_named(number: signal.Signals) -> None:
    before = set(os.listdir("/dev/shm"))
    start = time.monotonic()
    with pytest.raises(WriteError, match=f"image-70: its worker process was killed by {number.name}"):  # noqa: SIM117
        with WorkerPool(partial(start_dying, 70, number), count=2, name=name) as pool:
            pids = worker_pids()
            list(pool.map(range(10_000)))
    assert time.monotonic() - start < 240  # not after the five minutes of patience
    assert_gone(pids)
    assert not left_in_shared_memory(before)


def test_an_idle_worker_killed_between_two_maps_is_noticed() -> None:
    with pytest.raises(WriteError, match="killed by SIGKILL"), WorkerPool(start_squares, count=2, name=name) as pool:
        assert list(pool.map(range(100)))
        os.kill(worker_pids()[0], signal.SIGKILL)
        list(pool.map(range(1000)))


def test_a_worker_that_stands_still_is_given_up() -> None:
    with pytest.raises(WriteError, match=r"image-20.* no worker has finished anything for 5 s"):  # noqa: SIM117
        with WorkerPool(partial(start_dying, 20, signal.SIGSTOP), count=1, name=name, patience_s=5) as pool:
            pids = worker_pids()
            list(pool.map(range(100)))
    assert_gone(pids)


def test_an_exception_of_the_caller_ends_the_workers() -> None:
    with pytest.raises(RuntimeError, match="disk full"), WorkerPool(start_squares, count=2) as pool:
        pids = worker_pids()
        for result in pool.map(range(10_000)):
            if result > 100:
                raise RuntimeError("disk full")
    assert_gone(pids)


PARENT = """
import multiprocessing, sys
sys.path[:0] = {folders!r}
from worker_tasks import start_squares
from writers.workers import WorkerPool

if __name__ == "__main__":
    with WorkerPool(start_squares, count=2) as pool:
        for result in pool.map(range(10**6)):
            if result == 100:
                print(*(process.pid for process in multiprocessing.active_children()), flush=True)
"""


def test_workers_of_a_killed_parent_end_by_themselves(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    tests = Path(__file__).parents[1]
    script.write_text(PARENT.format(folders=[str(tests.parent), str(tests)]))  # in this order: tests has a folder "frl"
    before = set(os.listdir("/dev/shm"))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
        parent.wait()
        assert_gone(pids)
    assert not left_in_shared_memory(before)


def test_other_processes_of_the_program_stay_as_they_were() -> None:
    """Those that it forks from multiprocessing's own server can be terminated, after ours as before."""
    with WorkerPool(start_squares, count=1) as pool:
        assert list(pool.map([3])) == [9]
    theirs = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,), daemon=True)
    theirs.start()
    theirs.terminate()
    theirs.join(timeout=300)
    assert theirs.exitcode == -signal.SIGTERM


def test_workers_know_the_environment_of_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the first pool's: a notebook may set credentials in between."""
    for value in ("first", "second", None):
        monkeypatch.delenv("FRL_TEST", raising=False)
        if value is not None:
            monkeypatch.setenv("FRL_TEST", value)
        with WorkerPool(start_reading_environment, count=1) as pool:
            assert list(pool.map(["FRL_TEST"])) == [value]


def test_too_long_a_name_of_the_temporary_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(MachineError, match="too long for the sockets of worker processes .*TMPDIR=/tmp"):
        WorkerPool(start_squares, count=1)
