"""The PyTorch engine: the FFCV engine's batches within a stated tolerance, and workers that may die."""

import errno
import importlib.util
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import Beton, BetonWriter
from frl.config import AugmentConfig, CropSpec
from frl.errors import InternalError, LoaderError, MachineError
from pipelines.augment.plan import draw
from pipelines.engines import torch_engine
from pipelines.engines.engine import Request
from pipelines.engines.torch_engine import TorchImages

needs_ffcv = pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="ffcv is not installed")


def requests(n: int, batch: int) -> list[Request]:
    order = np.random.default_rng(0).permutation(n)
    return [Request(samples=order[i : i + batch], share=slice(0, batch)) for i in range(0, n - batch + 1, batch)]


def in_order(n: int, batch: int) -> list[Request]:
    return [Request(samples=np.arange(i, i + batch), share=slice(0, batch)) for i in range(0, n, batch)]


def assert_within_tolerance(path: Path) -> None:
    """Fast against accurate DCT: 1.25 grey levels on average, 10 at most (measured on 900 faces: 1.0 and 9)."""
    from pipelines.engines.ffcv_engine import FFCVImages

    beton = Beton(path)
    fast, accurate = FFCVImages(beton, workers=1), TorchImages(beton, workers=2)
    steps = requests(len(beton), 4)
    for ours, theirs in zip(fast.images(steps), accurate.images(steps), strict=True):
        difference = (ours.images.int() - theirs.images.int()).abs()
        assert difference.max() <= 10
        assert difference.float().mean() < 1.25
        for name in ("sizes", "samples", "labels"):
            a, b = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    fast.close()


@needs_ffcv
def test_batches_equal_the_ffcv_engine_s_within_tolerance(write_beton):
    assert_within_tolerance(write_beton([(48, 48), (64, 48), (31, 64), (17, 9)] * 5))


@needs_ffcv
def test_real_faces_equal_the_ffcv_engine_s_within_tolerance(real_faces, tmp_path):
    paths = sorted((real_faces / "ytf_frames192").rglob("*.jpg"))[:24]
    with BetonWriter(tmp_path / "faces.beton", capacity=len(paths)) as writer:
        for path in paths:
            with Image.open(path) as image:
                writer.append(path.read_bytes(), image.height, image.width, -1, path.name)
    assert_within_tolerance(tmp_path / "faces.beton")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_batches(tiny_beton, workers):
    beton = Beton(tiny_beton)
    expected = list(TorchImages(beton, workers=2).images(requests(23, 4)))
    batches = list(TorchImages(beton, workers=workers).images(requests(23, 4)))
    assert len(batches) == 5
    for a, b in zip(expected, batches, strict=True):
        assert torch.equal(a.images, b.images)
        np.testing.assert_array_equal(a.samples, b.samples)


@pytest.mark.timeout(30)
def test_a_broken_image_is_named(broken_beton):
    """R5."""
    with pytest.raises(LoaderError, match=r"sample 5 \(face_005.jpg\).*JPEG.*verify --deep"):
        list(TorchImages(Beton(broken_beton), workers=2).images(in_order(12, 4)))


def test_a_broken_image_is_replaced_and_counted(broken_beton):
    engine = TorchImages(Beton(broken_beton), workers=2, on_broken="replace")
    batches = list(engine.images(in_order(12, 4)))
    assert [batch.broken for batch in batches] == [0, 1, 0]
    assert batches[1].samples.tolist() == [4, 6, 6, 7]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("way", ["images", "crops"])
def test_an_exception_in_a_worker_reaches_the_caller(tiny_beton, monkeypatch, way):
    """R6."""
    beton, recipe = Beton(tiny_beton), AugmentConfig()
    monkeypatch.setattr(beton, "encoded", lambda sample: 1 / 0)
    engine, steps = TorchImages(beton, workers=1), requests(23, 4)
    batches = (
        engine.images(steps) if way == "images" else engine.crops(steps, recipe.crops, partial(draw, recipe, 0, 0))
    )
    with pytest.raises(InternalError, match=r"(?s)decoding .*sample \d+ .*ZeroDivisionError.*a fault of frl"):
        list(batches)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("on_broken", ["raise", "replace"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EIO, "Input/output error"), MachineError),
        (OSError(errno.ENOSPC, "No space left on device"), MachineError),
        (OSError(errno.EMFILE, "Too many open files"), MachineError),
        (MemoryError(), MachineError),
        (KeyError("width"), InternalError),
        (AttributeError("no attribute"), InternalError),
    ],
)
def test_no_sample_is_blamed_for_the_machine_or_for_us(tiny_beton, monkeypatch, error, kind, on_broken):
    """Nor replaced by another, which would hide it."""
    beton = Beton(tiny_beton)

    def fail(sample):
        raise error

    monkeypatch.setattr(beton, "encoded", fail)
    with pytest.raises(kind) as caught:
        list(TorchImages(beton, workers=1, on_broken=on_broken).images(requests(23, 4)))
    assert "verify" not in str(caught.value).partition("Traceback")[0]


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError()])
def test_a_decoder_without_memory_says_nothing_of_the_data(tiny_beton, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch_engine.Image, "open", fail)
    with pytest.raises(type(error)):
        torch_engine.decode_jpeg(Beton(tiny_beton).encoded(0), 8, 8)


@pytest.mark.timeout(20)
def test_a_killed_worker_reaches_the_caller(tiny_beton, monkeypatch):
    """R6: the DataLoader notices, and the user reads what to do."""
    beton = Beton(tiny_beton)
    parent = os.getpid()

    def die(sample):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(beton, "encoded", die)
    began = time.monotonic()
    with pytest.raises(LoaderError, match="a decoding process.*--workers"):
        list(TorchImages(beton, workers=1).images(requests(23, 4)))
    assert time.monotonic() - began < 10


def test_kept_batches_keep_their_values(tiny_beton):
    """R7."""
    kept, copies = [], []
    for batch in TorchImages(Beton(tiny_beton), workers=1).images(in_order(16, 2)):
        kept.append(batch)
        copies.append(batch.images.clone())
    assert all(torch.equal(batch.images, copy) for batch, copy in zip(kept, copies, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_crops_depend_on_neither_workers_nor_batches(tiny_beton):
    """R7 too: the first batches are compared after the last has come."""
    recipe = AugmentConfig(
        crops=(CropSpec(size=24, count=2, scale=(0.14, 1)), CropSpec(size=16, count=1, scale=(1, 1)))
    )
    plan_for, beton = partial(draw, recipe, 3, 0), Beton(tiny_beton)
    (whole,) = TorchImages(beton, workers=1).crops(in_order(20, 20), recipe.crops, plan_for)
    batches = list(TorchImages(beton, workers=2).crops(in_order(20, 5), recipe.crops, plan_for))
    for place, expected in enumerate(whole.crops):
        parts = [batch.crops[place].unflatten(0, (-1, 5)) for batch in batches]
        assert torch.equal(torch.cat(parts, dim=1).flatten(0, 1), expected)


@pytest.mark.timeout(30)
def test_a_broken_image_has_its_crops_replaced(broken_beton):
    recipe = AugmentConfig(crops=(CropSpec(size=24, count=2, scale=(0.14, 1)),))
    engine = TorchImages(Beton(broken_beton), workers=1, on_broken="replace")
    batches = list(engine.crops(in_order(12, 4), recipe.crops, partial(draw, recipe, 3, 0)))
    assert batches[1].samples.tolist() == [4, 6, 6, 7] and batches[1].broken == 1
    assert torch.equal(batches[1].crops[0][1::4], batches[1].crops[0][2::4])
