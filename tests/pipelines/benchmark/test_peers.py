"""The peers do what they are said to do: no straw men, and none that leaves out a part of the work."""

from __future__ import annotations

import dataclasses
import importlib

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F  # noqa: N812

from frl.config import AugmentConfig, CropSpec
from pipelines.benchmark import by_hand
from pipelines.benchmark.contestants import ENTRIES
from pipelines.benchmark.task import Task
from tests.pipelines.conftest import picture

SMALL = (CropSpec(size=40, count=2, scale=(0.14, 1)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))


def exactly(operation, image: np.ndarray, amount: float) -> np.ndarray:
    """torchvision's operation on floating-point levels."""
    levels = torch.from_numpy(image).permute(2, 0, 1) / 255
    return operation(levels, amount).permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize(
    ("ours", "reference", "amounts", "mean"),
    [
        (by_hand.brightness, F.adjust_brightness, (0.2, 0.9, 1.8), 1),
        (by_hand.contrast, F.adjust_contrast, (0.2, 0.9, 1.8), 1),
        (by_hand.saturation, F.adjust_saturation, (0.2, 0.9, 1.8), 1),
        (by_hand.hue, F.adjust_hue, (-0.2, 0.05, 0.2), 3),  # HSV in 8 bits
    ],
)
def test_the_hand_written_jitter_is_torchvision_s(ours, reference, amounts, mean) -> None:
    image = picture(48, 64)
    for amount in amounts:
        difference = np.abs(ours(image, amount).astype(float) - exactly(reference, image, amount))
        assert difference.mean() < mean


def test_its_boxes_are_torchvision_s() -> None:
    """Area and ratio are within the bounds, and the mean area is theirs."""
    spec, rng = CropSpec(size=8, count=1, scale=(0.1, 0.5)), by_hand.random.Random(0)
    boxes = np.array([by_hand.random_box(rng, 200, 200, spec) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 200).all() and (left + width <= 200).all()
    area, ratio = height * width / 200**2, width / height
    assert area.min() > 0.095 and area.max() < 0.505 and abs(area.mean() - 0.3) < 0.01
    assert ratio.min() > 0.74 and ratio.max() < 1.35


@pytest.mark.parametrize("name", ["by_hand", "albumentationsx"])
class TestCrops:
    def make(self, name: str, recipe: AugmentConfig) -> by_hand.CropMaker:
        module = pytest.importorskip(f"pipelines.benchmark.{name}")
        return by_hand.HandWritten(recipe, cv2.INTER_AREA) if name == "by_hand" else module.Pipelines(recipe)

    def made(self, name: str, recipe: AugmentConfig, image: np.ndarray, count: int = 60) -> np.ndarray:
        """``(count, 40, 40, 3)`` from one image; memory that nobody wrote to would show."""
        crop, out = self.make(name, recipe), np.full((count, 40, 40, 3), 77, np.uint8)
        for row in out:
            crop(image, recipe.crops[0], row)
        return out

    def test_a_whole_box_without_operations_is_the_resized_image(self, name: str) -> None:
        whole = (CropSpec(size=40, count=1, scale=(1, 1), ratio=(1, 1)),)
        recipe = dataclasses.replace(AugmentConfig(crops=whole).uncoloured, flip_p=0)
        expected = cv2.resize(picture(64, 64), (40, 40), interpolation=cv2.INTER_AREA)
        assert np.abs(self.made(name, recipe, picture(64, 64), 3).astype(int) - expected).max() <= 1

    def test_every_operation_happens_as_often_as_planned(self, name: str) -> None:
        plain = dataclasses.replace(AugmentConfig(crops=SMALL).uncoloured, flip_p=0)
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        grey = self.made(name, plain.with_colour(grey_p=0.5), noise)
        assert 10 < sum((np.ptp(crop.astype(int), axis=-1) <= 1).all() for crop in grey) < 50
        sharp = self.made(name, plain, noise).astype(float)
        blurred = self.made(name, plain.with_colour(blur_p=1.0, blur_sigma=(2.0, 2.0)), noise).astype(float)
        edges = [np.abs(np.diff(crops, axis=2)).mean() for crops in (sharp, blurred)]
        assert edges[1] < 0.5 * edges[0]
        jittered = self.made(name, plain.with_colour(jitter_p=1.0), noise)
        assert jittered.mean(axis=(1, 2, 3)).std() > 1.5 * sharp.mean(axis=(1, 2, 3)).std()


@pytest.mark.parametrize("name", ["by-hand", "by-hand-linear", "albumentationsx", "stage-decode", "floor-decode"])
def test_they_make_batches_for_ever(name, many_faces) -> None:
    entry = ENTRIES[name]
    if entry.missing():
        pytest.skip(f"{entry.needs} is not installed")
    module, function = entry.function.split(":")
    task = Task(data=many_faces, preset="quickstart", everything=True, workers=2, batch_size=8)
    batches = getattr(importlib.import_module(module), function)(task)
    assert [next(batches) for _ in range(12)] == [8] * 12
    batches.close()
