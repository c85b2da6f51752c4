"""Where the crops are made changes neither which samples come nor, within the tolerance, their crops."""

import time

import pytest
import torch

from frl.config import AugmentConfig, CropSpec, DataConfig
from pipelines import placement
from pipelines.loader import make_loader
from pipelines.placement import decide, faster, measure

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
AUGMENT = AugmentConfig(
    crops=(CropSpec(size=24, count=2, scale=(0.14, 1.0)), CropSpec(size=16, count=2, scale=(0.05, 0.14)))
)


@pytest.fixture
def loader_of(tiny_beton):
    opened = []

    def make(augment_on: str):
        data = DataConfig(data=(tiny_beton,), engine="torch", workers=1, augment_on=augment_on)
        opened.append(make_loader(data, AUGMENT, batch_size=8, seed=3, device=CPU))
        return opened[-1]

    yield make
    for loader in opened:
        loader.close()


def slow(seconds: float):
    """A way whose batches take so long."""

    def start():
        for _ in range(3):
            time.sleep(seconds)
            yield None

    return start


def test_both_places_give_the_same_samples_and_crops(loader_of):
    cpu, device = loader_of("cpu"), loader_of("gpu")
    assert (cpu.placement.place, device.placement.place) == ("cpu", "gpu")
    for a, b in zip(cpu.epoch(1), device.epoch(1), strict=True):
        assert torch.equal(a.samples, b.samples) and torch.equal(a.labels, b.labels)
        for x, y in zip(a.views, b.views, strict=True):
            assert x.shape == y.shape
            difference = (x - y).abs() * min(AUGMENT.std) * 255
            assert difference.mean() < 1 and difference.max() < 8


def test_without_a_gpu_the_cpu_is_chosen_unmeasured(loader_of):
    chosen = loader_of("auto").placement
    assert chosen.place == "cpu" and not chosen.metrics
    assert str(chosen) == "crops are made on the CPU, while loading: there is no GPU"


@pytest.mark.parametrize("wanted", ["cpu", "gpu"])
def test_what_is_asked_for_is_done(wanted):
    assert decide(wanted, GPU, {}, 8).place == wanted


def test_auto_measures_both_ways_and_takes_the_faster(monkeypatch):
    monkeypatch.setattr(placement, "wait_for", lambda device: None)
    chosen = decide("auto", GPU, {"cpu": slow(0.02), "gpu": slow(0.002)}, 8)
    assert chosen.place == "gpu" and chosen.rates["gpu"] > 2 * chosen.rates["cpu"]
    assert chosen.metrics == {f"augment_{k}_images_per_s": v for k, v in chosen.rates.items()}
    assert "images/s on the CPU" in str(chosen) and "images/s on the GPU" in str(chosen)


def test_a_tie_leaves_the_gpu_to_training():
    assert faster({"cpu": 100.0, "gpu": 100.0}).place == "cpu"


def test_the_rate_is_measured_over_short_epochs_too():
    assert 250 < measure(slow(0.02), 8, CPU) < 400


def test_measuring_takes_nothing_from_the_run(loader_of):
    loader, other = loader_of("cpu"), loader_of("cpu")
    for way in (loader.cropped, loader.decoded):
        assert measure(lambda way=way: loader._first_epoch(way), 8, CPU) > 0
    for a, b in zip(loader.epoch(0), other.epoch(0), strict=True):
        assert torch.equal(a.samples, b.samples)
        assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))
    assert loader.broken == 0
