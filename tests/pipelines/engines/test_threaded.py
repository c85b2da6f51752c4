"""The threaded engine, with each decoder: right pixels, own buffers, and an error or a count for what is broken."""

import errno
import gc
import io
import itertools
import logging
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from frl.errors import InternalError, LoaderError, MachineError
from pipelines.augment.plan import PlanFor, draw
from pipelines.augment.reference import crops_of
from pipelines.engines.decoders import Decoder
from pipelines.engines.engine import Request
from pipelines.engines.threaded import ThreadedImages
from pipelines.loader import DECODERS
from tests.pipelines.conftest import THREADED


@pytest.fixture(params=THREADED)
def decoder(request) -> Decoder:
    """Each of them in turn."""
    return DECODERS[request.param]()


def requests(n: int, batch: int) -> list[Request]:
    order = np.arange(n)
    return [Request(samples=order[i : i + batch], share=slice(0, batch)) for i in range(0, n - batch + 1, batch)]


def step(*samples: int) -> Request:
    return Request(samples=np.array(samples), share=slice(0, len(samples)))


@pytest.fixture
def engine_of(decoder):
    """Open engines over files; closed when the test ends."""
    opened = []

    def make(path, **options) -> ThreadedImages:
        options = {"workers": 2} | options
        opened.append(ThreadedImages(Beton(path), decoder, **options))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


class TestPixels:
    def test_images_of_any_size_fill_their_canvas(self, engine_of, write_beton):
        sizes = [(64, 64), (64, 40), (33, 64), (17, 23), (1, 1)]
        engine = engine_of(write_beton(sizes))
        batch = engine.assembler.images(step(4, 2, 0, 1, 3))
        assert batch.images.shape == (5, 64, 64, 3)
        assert batch.sizes.tolist() == [list(sizes[i]) for i in (4, 2, 0, 1, 3)]
        assert batch.samples.tolist() == [4, 2, 0, 1, 3]
        assert batch.labels.tolist() == [1, 2, 0, 1, 0]
        for image, sample, (height, width) in zip(batch.images.numpy(), batch.samples, batch.sizes, strict=True):
            with Image.open(io.BytesIO(engine.beton.encoded(int(sample)).tobytes())) as reference:
                difference = np.abs(image[:height, :width].astype(int) - np.asarray(reference).astype(int))
            assert difference.mean() < 2 and difference.max() <= 10  # the fast DCT, see test_decoders.py
            assert not image[height:].any() and not image[:, width:].any()

    def test_grey_jpegs_become_rgb(self, engine_of, write_beton, as_jpeg):
        grey = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))
        image = engine_of(write_beton([(48, 48)], {0: as_jpeg(grey)})).assembler.images(step(0)).images[0]
        assert torch.equal(image[..., 0], image[..., 2])
        assert (image[..., 1].int() - torch.from_numpy(grey.astype(int))).abs().max() <= 4

    @pytest.mark.parametrize("workers", [1, 3])
    def test_any_number_of_threads_gives_the_same_batches(self, engine_of, tiny_beton, workers):
        expected = engine_of(tiny_beton).assembler.images(step(*range(23))).images
        batches = list(engine_of(tiny_beton, workers=workers).images(requests(23, 4)))
        assert len(batches) == 5
        assert torch.equal(torch.cat([batch.images for batch in batches]), expected[:20])


AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
)


def plan_for(epoch: int) -> PlanFor:
    return partial(draw, AUGMENT, 3, epoch)


