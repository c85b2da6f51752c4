"""Fine-tuning on files: the loaders of ``pipelines`` handed to ``frl.evaluate.finetune``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from frl.config import DataConfig, EngineName
from frl.config.finetune import FinetuneConfig
from frl.evaluate.few_labels import Answer, Answering
from frl.evaluate.finetune import Check, Finetuned, Judged, finetune
from frl.evaluate.finetune.loop import precision_of
from frl.evaluate.splits import Rows, groups_of, labelled
from frl.runtime.distributed import World
from frl.runtime.numerics import exact_products
from frl.runtime.precision import uses_bf16
from frl.tasks.task import SupervisedTask, Truth
from pipelines.labelled import LabelledFaces

LEAST_HELD_OUT = 20
"""Faces that tell weights apart; of fewer none is held out, and the last weights are kept."""


class Side(Protocol):
    """Some faces of a file.

    Attributes:
        path: the file.
        rows: which of its faces.
        truth: what is known of these.
    """

    @property
    def path(self) -> Path: ...

    @property
    def rows(self) -> Rows: ...

    @property
    def truth(self) -> Truth: ...


class FinetuningFiles:
    """The faces of a benchmark, opened once for any number of fine-tunings. To be closed.

    Args:
        train: to learn from.
        test: to be judged on; nothing is chosen by them.
        config: already checked.
        world: this process among the ranks.
        engine: what decodes the images.
        workers: its threads; 0: the cores of this machine shared by its ranks.

    Raises:
        BetonError: if a file is missing or broken.
        LoaderError: if the engine is not installed, or an image does not decode.
    """

    def __init__(
        self,
        train: Side,
        test: Side,
        config: FinetuneConfig,
        world: World,
        *,
        engine: EngineName = "threads",
        workers: int = 0,
    ) -> None:
        self.train, self.test, self.config, self.world = train, test, config, world
        if world.device.type == "cuda":
            exact_products()
        self.faces, self.judged = (
            LabelledFaces(
                (side.path,),
                side.rows,
                size=config.size,
                augment=config.augment,
                device=world.device,
                dtype=torch.bfloat16 if uses_bf16(precision_of(config, world.device)) else torch.float32,
                keep_decoded=config.keep_decoded,
                data=DataConfig(data=(side.path,), engine=engine, workers=workers),
            )
            for side in (train, test)
        )

    def tune(
        self,
        backbone: nn.Module,
        task: SupervisedTask,
        rows: Rows,
        *,
        seed: int = 0,
        folder: Path | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Finetuned:
        """Fine-tune a copy of ``backbone`` and predict all test faces. A collective call.

        Args:
            backbone: images ``(B, 3, size, size)`` to pooled features.
            task: made of the training data's targets.
            rows: of the training data, those with labels; a part of them is held out to choose the weights by.
            seed: of that part, the order, the augmentation and the head.
            folder: where an interrupted run finds its checkpoints; None: nowhere.
            on_check: told of every check, on the main rank.

        Raises:
            FrlError: whatever is wrong with the task or the options.
        """
        config, world = replace(self.config, seed=seed), self.world
        learned, held = self._held_out(rows, seed)
        loader = self.faces.training(
            self.train.rows[learned],
            task.fields,
            batch_size=config.batch_size,
            seed=seed,
            rank=world.rank,
            world=world.size,
        )
        part = (world.rank, world.size)
        validation = None
        if len(held):
            images = self.faces.whole(self.train.rows[held], batch_size=config.batch_size, part=part)
            validation = Judged(images, self.train.truth.rows(held))
        test = self.judged.whole(self.test.rows, batch_size=config.batch_size, part=part)
        return finetune(backbone, task, loader, validation, test, config, world=world, folder=folder, on_check=on_check)

    def _held_out(self, rows: Rows, seed: int) -> tuple[Rows, Rows]:
        """Rows to learn from, and rows of other subjects to choose the weights by; none where they would be too few."""
        wanted = round(self.config.validation * len(rows))
        subjects = self.train.truth.subjects[rows]
        if wanted < LEAST_HELD_OUT or groups_of(subjects).max() == 0:
            return rows, rows[:0]
        held = labelled(subjects, wanted, seed)
        learned = np.setdiff1d(np.arange(len(rows)), held)
        return (rows[learned], rows[held]) if len(learned) else (rows, rows[:0])

    def answering(self, backbone: nn.Module, task: SupervisedTask, folder: Path | None = None) -> Answering:
        """Predictions after any part of the labels, for ``frl.evaluate.few_labels.trials``.

        Args:
            backbone: images to pooled features.
            task: made of the training data's targets.
            folder: where interrupted runs find their checkpoints, each in a folder of its own; None: nowhere.
        """

        def answer(rows: Rows, seed: int) -> Answer:
            name = f"{len(rows)}-{seed}-{hashlib.sha256(rows.tobytes()).hexdigest()[:8]}"
            found = self.tune(backbone, task, rows, seed=seed, folder=folder and folder / name)
            return Answer(found.predictions, f"step {found.step}")

        return answer

    def close(self) -> None:
        """Stop the engines and close the files."""
        self.faces.close()
        self.judged.close()
