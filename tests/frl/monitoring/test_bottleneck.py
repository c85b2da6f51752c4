"""The verdict names what the time went to, and a wait that the device hid is not held against the data."""

import time
from types import SimpleNamespace

import pytest
import torch
from tiny_run import CONFIG

from frl.monitoring.bottleneck import Shares, Stopwatch
from frl.monitoring.metrics import Meter
from frl.runtime.distributed import World


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


def test_the_start_of_the_loader_and_the_compiler_is_no_part_of_an_epoch():
    world = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    meter = Meter(CONFIG, SimpleNamespace(), world, SimpleNamespace(advance=lambda: None), steps_per_epoch=3)
    meter.sums = SimpleNamespace(add=lambda output, finite: None)
    waited = []
    for _ in meter.timed(iter("abc")):
        meter.epoch.data += 100.0  # as if each had been waited for so long
        meter.add(None, None)
        waited.append(meter.epoch.data)
    assert waited[0] == 0.0 and 200.0 <= waited[2] < 300.0
    assert meter.steps_in_epoch == 2
