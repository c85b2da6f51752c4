"""torchvision's transforms v2 on uint8 tensors, decoded by torchvision, in a DataLoader."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from pipelines.benchmark.paper import dataloader_batches
from pipelines.benchmark.task import Task


class TensorCrops(Dataset):
    """Every crop of an image as a uint8 tensor ``(3, size, size)``."""

    def __init__(self, data: Path, recipe: AugmentConfig) -> None:
        self.beton = Beton(data)
        self.transforms = [tensor_transform(recipe, spec) for spec in recipe.crops for _ in range(spec.count)]

    def __len__(self) -> int:
        return len(self.beton)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        with warnings.catch_warnings(action="ignore"):  # the mapping is read-only, and so is the decoder
            image = decode_jpeg(torch.from_numpy(self.beton.encoded(index)), mode=ImageReadMode.RGB)
        return [transform(image) for transform in self.transforms]


def tensor_transform(recipe: AugmentConfig, spec: CropSpec) -> v2.Transform:
    """One crop: cut, jitter, grey, blur, solarise, flip."""
    colour = recipe.colour_of(spec)
    jitter = v2.ColorJitter(colour.brightness, colour.contrast, colour.saturation, colour.hue)
    solarise = v2.RandomSolarize(colour.solarise_threshold, p=colour.solarise_p)
    return v2.Compose(
        [
            v2.RandomResizedCrop(spec.size, scale=spec.scale, ratio=spec.ratio, antialias=True),
            v2.RandomApply([jitter], p=colour.jitter_p),
            v2.RandomGrayscale(p=colour.grey_p),
            v2.RandomApply([v2.GaussianBlur(23, colour.blur_sigma)], p=colour.blur_p),
            *([solarise] if colour.solarise_p > 0 else []),
            v2.RandomHorizontalFlip(p=recipe.flip_p),
        ]
    )


def batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops."""
    yield from dataloader_batches(TensorCrops(task.data, task.recipe), task)
