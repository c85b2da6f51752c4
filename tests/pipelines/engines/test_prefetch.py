"""Every wait ends: with an item, the end, the source's exception, or a LoaderError."""

import threading
import time

import pytest

from frl.errors import LoaderError
from pipelines.engines.prefetch import prefetch


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_items_come_in_order(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))


def test_items_before_an_exception_are_delivered():
    def source():
        yield from range(3)
        raise OSError("gone")

    received = []
    with pytest.raises(OSError, match="gone"):
        for item in prefetch(source(), 2):
            received.append(item)
    assert received == [0, 1, 2]


def test_a_source_that_hangs_becomes_an_error():
    release = threading.Event()

    def source():
        yield 1
        release.wait(15)

    items = prefetch(source(), 2, timeout=2)
    assert next(items) == 1
    threading.Timer(4, release.set).start()
    began = time.monotonic()
    with pytest.raises(LoaderError, match="not decoded within 2 s"):
        next(items)
    assert time.monotonic() - began < 240


def test_a_slow_consumer_is_waited_for():
    items = prefetch(range(2), 1, timeout=2)
    for expected in range(2):
        time.sleep(2.2)
        assert next(items) == expected


def test_nothing_starts_before_the_first_item_is_asked_for():
    before = set(threading.enumerate())
    items = prefetch(range(5), 1)
    assert set(threading.enumerate()) <= before
    items.close()
