"""albumentationsx as its documentation shows it: a ``Compose`` for each resolution; decoded once by simplejpeg.

It runs on threads, like the hand-written contestant, which spares it a DataLoader's processes and copies; every thread
has pipelines of its own, for they keep state. Its blur is its default, Pillow's extended boxes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import albumentations as A  # noqa: N812 - as everybody calls it

from frl.config import AugmentConfig, CropSpec
from pipelines.benchmark.by_hand import Image, threaded_crops
from pipelines.benchmark.task import Task, around_one


def batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops."""
    yield from threaded_crops(task, Pipelines(task.recipe))


class Pipelines(threading.local):
    """A thread's own pipelines, one for each resolution."""

    def __init__(self, recipe: AugmentConfig) -> None:  # called again in every thread
        self.of_spec = {spec: pipeline(recipe, spec) for spec in recipe.crops}

    def __call__(self, image: Image, spec: CropSpec, out: Image) -> None:
        """See ``CropMaker``."""
        out[...] = self.of_spec[spec](image=image)["image"]


def pipeline(recipe: AugmentConfig, spec: CropSpec) -> A.Compose:
    """One crop: cut, jitter, grey, blur, solarise, flip; operations that never happen are left out."""
    colour = recipe.colour_of(spec)
    steps = [
        # bilinear, and by area where it shrinks
        A.RandomResizedCrop((spec.size, spec.size), spec.scale, spec.ratio, area_for_downscale="image"),
        A.ColorJitter(
            brightness_range=around_one(colour.brightness),
            contrast_range=around_one(colour.contrast),
            saturation_range=around_one(colour.saturation),
            hue_range=(-colour.hue, colour.hue),
            p=colour.jitter_p,
        ),
        A.ToGray(p=colour.grey_p),
        A.GaussianBlur(sigma_range=colour.blur_sigma, p=colour.blur_p),
        A.Solarize((colour.solarise_threshold / 255, colour.solarise_threshold / 255), p=colour.solarise_p),
        A.HorizontalFlip(p=recipe.flip_p),
    ]
    return A.Compose([step for step in steps if step.p > 0], telemetry=False)
