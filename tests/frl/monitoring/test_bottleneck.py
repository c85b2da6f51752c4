"""The verdict names what the time went to, and a wait that the device hid is not held against the data."""

import time

import pytest

from frl.monitoring.bottleneck import Shares, Stopwatch


def watched(**seconds: float) -> Stopwatch:
    """A stopwatch after ten seconds."""
    watch = Stopwatch()
    watch._since = time.perf_counter() - 10
    for part, spent in seconds.items():
        setattr(watch, part, spent)
    return watch


@pytest.mark.parametrize(
    ("seconds", "bound", "remedy"),
    [
        ({}, "computing", "keeps up"),
        ({"data": 0.5}, "computing", "keeps up"),
        ({"data": 4.0}, "data", "--workers"),
        ({"logging": 3.0, "data": 2.0}, "logging", "--log-every-steps"),
        ({"data": 4.0, "device": 4.0}, "computing", "keeps up"),
        ({"data": 4.0, "device": 1.0}, "data", "--workers"),
    ],
)
def test_the_verdict(seconds, bound, remedy):
    verdict = Shares.of(watched(**seconds)).verdict()
    assert f"bound by {bound}" in verdict and remedy in verdict


def test_shares_add_up():
    shares = Shares.of(watched(data=4.0, device=1.0, logging=2.0))
    assert shares.data == pytest.approx(0.3, abs=0.01)
    assert shares.logging == pytest.approx(0.2, abs=0.01)
    assert shares.compute + shares.data + shares.logging == pytest.approx(1)


def test_the_stopwatch_counts_blocks_even_those_that_fail():
    watch = Stopwatch()
    with pytest.raises(ValueError), watch.on("data"):
        time.sleep(0.02)
        raise ValueError
    with watch.on("data"):
        time.sleep(0.02)
    assert 0.04 <= watch.data <= watch.seconds
    assert watch.device == watch.logging == 0
    watch.restart()
    assert watch.data == 0
