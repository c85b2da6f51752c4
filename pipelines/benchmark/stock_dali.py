"""DALI's stock operators on the CPU: one decode, and its own crop, colour twist, blur and flip for each crop.

``color_twist`` is not torchvision's jitter (a fixed order, another pivot of the contrast, YIQ hue).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nvidia.dali import fn, pipeline_def
from nvidia.dali import types as dali_types

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from pipelines.benchmark.task import Task, around_one

types: Any = dali_types  # filled at run time, out of a type checker's sight


def batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops."""
    pipeline = crops_pipeline(
        task.data,
        task.recipe,
        batch_size=task.batch_size,
        num_threads=task.workers,
        device_id=None,
        prefetch_queue_depth=2,
        enable_conditionals=True,
        seed=0,
    )
    pipeline.build()
    while True:
        yield len(pipeline.run()[0])


def encoded_batches(data: Path, batch_size: int) -> Iterator[list[np.ndarray]]:
    """JPEGs straight from the mapped file, in random order, for ever."""
    beton, random = Beton(data), np.random.default_rng(0)
    while True:
        order = random.permutation(len(beton))
        for first in range(0, len(order) - batch_size + 1, batch_size):
            yield [beton.encoded(int(i)) for i in order[first : first + batch_size]]


@pipeline_def
def crops_pipeline(data: Path, recipe: AugmentConfig) -> tuple[Any, ...]:
    """The graph: ``recipe.total_crops`` outputs."""
    from nvidia.dali.pipeline import Pipeline

    size = Pipeline.current().max_batch_size
    jpegs = fn.external_source(source=encoded_batches(data, size), batch=True, no_copy=False, dtype=types.UINT8)
    images = fn.decoders.image(jpegs, device="cpu", output_type=types.RGB)
    return tuple(crop(images, recipe, spec) for spec in recipe.crops for _ in range(spec.count))


def crop(images: Any, recipe: AugmentConfig, spec: CropSpec) -> Any:
    """One crop of every image. Branches run for the images concerned only."""
    crops = fn.random_resized_crop(
        images,
        size=(spec.size, spec.size),
        random_area=spec.scale,
        random_aspect_ratio=spec.ratio,
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
    colour = recipe.colour_of(spec)
    if colour.jitter_p > 0:
        if fn.random.coin_flip(probability=colour.jitter_p, dtype=types.BOOL):
            crops = fn.color_twist(
                crops,
                brightness=fn.random.uniform(range=around_one(colour.brightness)),
                contrast=fn.random.uniform(range=around_one(colour.contrast)),
                saturation=fn.random.uniform(range=around_one(colour.saturation)),
                hue=fn.random.uniform(range=(-360 * colour.hue, 360 * colour.hue)),
            )
        else:
            crops = crops
    if colour.grey_p > 0:
        if fn.random.coin_flip(probability=colour.grey_p, dtype=types.BOOL):
            crops = fn.saturation(crops, saturation=0.0)
        else:
            crops = crops
    if colour.blur_p > 0:
        if fn.random.coin_flip(probability=colour.blur_p, dtype=types.BOOL):
            crops = fn.gaussian_blur(crops, sigma=fn.random.uniform(range=colour.blur_sigma))
        else:
            crops = crops
    if colour.solarise_p > 0:
        if fn.random.coin_flip(probability=colour.solarise_p, dtype=types.BOOL):
            bright = fn.cast(crops >= colour.solarise_threshold, dtype=types.UINT8)
            crops = crops ^ (bright * types.Constant(255).uint8())
        else:
            crops = crops
    return fn.flip(crops, horizontal=fn.random.coin_flip(probability=recipe.flip_p))
