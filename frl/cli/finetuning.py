"""Fine-tuning on files: the loaders of ``pipelines`` handed to ``frl.evaluate.finetune``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frl.config import DataConfig, EngineName
from frl.config.finetune import FinetuneConfig
from frl.evaluate.finetune import Check, Finetuned, Judged, finetune
from frl.evaluate.finetune.loop import precision_of
from frl.evaluate.held_out import held_out
from frl.runtime.distributed import World
from frl.runtime.numerics import exact_products
from frl.runtime.precision import uses_bf16
from frl.tasks.task import SupervisedTask, Truth
from pipelines.labelled import LabelledFaces


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a benchmark and how they are read.

    Attributes:
        train: the training data.
        test: the test data, which decide nothing.
        samples: of the training data, those with labels, ``(n,)``; None: all.
        engine: what decodes the images.
        workers: its threads; 0: the cores of this machine shared by its ranks.
    """

    train: Path
    test: Path
    samples: NDArray[np.int64] | None = None
    engine: EngineName = "threads"
    workers: int = 0


def finetune_on_files(
    backbone: nn.Module,
    task: SupervisedTask,
    files: Files,
    config: FinetuneConfig,
    world: World,
    *,
    folder: Path | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> Finetuned:
    """Fine-tune a copy of ``backbone`` on a task and predict the test images. A collective call.

    Args:
        backbone: images ``(B, 3, size, size)`` to pooled features.
        task: made of the training file's targets.
        files: the benchmark.
        config: the recipe.
        world: this process among the ranks.
        folder: where an interrupted run finds its checkpoints; None: nowhere.
        on_check: told of every check, on the main rank.

    Raises:
        FrlError: whatever is wrong with the files, the task or the options.
    """
    config.check()
    if world.device.type == "cuda":
        exact_products()
    with closing(open_faces(files.train, files, config, world, files.samples)) as train:
        part = (world.rank, world.size)
        subjects = train.betons.labels[train.samples]
        aside = held_out(subjects, config.validation, config.seed)
        if aside.sum() < world.size:  # every rank needs an image to look at
            aside[:] = False
        learned, held = train.samples[~aside], train.samples[aside]
        loader = train.training(
            learned,
            task.fields,
            batch_size=config.batch_size,
            seed=config.seed,
            rank=world.rank,
            world=world.size,
        )
        validation = None
        if len(held):
            batches = train.whole(held, batch_size=config.batch_size, part=part)
            validation = Judged(batches, truth_of(train, held))
        with closing(open_faces(files.test, files, replace(config, keep_decoded="off"), world)) as test:
            images = test.whole(test.samples, batch_size=config.batch_size, part=part)
            return finetune(
                backbone, task, loader, validation, images, config, world=world, folder=folder, on_check=on_check
            )


def open_faces(
    path: Path, files: Files, config: FinetuneConfig, world: World, samples: NDArray[np.int64] | None = None
) -> LabelledFaces:
    """The faces of one file as the network sees them.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if the engine is not installed, or an image does not decode.
    """
    return LabelledFaces(
        (path,),
        samples,
        size=config.size,
        augment=config.augment,
        device=world.device,
        dtype=torch.bfloat16 if uses_bf16(precision_of(config, world.device)) else torch.float32,
        keep_decoded=config.keep_decoded,
        data=DataConfig(data=(path,), engine=files.engine, workers=files.workers),
    )


def truth_of(faces: LabelledFaces, samples: NDArray[np.int64]) -> Truth:
    """All that is known of some samples of a file."""
    betons = faces.betons
    specs = {spec.name: spec for spec in betons.targets}
    return Truth(
        values={name: betons.target(name, samples) for name in specs},
        specs=specs,
        subjects=betons.labels[samples],
        sides=np.stack([betons.widths[samples], betons.heights[samples]], axis=1).astype(np.float64),
    )
