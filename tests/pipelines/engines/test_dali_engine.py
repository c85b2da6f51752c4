"""The DALI engine, on the CPU: PIL's pixels, crops that follow the plan, and one broken image that costs one image."""

import gc
import logging
import os
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import Beton, BetonWriter
from frl.config import AugmentConfig, CropSpec, DataConfig
from frl.errors import LoaderError
from pipelines.augment.plan import LEVELS, draw
from pipelines.augment.reference import crops_of, solarised
from pipelines.engines.decoders import pil_decoder
from pipelines.engines.engine import Request
from pipelines.engines.recovery import Recovery
from pipelines.engines.threaded import ThreadedImages
from pipelines.loader import make_loader
from tests.pipelines.conftest import TWO_VIEWS, has_dali

if not has_dali():
    pytest.skip("DALI is not installed", allow_module_level=True)

from pipelines.engines.dali_engine import DALIImages  # noqa: E402, after the check that it can be imported

CPU = torch.device("cpu")
AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=1, scale=(0.14, 1.0)), CropSpec(size=24, count=1, scale=(0.05, 0.14)))
)
SIZES = [(48, 48), (64, 40), (33, 64), (17, 23)]


def requests(n: int, batch: int) -> list[Request]:
    order = np.arange(n)
    return [Request(samples=order[i : i + batch], share=slice(0, batch)) for i in range(0, n - batch + 1, batch)]


def step(*samples: int) -> Request:
    return Request(samples=np.array(samples), share=slice(0, len(samples)))


def plan_for(samples, sizes):
    return draw(AUGMENT, 7, 0, samples, sizes)


@pytest.fixture
def engine_of():
    """Open engines over files; closed when the test ends."""
    opened = []

    def make(path, **options) -> DALIImages:
        opened.append(DALIImages(Beton(path), **({"workers": 2, "device": CPU} | options)))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


