"""The FFCV engine: ffcv's own pixels, our crops within its loader, and its absence."""

import importlib.util
from functools import partial

import numpy as np
import pytest
import torch

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from frl.errors import LoaderError
from pipelines.augment.plan import draw
from pipelines.engines import ffcv_engine
from pipelines.engines.engine import Request
from pipelines.engines.ffcv_engine import libffcv_decoder, stock_crops
from pipelines.engines.threaded import ThreadedImages
from pipelines.loader import DECODERS
from tests.pipelines.conftest import THREADED

if importlib.util.find_spec("ffcv") is None:
    pytest.skip("ffcv is not installed", allow_module_level=True)

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
)


def requests(n: int, batch: int) -> list[Request]:
    order = np.arange(n)
    return [Request(samples=order[i : i + batch], share=slice(0, batch)) for i in range(0, n - batch + 1, batch)]


@pytest.fixture
def engine_of():
    """Open engines over files; closed when the test ends."""
    opened = []

    def make(path, name="ffcv") -> ThreadedImages:
        opened.append(ThreadedImages(Beton(path), DECODERS[name](), workers=2))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.mark.parametrize("name", ["threads", "ffcv"])
def test_pixels_equal_stock_ffcv(engine_of, stock_loader, tiny_beton, name):
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import OrderOption

    stock = stock_loader(
        str(tiny_beton),
        batch_size=23,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        pipelines={"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]},
    )
    images, labels = next(iter(stock))
    ours = engine_of(tiny_beton, name).assembler.images(requests(23, 23)[0])
    np.testing.assert_array_equal(ours.images.numpy(), images)
    np.testing.assert_array_equal(ours.labels, labels[:, 0])


@pytest.mark.parametrize("name", THREADED)
def test_raw_images_of_stock_ffcv_are_copied(engine_of, tmp_path, name):
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 32, 3), dtype=np.uint8)
    path = tmp_path / "raw.beton"
    fields = {"image": RGBImageField(write_mode="raw"), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(list(zip(pictures, range(6), strict=True)))
    batch = engine_of(path, name).assembler.images(requests(6, 6)[0])
    np.testing.assert_array_equal(batch.images.numpy()[:, :20], pictures)
    assert not batch.images.numpy()[:, 20:].any()


def test_within_a_stock_loader_are_the_same(engine_of, stock_loader, write_beton):
    from ffcv.loader import OrderOption

    path = write_beton([(48, 48), (40, 31), (64, 17)] * 4)
    engine = engine_of(path)
    pipelines, set_epoch = stock_crops(engine, AUGMENT, seed=3)
    loader = stock_loader(str(path), batch_size=4, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
    for epoch in (0, 1):
        set_epoch(epoch)
        ours = engine.crops(requests(12, 4), AUGMENT.crops, partial(draw, AUGMENT, 3, epoch))
        for (labels, *stock), batch in zip(loader, ours, strict=True):
            np.testing.assert_array_equal(labels.flatten(), batch.labels)
            assert all(torch.equal(a, b) for a, b in zip(stock, batch.crops, strict=True))


def test_missing_ffcv_names_the_remedy(monkeypatch):
    monkeypatch.setattr(ffcv_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LoaderError, match=r"ffcv: it is not installed. Run bash scripts/setup.sh.*--engine threads"):
        libffcv_decoder()
