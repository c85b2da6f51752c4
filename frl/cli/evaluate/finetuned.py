"""``frl evaluate TASK --how finetune``: networks that learn the task whole, in equally many steps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from frl.cli.evaluate.parts import Part
from frl.cli.finetuning import FinetuningFiles
from frl.config import EngineName
from frl.config.finetune import FinetuneConfig
from frl.evaluate.downstream import Examination
from frl.evaluate.few_labels import Answer, trials
from frl.evaluate.finetune import Check, save
from frl.evaluate.splits import Labels, Rows
from frl.evaluate.table import Row
from frl.printable import printable
from frl.runtime.distributed import World


class FinetunedRows:
    """Rows of the table, of one network after the other. To be closed.

    Args:
        examination: the task, the two sides and how much of them has labels.
        train: the side to learn from.
        test: the side to be judged on.
        config: already checked.
        place: this process among the ranks.
        folder: where fine-tuned networks and checkpoints are kept; None: nowhere.
        engine: what decodes the images.
    """

    def __init__(
        self,
        examination: Examination,
        train: Part,
        test: Part,
        config: FinetuneConfig,
        place: World,
        *,
        folder: Path | None,
        engine: EngineName,
    ) -> None:
        self.examination, self.place, self.folder = examination, place, folder
        self.files = FinetuningFiles(train, test, config, place, engine=engine)

    def __call__(self, name: str, arch: str, backbone: nn.Module) -> list[Row]:
        """A row for each number of labels.

        Args:
            name: what the table calls the network.
            arch: its whole name, such as ``resnet18-w16-nopool``.
            backbone: where every fine-tuning begins.
        """
        asked, rows = self.examination, []
        for labels in asked.labels:
            found = trials(
                asked.task,
                partial(self._answer, name, arch, backbone, labels),
                asked.train,
                asked.test,
                labels,
                asked.seeds,
                random=True,
            )
            features = f"fine-tuned, {self.files.config.head}"
            rows.append(Row(network=name, features=features, labels=str(labels), trials=tuple(found)))
        return rows

    def _answer(self, name: str, arch: str, backbone: nn.Module, labels: Labels, faces: Rows, seed: int) -> Answer:
        """Predictions of a fine-tuned copy, which is kept where there is a folder."""
        place = f"{name}, {labels}, seed {seed}"
        print(place, flush=True)
        here = self.folder and self.folder / re.sub(r"[^\w.%-]+", "-", place).strip("-")
        found = self.files.tune(backbone, self.examination.task, faces, seed=seed, folder=here, on_check=_tell)
        if here is not None and self.place.is_main:
            file = here.with_name(f"{here.name}.pt")
            specs, config = self.examination.train.specs, replace(self.files.config, seed=seed)
            save(file, found.network, arch=arch, task=self.examination.task, specs=specs, config=config)
            print(f"  {printable(file)}", flush=True)
        return Answer(found.predictions, f"step {found.step}")

    def close(self) -> None:
        """Stop the engines and close the files."""
        self.files.close()


def _tell(check: Check) -> None:
    judged = "" if check.score is None else f", held out {check.score.text}"
    print(f"  step {check.step:,}: loss {check.loss:.4f}{judged}", flush=True)


@contextmanager
def main_rank_speaks(place: World) -> Iterator[None]:
    """Within, only the main rank's output is seen."""
    if place.is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield
