"""From a file to views on the device, with each engine that is installed."""

import importlib.util

import cv2
import numpy as np
import pytest
import torch

from frl.beton import Beton, BetonWriter
from frl.config import DataConfig
from pipelines.engines.engine import Request
from pipelines.loader import make_loader, open_engine
from tests.gpu.conftest import AUGMENT

ENGINES = {"threads": "simplejpeg", "ffcv": "ffcv", "torch": "torch", "dali": "nvidia.dali"}


def installed(package: str) -> bool:
    parent = package.partition(".")[0]
    return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(package) is not None


@pytest.fixture(params=ENGINES)
def data(request, images, tmp_path) -> DataConfig:
    """Eight JPEGs, read by each engine in turn."""
    if not installed(ENGINES[request.param]):
        pytest.skip(f"{request.param} is not installed")
    path = tmp_path / "faces.beton"
    with BetonWriter(path, capacity=len(images)) as writer:
        for i, image in enumerate(images.numpy()):
            encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1]
            writer.append(encoded.tobytes(), 64, 64, i, f"{i}.jpg")
    return DataConfig(data=(path,), engine=request.param, workers=1)


def test_batches_reach_the_device(device, data):
    loader = make_loader(
        data, AUGMENT, batch_size=4, seed=0, device=device, dtype=torch.bfloat16, compile=device.type == "cuda"
    )
    batches = list(loader.epoch(0))
    loader.close()
    assert len(batches) == 2
    for batch in batches:
        assert [tuple(view.shape) for view in batch.views] == [(8, 3, 40, 40), (12, 3, 24, 24)]
        for tensor in (*batch.views, batch.samples, batch.labels):
            assert tensor.device.type == device.type
        assert all(view.dtype == torch.bfloat16 for view in batch.views)
    assert sorted(torch.cat([batch.samples for batch in batches]).tolist()) == list(range(8))


def test_images_are_copied_from_page_locked_memory(device, data):
    """Only such copies run beside the training; DALI's batches are on the device already."""
    with Beton(data.data[0]) as beton:
        engine = open_engine(beton, data, device)
        (batch,) = engine.images([Request(samples=np.arange(8), share=slice(0, 8))])
        if device.type == "cuda":
            assert batch.images.is_cuda if data.engine == "dali" else batch.images.is_pinned()
        else:
            assert batch.images.device.type == "cpu"
        engine.close()


def test_the_device_s_views_agree_with_the_cpu_s(device, data):
    """The whole way: decoders differ by some levels, the plan by nothing."""

    def views(on: torch.device) -> list[torch.Tensor]:
        loader = make_loader(data, AUGMENT, batch_size=8, seed=0, device=on, compile=False)
        (batch,) = loader.epoch(0)
        loader.close()
        return [view.cpu().float() for view in batch.views]

    for ours, cpu in zip(views(device), views(torch.device("cpu")), strict=True):
        assert (ours - cpu).abs().mean() * 0.225 * 255 < 3
