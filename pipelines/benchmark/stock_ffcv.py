"""ffcv's own Loader: one output a crop, each with ffcv's RandomResizedCrop decoder, so one decode a crop.

It has neither hue nor a blur with a width for each image, so it takes part with crops and flips alone. Its resize does
not enlarge smoothly; the figure is of its speed.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.benchmark.task import Task


def batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops."""
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.pipeline import PipelineSpec
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    pipelines: dict[str, PipelineSpec | None] = {"image": None, "label": None}
    specs = [spec for spec in task.recipe.crops for _ in range(spec.count)]
    for i, spec in enumerate(specs):
        decoder = RandomResizedCropRGBImageDecoder((spec.size, spec.size), spec.scale, spec.ratio)
        pipelines[f"crop{i}"] = PipelineSpec("image", decoder, [RandomHorizontalFlip(task.recipe.flip_p), ToTensor()])
    loader = Loader(
        str(task.data),
        batch_size=task.batch_size,
        num_workers=task.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        seed=0,
        pipelines=pipelines,
    )
    while True:
        for crops in loader:
            yield len(crops[0])