class TestCrops:
    def test_are_those_of_the_decoded_images(self, engine_of, write_beton):
        engine = engine_of(write_beton([(64, 64), (64, 40), (33, 64), (17, 23), (1, 1)]))
        request = step(4, 2, 0, 1, 3)
        decoded, cropped = engine.assembler.images(request), engine.assembler.crops(request, AUGMENT.crops, plan_for(2))
        assert [tuple(crops.shape) for crops in cropped.crops] == [(10, 40, 40, 3), (15, 24, 24, 3)]
        assert all(crops.is_contiguous() and crops.dtype == torch.uint8 for crops in cropped.crops)
        plan = draw(AUGMENT, 3, 2, decoded.samples, decoded.sizes)
        for i, (height, width) in enumerate(decoded.sizes):
            expected = crops_of(decoded.images[i, :height, :width].numpy(), plan, i, AUGMENT)
            made = [crop.numpy() for crops in cropped.crops for crop in crops[i::5]]
            for ours, reference in zip(made, expected, strict=True):
                assert np.abs(ours.astype(int) - reference).mean() < 1

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_do_not_depend_on_the_number_of_threads(self, engine_of, tiny_beton, workers):
        expected = engine_of(tiny_beton, workers=3).assembler.crops(step(*range(20)), AUGMENT.crops, plan_for(0)).crops
        batches = list(engine_of(tiny_beton, workers=workers).crops(requests(20, 5), AUGMENT.crops, plan_for(0)))
        for place, whole in enumerate(expected):
            parts = [batch.crops[place].unflatten(0, (-1, 5)) for batch in batches]
            assert torch.equal(torch.cat(parts, dim=1).flatten(0, 1), whole)

    @pytest.mark.timeout(20)
    def test_a_broken_sample_is_named_or_replaced_with_a_plan_of_its_own(self, engine_of, broken_beton):
        with pytest.raises(LoaderError, match=r"sample 5 \(face_005.jpg\)"):
            list(engine_of(broken_beton).crops(requests(12, 4), AUGMENT.crops, plan_for(0)))
        engine = engine_of(broken_beton, on_broken="replace")
        batch = engine.assembler.crops(step(4, 5, 6, 7), AUGMENT.crops, plan_for(0))
        assert batch.samples.tolist() == [4, 6, 6, 7] and batch.broken == 1
        assert all(torch.equal(crops[1::4], crops[2::4]) for crops in batch.crops)

    def test_kept_batches_keep_their_values(self, engine_of, tiny_beton):
        """R7."""
        kept, copies = [], []
        for batch in engine_of(tiny_beton).crops(requests(23, 2), AUGMENT.crops, plan_for(0)):
            kept.append(batch)
            copies.append([crops.clone() for crops in batch.crops])
        gc.collect()
        for batch, copied in zip(kept, copies, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch.crops, copied, strict=True))


ZEROS = bytes(900)


