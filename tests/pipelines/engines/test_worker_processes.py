"""The torch engine's processes: a /dev/shm that is too small, signals meant for the run, and every way to die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import assert_gone

from frl.beton import Beton
from frl.errors import LoaderError
from pipelines.engines import worker_processes
from pipelines.engines.engine import DecodedBatch, Request
from pipelines.engines.torch_engine import TorchImages


def requests(n: int, batch: int) -> list[Request]:
    return [Request(samples=np.arange(i, i + batch), share=slice(0, batch)) for i in range(0, n, batch)]


def two_workers(beton: Path) -> Iterator[DecodedBatch]:
    return TorchImages(Beton(beton), workers=2, ahead=2).images(requests(20, 2))


def started(batches: Iterator[DecodedBatch]) -> list[int]:
    """The processes behind ``batches``, of which the first is taken."""
    before = set(multiprocessing.active_children())
    next(batches)
    return [process.pid for process in set(multiprocessing.active_children()) - before if process.pid]


def shared_memory_of(nbytes: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, nbytes // 4096, nbytes // 4096, nbytes // 4096, 9, 9, 9, 0, 255))


def test_too_little_shared_memory_is_refused_before_anything_starts(tiny_beton, monkeypatch):
    monkeypatch.setattr(worker_processes.os, "statvfs", lambda path: shared_memory_of(8192))
    with pytest.raises(LoaderError, match=r"/dev/shm: 3 batches made ahead.*0\.00819 MB are free.*--shm-size.*ffcv"):
        next(two_workers(tiny_beton))
    assert not multiprocessing.active_children()


def test_the_ranks_of_a_machine_share_it(tiny_beton, monkeypatch):
    side = Beton(tiny_beton).max_side
    monkeypatch.setattr(worker_processes.os, "statvfs", lambda path: shared_memory_of(4 * (2 * side * side * 3 + 4096)))
    assert len(list(two_workers(tiny_beton))) == 10
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(LoaderError, match=r"/dev/shm: .* for 2 rank"):
        next(two_workers(tiny_beton))


FILLED = """
import sys, time
from pathlib import Path
from frl.beton import Beton
from frl.errors import LoaderError
from test_worker_processes import two_workers
batches = two_workers(Path(sys.argv[1]))
next(batches)
try:
    with open("/dev/shm/other", "wb") as other:
        while True: other.write(bytes(4096)), other.flush()
except OSError:
    pass
try:
    list(batches)
except LoaderError as error:
    print(error)
"""


@pytest.mark.timeout(120)
def test_shared_memory_that_another_program_fills_is_named_at_once(tiny_beton):
    """In a mount namespace with a small /dev/shm of its own."""
    mount = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", mount, "sh", "true"], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2]), *sys.path])
    command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", FILLED, str(tiny_beton)]
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=100)
    assert run.stdout.startswith("/dev/shm: there is no room for a batch of"), run.stdout + run.stderr
    assert "--shm-size" in run.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_run_does_not_end_them(tiny_beton, number):
    """The trainer is asked as well, and goes on to the next step that all ranks can save."""
    batches = two_workers(tiny_beton)
    for pid in started(batches):
        os.kill(pid, number)
    assert len(list(batches)) == 9


@pytest.mark.timeout(60)
def test_a_death_reaches_a_consumer_that_is_not_the_main_thread(tiny_beton):
    """Only the main thread has SIGCHLD's handler."""
    found: list[BaseException] = []

    def consume() -> None:
        batches = two_workers(tiny_beton)
        try:
            for pid in started(batches):
                os.kill(pid, signal.SIGKILL)
            list(batches)
        except LoaderError as error:
            found.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    consumer.join(50)
    assert not consumer.is_alive() and "was ended by SIGKILL" in str(found[0]) and "out-of-memory" in str(found[0])


@pytest.mark.timeout(60)
def test_a_death_is_raised_where_the_next_batch_is_asked_for(tiny_beton):
    batches = two_workers(tiny_beton)
    for pid in started(batches):
        os.kill(pid, signal.SIGBUS)
    for process in multiprocessing.active_children():
        process.join(30)  # SIGCHLD comes here
    with pytest.raises(LoaderError, match=r"was ended by SIGBUS: /dev/shm is full.*--shm-size"):
        list(batches)


@pytest.mark.timeout(90)
def test_one_that_hangs_is_named_and_ended(tiny_beton, monkeypatch):
    monkeypatch.setattr(worker_processes, "TIMEOUT", 2)
    beton, parent = Beton(tiny_beton), os.getpid()
    encoded = beton.encoded

    def hang(sample: int) -> object:
        while os.getpid() != parent and sample >= 10:
            time.sleep(1)
        return encoded(sample)

    monkeypatch.setattr(beton, "encoded", hang)
    batches = TorchImages(beton, workers=1, ahead=1).images(requests(20, 2))
    pids = started(batches)
    with pytest.raises(LoaderError, match="none has made its batch within 2 s.*storage answers"):
        list(batches)
    del batches
    assert_gone(pids, within_s=60)