class TestDecoding:
    def test_pixels_equal_pil_s(self, engine_of, write_beton):
        path = write_beton(SIZES * 3)
        steps = [*requests(12, 4), step(3, 1)]  # the last is smaller
        pil = ThreadedImages(Beton(path), pil_decoder(), workers=1)
        pairs = zip(engine_of(path).images(steps), pil.images(steps), strict=True)
        for ours, theirs in pairs:
            assert torch.equal(ours.images, theirs.images)
            for name in ("sizes", "samples", "labels"):
                a, b = getattr(ours, name), getattr(theirs, name)
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype

    def test_nobody_turns_images_by_their_exif(self, engine_of, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        Image.fromarray(np.arange(48 * 32 * 3, dtype=np.uint8).reshape(48, 32, 3)).save(tmp_path / "a.jpg", exif=exif)
        with BetonWriter(tmp_path / "a.beton", capacity=1) as writer:
            writer.append((tmp_path / "a.jpg").read_bytes(), 48, 32, 0, "a.jpg")
        image = engine_of(tmp_path / "a.beton").decode(step(0)).images[0, :48, :32]
        with Image.open(tmp_path / "a.jpg") as expected:
            np.testing.assert_array_equal(image.numpy(), np.asarray(expected))

    def test_raw_images_are_refused(self, tmp_path, write_beton):
        beton = Beton(write_beton(SIZES))
        beton.modes = np.ones_like(beton.modes)
        with pytest.raises(LoaderError, match="raw images.*--engine threads"):
            DALIImages(beton, workers=1, device=CPU)

    def test_without_dali_the_error_names_the_command(self, write_beton, monkeypatch):
        monkeypatch.setitem(sys.modules, "pipelines.engines.dali_engine", None)
        with pytest.raises(LoaderError, match="not installed.*pip install nvidia-dali-cuda130==2.4.0"):
            data = DataConfig(data=(write_beton(SIZES),), engine="dali")
            make_loader(data, AUGMENT, batch_size=2, seed=0, device=CPU)


class TestCrops:
    def test_follow_the_plan(self, engine_of, write_beton):
        """Against the reference: 8-bit rounding after each operation, and PIL's filter but for the crop's rim."""
        engine, n = engine_of(write_beton([(64, 64), (64, 48), (50, 64)] * 4)), 12
        (batch,) = engine.crops([step(*range(n))], AUGMENT.crops, plan_for)
        assert [tuple(crops.shape) for crops in batch.crops] == [(n, 40, 40, 3), (n, 24, 24, 3)]
        assert all(crops.dtype == torch.uint8 and crops.is_contiguous() for crops in batch.crops)
        decoded = engine.decode(step(*range(n)))
        plan = plan_for(decoded.samples, decoded.sizes)
        for i, (height, width) in enumerate(decoded.sizes):
            expected = crops_of(decoded.images[i, :height, :width].numpy(), plan, i, AUGMENT)
            for v, crop in enumerate(expected):
                difference = np.abs(batch.crops[v][i].numpy().astype(int) - crop)
                assert difference.mean() < (2 if plan.jitter[i, v] else 0.5)
                assert difference.max() <= (24 if plan.jitter[i, v] else 3)

    def test_views_of_one_size_have_their_own_colours(self, engine_of, write_beton):
        """Solarised last, on whole levels: bit for bit what PIL makes of the same crops without it."""
        engine, n = engine_of(write_beton([(64, 64)] * 12)), 12
        plan = draw(TWO_VIEWS, 7, 0, np.arange(n), np.full((n, 2), 64))
        bare = plan._replace(solarise=np.full_like(plan.solarise, LEVELS))
        made, before = (engine.crop(step(*range(n)), TWO_VIEWS.crops, lambda *_, p=p: p).crops for p in (plan, bare))
        assert [tuple(crops.shape) for crops in made] == [(n, 40, 40, 3), (n, 40, 40, 3), (n, 9, 9, 3)]
        assert 0 < (plan.solarise[:, 1] < LEVELS).sum() < n
        for v, crops in enumerate(made):
            for i, crop in enumerate(crops.numpy()):
                expected = solarised(before[v][i].numpy(), int(plan.solarise[i, v]))
                np.testing.assert_array_equal(crop, expected)

    def test_a_broken_image_is_replaced_with_a_plan_of_its_own(self, engine_of, write_beton):
        path = write_beton([(48, 48)] * 6, {1: bytes(900)})
        engine = engine_of(path, on_broken="replace")
        (batch,) = engine.crops([step(0, 1, 2)], AUGMENT.crops, plan_for)
        assert batch.samples.tolist() == [0, 2, 2] and batch.broken == 1
        for crops in batch.crops:
            assert torch.equal(crops[1], crops[2])


class TestBroken:
    """R5: one broken image costs one image."""

    def test_raises_naming_the_sample(self, engine_of, broken_beton):
        batches = engine_of(broken_beton).images(requests(12, 4))
        assert next(batches).samples.tolist() == [0, 1, 2, 3]
        with pytest.raises(LoaderError, match=r"sample 5 \(face_005.jpg\).*JPEG.*verify --deep"):
            next(batches)

    def test_replaces_and_counts(self, engine_of, broken_beton, caplog):
        engine = engine_of(broken_beton, on_broken="replace")
        for _ in range(2):  # the second time the sample is known
            with caplog.at_level(logging.WARNING):
                batches = list(engine.images(requests(12, 4)))
            assert [batch.broken for batch in batches] == [0, 1, 0]
            assert batches[1].samples.tolist() == [4, 6, 6, 7]
            assert torch.equal(batches[1].images[1], batches[1].images[2])
        assert "sample 5 (face_005.jpg)" in caplog.text and "replaced by sample 6" in caplog.text

    def test_an_empty_image_too(self, engine_of, write_beton, monkeypatch):
        engine = engine_of(write_beton([(48, 48)] * 4), on_broken="replace")
        encoded = engine.beton.encoded
        monkeypatch.setattr(engine.beton, "encoded", lambda i: encoded(i)[:0] if i == 2 else encoded(i))
        assert engine.decode(step(0, 1, 2, 3)).samples.tolist() == [0, 1, 3, 3]

    def test_several_in_one_step(self, engine_of, write_beton, as_jpeg):
        cut = as_jpeg(np.zeros((48, 48, 3), np.uint8))[:400]
        path = write_beton([(48, 48)] * 8, {1: cut, 4: bytes(900), 5: cut, 7: cut})
        batch = engine_of(path, on_broken="replace").decode(step(*range(8)))
        assert batch.samples.tolist() == [0, 2, 2, 3, 6, 6, 6, 0] and batch.broken == 4

    def test_a_step_without_a_good_sample_is_refused(self, engine_of, write_beton):
        engine = engine_of(write_beton([(48, 48)] * 3, dict.fromkeys(range(3), bytes(900))), on_broken="replace")
        with pytest.raises(LoaderError, match="no sample of a whole step decodes"):
            engine.decode(step(0, 1, 2))

    def test_dali_s_own_trouble_is_told(self, engine_of, write_beton, monkeypatch):
        engine = engine_of(write_beton(SIZES))
        monkeypatch.setattr(engine.decoder, "graph", lambda **options: _Failing())
        with pytest.raises(LoaderError, match="the decoder: out of memory on the device"):
            engine.decode(step(0, 1))


class _Failing:
    def feed_input(self, name, arrays):
        raise RuntimeError("Critical error in pipeline:\nencountered:\n\nout of memory on the device\nCurrent pipeline")


class TestRunning:
    def test_kept_batches_keep_their_values(self, engine_of, tiny_beton):
        """R7."""
        kept, copies = [], []
        for batch in engine_of(tiny_beton).images(requests(23, 2)):
            kept.append(batch.images)
            copies.append(batch.images.clone())
        assert all(map(torch.equal, kept, copies))

    def test_an_exception_in_the_thread_reaches_the_caller(self, engine_of, tiny_beton, monkeypatch):
        """R6."""
        engine = engine_of(tiny_beton)
        monkeypatch.setattr(Recovery, "choose", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(engine.images(requests(23, 4)))

    @pytest.mark.timeout(30)
    def test_a_consumer_that_stops_early_leaves_no_thread(self, engine_of, tiny_beton):
        engine = engine_of(tiny_beton)
        batches = engine.images(requests(23, 1) * 1000)
        next(batches)
        batches.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "frl-prefetch"]
        assert len(list(engine.images(requests(23, 4)))) == 5

    def test_close_ends_dali_s_threads(self, tiny_beton):
        before = len(os.listdir("/proc/self/task"))
        for _ in range(3):
            engine = DALIImages(Beton(tiny_beton), workers=2, device=CPU)
            engine.decode(step(0, 1))
            engine.close()
        gc.collect()
        deadline = time.monotonic() + 200
        while len(os.listdir("/proc/self/task")) > before + 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(os.listdir("/proc/self/task")) <= before + 1  # DALI keeps a thread of its own