class TestBroken:
    """R5: never a black or stale image."""

    @pytest.mark.timeout(10)
    def test_raises_naming_the_sample(self, engine_of, broken_beton):
        engine = engine_of(broken_beton)
        batches = engine.images(requests(12, 4))
        assert next(batches).samples.tolist() == [0, 1, 2, 3]
        with pytest.raises(LoaderError, match=r"sample 5 \(face_005.jpg\).*JPEG.*verify --deep"):
            next(batches)

    def test_replaces_and_counts(self, engine_of, broken_beton, caplog):
        engine = engine_of(broken_beton, on_broken="replace")
        with caplog.at_level(logging.WARNING):
            batches = list(engine.images(requests(12, 4)))
        assert [batch.broken for batch in batches] == [0, 1, 0]
        assert batches[1].samples.tolist() == [4, 6, 6, 7]
        assert batches[1].labels.tolist() == [1, 0, 0, 1]
        assert torch.equal(batches[1].images[1], batches[1].images[2])
        assert "sample 5 (face_005.jpg)" in caplog.text and "replaced by sample 6" in caplog.text

    def test_the_replacement_does_not_depend_on_the_number_of_ranks(self, engine_of, write_beton):
        engine = engine_of(write_beton([(48, 48)] * 8, {3: ZEROS, 4: ZEROS, 7: ZEROS}), on_broken="replace")
        whole = engine.assembler.images(step(*range(8)))
        assert whole.samples.tolist() == [0, 1, 2, 5, 5, 5, 6, 0]
        for world in (2, 4):
            shares = [slice(r * 8 // world, (r + 1) * 8 // world) for r in range(world)]
            parts = [engine.assembler.images(Request(samples=np.arange(8), share=share)) for share in shares]
            assert np.concatenate([part.samples for part in parts]).tolist() == whole.samples.tolist()
            assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
            assert sum(part.broken for part in parts) == 3

    def test_nothing_of_a_broken_image_is_left_around_a_smaller_replacement(self, engine_of, write_beton, as_jpeg):
        noise = as_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        path = write_beton([(64, 64), (20, 30), (64, 64)], {0: noise[: len(noise) // 2]})
        batch = engine_of(path, on_broken="replace").assembler.images(step(0, 1, 2))
        assert batch.samples.tolist() == [1, 1, 2]
        assert batch.sizes.tolist() == [[20, 30], [20, 30], [64, 64]]
        assert torch.equal(batch.images[0], batch.images[1])
        assert not batch.images[0, 20:].any() and not batch.images[0, :, 30:].any()

    def test_a_step_without_a_good_sample_is_refused(self, engine_of, write_beton):
        engine = engine_of(write_beton([(48, 48)] * 3, dict.fromkeys(range(3), ZEROS)), on_broken="replace")
        with pytest.raises(LoaderError, match="no sample of a whole step decodes"):
            engine.assembler.images(step(0, 1, 2))


class TestThreads:
    @pytest.mark.timeout(10)
    @pytest.mark.parametrize("way", ["images", "crops"])
    def test_an_exception_in_a_thread_reaches_the_caller(self, engine_of, tiny_beton, monkeypatch, way):
        """R6: stock ffcv blocks for ever here."""
        engine = engine_of(tiny_beton)
        encoded = engine.beton.encoded

        def failing(sample):
            if sample == 9:
                raise OSError("the disk is on fire")
            return encoded(sample)

        monkeypatch.setattr(engine.beton, "encoded", failing)
        with pytest.raises(MachineError, match=r"sample 9 .*the disk is on fire"):
            list(run(engine, way, requests(23, 4)))

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
    def test_no_sample_is_blamed_for_the_machine_or_for_us(self, engine_of, tiny_beton, error, kind, on_broken):
        """Nor replaced by another, which would hide it."""
        engine = engine_of(tiny_beton, on_broken=on_broken)

        def fail(*_):
            raise error

        engine.decoder = fail
        with pytest.raises(kind) as caught:
            list(engine.images(requests(23, 4)))
        assert "verify" not in str(caught.value).partition("Traceback")[0]

    @pytest.mark.timeout(10)
    def test_an_exception_in_the_requests_reaches_the_caller(self, engine_of, tiny_beton):
        def failing():
            yield step(0, 1)
            raise KeyError("no such epoch")

        batches = engine_of(tiny_beton).images(failing())
        next(batches)
        with pytest.raises(KeyError, match="no such epoch"):
            next(batches)

    def test_kept_batches_keep_their_values(self, engine_of, tiny_beton):
        """R7: stock ffcv overwrites them."""
        engine = engine_of(tiny_beton, ahead=2)
        kept, copies = [], []
        for batch in itertools.islice(engine.images(requests(23, 2) * 2), 20):
            kept.append(batch)
            copies.append(batch.images.clone())
        gc.collect()
        assert all(torch.equal(batch.images, copy) for batch, copy in zip(kept, copies, strict=True))
        assert len({batch.images.data_ptr() for batch in kept}) == 20

    @pytest.mark.timeout(30)
    @pytest.mark.parametrize("ending", ["close", "garbage collection", "exception"])
    def test_a_consumer_that_stops_early_ends_the_thread(self, engine_of, tiny_beton, ending):
        engine = engine_of(tiny_beton)
        before = prefetch_threads()
        batches = engine.images(requests(23, 1) * 1000)
        next(batches)
        assert prefetch_threads() == before + 1
        if ending == "close":
            batches.close()
        elif ending == "garbage collection":
            del batches
            gc.collect()
        else:
            with pytest.raises(ZeroDivisionError):
                batches.throw(ZeroDivisionError)
        deadline = time.monotonic() + 200
        while prefetch_threads() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert prefetch_threads() == before
        assert len(list(engine.images(requests(23, 4)))) == 5

    def test_decodes_no_further_ahead_than_told(self, engine_of, tiny_beton):
        taken = []

        def counted():
            for request in requests(23, 1):
                taken.append(request)
                yield request

        batches = engine_of(tiny_beton, ahead=2).images(counted())
        next(batches)
        time.sleep(0.5)
        assert len(taken) <= 1 + 2 + 2 + 1  # handed over, waiting, being made, taken for the next
        batches.close()


def run(engine: ThreadedImages, way: str, requests):
    return engine.images(requests) if way == "images" else engine.crops(requests, AUGMENT.crops, plan_for(0))


def prefetch_threads() -> int:
    return sum(thread.name == "frl-prefetch" for thread in threading.enumerate())
