"""A training run on a real ``.beton``, for torchrun: ``python ranks_run.py BETON OUT MAX_STEPS STEP_DELAY``.

Every rank writes its process number to ``OUT/pids/RANK`` and a line ``[step, [sample, ...]]`` for every batch that its
trainer took to ``OUT/consumed.RANK.jsonl``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tiny_run import CONFIG

from frl.batch import Batch, Loader
from frl.config import DataConfig
from frl.runtime.distributed import world
from frl.training.build import build
from frl.training.train import train
from pipelines.loader import make_loader


class Witness:
    """Passes the batches of a loader on, and notes the samples that the trainer took."""

    def __init__(self, loader: Loader, notes: Path, delay: float) -> None:
        self.loader = loader
        self.notes = notes
        self.delay = delay
        self.samples, self.identities = loader.samples, loader.identities
        self.dataset_fingerprint, self.sampling = loader.dataset_fingerprint, loader.sampling
        self.placement = loader.placement

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(self.loader.epoch(epoch, start), epoch * len(self) + start):
            time.sleep(self.delay)
            with open(self.notes, "a") as stream:
                stream.write(json.dumps([step, batch.samples.tolist()]) + "\n")
            yield batch


def train_on(beton: Path, out: Path, max_steps: int, delay: float) -> None:
    """Train until ``max_steps``."""
    torch.set_num_threads(1)
    data = DataConfig(data=(beton,), workers=1)
    config = replace(CONFIG, data=data, out=out, max_steps=max_steps)
    with world("cpu") as place:
        (out / "pids").mkdir(parents=True, exist_ok=True)
        (out / "pids" / str(place.rank)).write_text(str(os.getpid()))
        loader = make_loader(
            data,
            config.augment,
            batch_size=config.optim.batch_size,
            seed=config.seed,
            device=place.device,
            rank=place.rank,
            world=place.size,
        )
        witness = Witness(loader, out / f"consumed.{place.rank}.jsonl", delay)
        train(build(config, witness, place))


if __name__ == "__main__":
    train_on(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
