"""The GPU's tests run on every device that is here: on the CPU their logic is exercised, on a GPU they count."""

import dataclasses

import numpy as np
import pytest
import torch

from frl.config import AugmentConfig, CropSpec
from pipelines.augment.plan import Plan, draw

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
)
LEVELS = dataclasses.replace(AUGMENT, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
"""The same crops as grey levels."""


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> torch.device:
    """Each device in turn; the GPU is skipped where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device(request.param)


@pytest.fixture
def images() -> torch.Tensor:
    """(8, 64, 64, 3) uint8: smooth colours with some noise, few of them clipped."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64].astype(np.float32) / 64
    waves = [np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6)) for _ in range(24)]
    pixels = 128 + 90 * np.stack(waves).reshape(8, 3, 64, 64).transpose(0, 2, 3, 1) + rng.normal(0, 6, (8, 64, 64, 3))
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def plan(images) -> Plan:
    """Of all crops of all images."""
    return draw(AUGMENT, 5, 0, np.arange(len(images)), np.full((len(images), 2), 64))


def assert_close_to_crops_of(crops_of, views: list[torch.Tensor], images: torch.Tensor, plan: Plan) -> None:
    """Views of ``LEVELS`` are the crops that ``crops_of``, the reference, makes, but for rounding."""
    for i, image in enumerate(images.numpy()):
        expected = iter(enumerate(crops_of(image, plan, i, AUGMENT)))
        for view, spec in zip(views, AUGMENT.crops, strict=True):
            for crop in view.unflatten(0, (spec.count, -1))[:, i].cpu().permute(0, 2, 3, 1).numpy():
                v, levels = next(expected)
                difference = np.abs(crop - levels)
                # The reference rounds after resizing; the jitter stretches that by up to 1.8 in each of three steps.
                assert difference.mean() < 1.0
                assert difference.max() < (12 if plan.jitter[i, v] else 1.6)
