"""What the paper's code does, in our words: PIL and torchvision's transforms, OpenCV's blur, a DataLoader."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from pipelines.benchmark.task import Task


class PaperCrops(Dataset):
    """Every crop of an image as a normalised float tensor ``(3, size, size)``."""

    def __init__(self, data: Path, recipe: AugmentConfig) -> None:
        self.beton = Beton(data)
        self.transforms = [pil_transform(recipe, spec) for spec in recipe.crops for _ in range(spec.count)]

    def __len__(self) -> int:
        return len(self.beton)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        image = Image.open(io.BytesIO(self.beton.encoded(index).data)).convert("RGB")
        return [transform(image) for transform in self.transforms]


def pil_transform(recipe: AugmentConfig, spec: CropSpec) -> Callable[[Image.Image], torch.Tensor]:
    """One crop: cut, jitter, grey, blur, solarise, flip, to a tensor."""
    colour = recipe.colour_of(spec)
    jitter = transforms.ColorJitter(colour.brightness, colour.contrast, colour.saturation, colour.hue)
    solarise = transforms.RandomSolarize(colour.solarise_threshold, p=colour.solarise_p)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(spec.size, scale=spec.scale, ratio=spec.ratio),
            transforms.RandomApply([jitter], p=colour.jitter_p),
            transforms.RandomGrayscale(p=colour.grey_p),
            transforms.RandomApply([OpenCVBlur(colour.blur_sigma)], p=colour.blur_p),
            *([solarise] if colour.solarise_p > 0 else []),
            transforms.RandomHorizontalFlip(p=recipe.flip_p),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )


class OpenCVBlur:
    """A Gaussian blur of 23 x 23 taps."""

    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        return Image.fromarray(cv2.GaussianBlur(np.asarray(image), (23, 23), random.uniform(*self.sigma)))


def batches(task: Task) -> Iterator[int]:
    """A DataLoader as the paper's code sets it up, its workers kept from one epoch to the next."""
    yield from dataloader_batches(PaperCrops(task.data, task.recipe), task)


def dataloader_batches(dataset: Dataset, task: Task) -> Iterator[int]:
    """Epochs of a map-style data set, for ever."""
    loader = DataLoader(
        dataset,
        batch_size=task.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=task.workers,
        persistent_workers=True,
        worker_init_fn=one_thread,
    )
    while True:
        for crops in loader:
            yield len(crops[0])


def one_thread(worker: int) -> None:
    """A worker is one thread: with the libraries' own threads the workers would fight for the cores."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
