"""In page order the kernel holds a few windows of the files, read before they are needed; asked by mincore(2)."""

import ctypes
import mmap
import os
import time

import numpy as np
import pytest

from frl.beton import BetonWriter
from frl.machine import memory_bytes
from pipelines.sampling import readahead
from pipelines.sampling.beton_set import BetonSet
from pipelines.sampling.order import EpochOrder, Order
from pipelines.sampling.readahead import ReadAhead, fits_memory

PAGE = 1 << 21
PAGES = 24


@pytest.fixture
def big(tmp_path) -> BetonSet:
    """24 pages of 4 samples, which nobody holds in memory."""
    path = tmp_path / "big.beton"
    with BetonWriter(path, capacity=4 * PAGES, page_size=PAGE) as writer:
        for i in range(4 * PAGES):
            writer.append(os.urandom(PAGE // 4), 8, 8, -1, f"{i}")
    betons = BetonSet([path])
    forget(betons)
    yield betons
    betons.close()


def forget(betons: BetonSet) -> None:
    with open(betons.betons[0].path) as file:
        os.fsync(file.fileno())
        betons.betons[0].advise(mmap.MADV_DONTNEED, 0, betons.nbytes)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(betons: BetonSet) -> np.ndarray:
    """The share of each page of the file that the page cache holds: (pages,)."""
    data, small = betons.betons[0].data, mmap.PAGESIZE
    found = np.empty(-(-data.size // small), dtype=np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    status = libc.mincore(
        ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(data.size), found.ctypes.data_as(ctypes.c_void_p)
    )
    assert status == 0, os.strerror(ctypes.get_errno())
    return np.add.reduceat(found & 1, np.arange(0, len(found), PAGE // small)) / (PAGE // small)


def arrives(betons: BetonSet, pages: np.ndarray) -> bool:
    """Whether the pages are there soon, without anybody touching them."""
    deadline = time.monotonic() + 200
    while (resident(betons)[pages] < 0.95).any() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool((resident(betons)[pages] >= 0.95).all())


def pages_order(betons: BetonSet, window: int) -> EpochOrder:
    return Order(pages=betons.pages, starts=betons.starts, shares=(len(betons),), seed=0, window=window).epoch(0)


@pytest.mark.parametrize("batch_size", [1, 5, 30])
def test_what_is_needed_was_read_and_what_stays_is_bounded(big, batch_size):
    order = pages_order(big, window=4)
    ahead = ReadAhead(big, order, 0)
    peak = 0.0
    for first in range(0, len(big) - batch_size + 1, batch_size):
        ahead.advance(first, first + batch_size - 1)
        samples = order.samples[first : first + batch_size]
        assert arrives(big, big.pages[samples])
        for sample in samples.tolist():
            big.encoded(sample).sum()
        peak = max(peak, resident(big).sum())
    ahead.close()
    assert peak <= 3 * 4 + batch_size / 4 + 1
    assert resident(big)[1:-1].sum() < 0.5, "an epoch leaves nothing behind"


def test_a_resumed_epoch_reads_the_window_it_is_in(big):
    order = pages_order(big, window=4)
    ahead = ReadAhead(big, order, 2 * 16 + 3)
    assert arrives(big, order.windows[2])
    others = np.concatenate(order.windows[:2] + order.windows[3:])
    assert resident(big)[others].sum() < 0.5
    ahead.close()


@pytest.mark.parametrize("place", [0, 4 * PAGES])
def test_random_order_and_the_end_of_an_epoch_ask_for_nothing(big, place):
    orders = [EpochOrder(np.arange(len(big)))] + ([pages_order(big, 4)] if place else [])
    for order in orders:
        ahead = ReadAhead(big, order, place)
        ahead.advance(place, place + 3)
        ahead.close()
    assert resident(big)[1:-1].sum() < 0.5


def test_files_are_closed(big):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ReadAhead(big, pages_order(big, 2), 0).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_auto_looks_at_the_memory_that_the_machine_has(monkeypatch):
    assert fits_memory(1 << 20) and not fits_memory(memory_bytes())
    monkeypatch.setattr(readahead, "memory_bytes", lambda: 1000)
    assert fits_memory(500) and not fits_memory(501)
