"""Every objective on the same faces for the same time: what strangers' identities are worth in its features.

python scripts/bench/objectives.py faces.beton strangers.beton --seconds 100

Each trains its preset for CPUs with one thread for as many seconds of processor time; its schedule is fitted to that.
Judged by leave-one-out k-NN on people that it has never seen, beside the untrained network.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from bench_report import table

from frl import console
from frl.batch import Batch
from frl.config import DataConfig, RunConfig
from frl.evaluate import extract_features, leave_one_out, untrained
from frl.presets import preset
from frl.runtime.distributed import World
from frl.training.build import Run, build, with_precision
from frl.training.train import train
from pipelines.loader import MultiCropLoader, make_loader
from pipelines.whole_images import WholeImages

PRESETS = ("quickstart", *(f"{name}-cpu" for name in (
    "simclr", "moco-v2", "moco-v3", "byol", "simsiam", "dino", "barlow", "vicreg", "supervised"
)))  # fmt: skip
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
SIZE, NEIGHBOURS = 32, 20  # pixels; voters
WARM_UP, TRIED = 2, 10  # steps that do not count, and that are timed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train every objective for the same time, and judge it."""

    faces: tyro.conf.Positional[Path]
    """.beton to train on."""
    strangers: tyro.conf.Positional[Path]
    """Labelled .beton of other people."""
    seconds: float = 100
    """Processor time of each."""
    presets: tuple[str, ...] = PRESETS
    """Which."""
    seeds: int = 1
    """Runs of each."""


def accuracy(backbone: torch.nn.Module, config: RunConfig, strangers: Path) -> tuple[float, int]:
    """Of leave-one-out k-NN, and over how many images."""
    images = WholeImages(strangers, size=SIZE, batch_size=128, device="cpu", augment=config.augment, workers=1)
    try:
        found = leave_one_out(*extract_features(backbone, images), neighbours=NEIGHBOURS)
    finally:
        images.close()
    return found.accuracy, found.queries


def fitted(config: RunConfig, seconds: float) -> RunConfig:
    """``config`` with as many epochs as take so long, by a few steps on this machine."""
    loader = loader_of(config)
    run = build(config, loader, ALONE)
    batches = (batch for epoch in itertools.count() for batch in loader.epoch(epoch))
    for _ in range(WARM_UP):
        take(run, next(batches))
    began = time.process_time()
    for _ in range(TRIED):
        take(run, next(batches))
    steps, epoch = seconds * TRIED / (time.process_time() - began), len(loader)
    batches.close()
    loader.close()
    return replace(config, optim=replace(config.optim, epochs=max(1, round(steps / epoch))))


def take(run: Run, batch: Batch) -> None:
    """One step."""
    run.step(batch.views, batch.labels)


def loader_of(config: RunConfig) -> MultiCropLoader:
    """The batches of a run, decoded by one thread."""
    return make_loader(
        config.data,
        config.augment,
        batch_size=config.optim.batch_size,
        seed=config.seed,
        device=ALONE.device,
        dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32,
    )


def judged(name: str, seed: int, options: Options) -> tuple[float, float, int, float]:
    """Accuracy trained and untrained, steps, and processor seconds."""
    data = DataConfig(data=(options.faces,), workers=1)
    config = replace(preset(name).config, data=data, seed=seed, device="cpu", checkpoint_every_steps=10**9)
    config = fitted(with_precision(config, ALONE), options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        loader = loader_of(config)
        run = build(replace(config, out=Path(folder) / "run"), loader, ALONE)
        before, queries = accuracy(untrained(config.model.network, seed), config, options.strangers)
        began = time.process_time()
        train(run)
        seconds = time.process_time() - began
        loader.close()
    after, _ = accuracy(run.objective.backbone, config, options.strangers)
    error = math.sqrt(after * (1 - after) / queries)
    print(
        f"RESULT {name} seed {seed}: {after:.1%} +- {error:.1%}, untrained {before:.1%}, "
        f"{run.step.taken} steps, {seconds:.0f} s",
        flush=True,
    )
    return after, before, run.step.taken, seconds


def main() -> None:
    """Train, judge, print."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    rows = []
    for name in options.presets:
        runs = [judged(name, seed, options) for seed in range(options.seeds)]
        after, before, steps, seconds = (sum(column) / len(runs) for column in zip(*runs, strict=True))
        objective = preset(name).config.objective.name
        rows.append((f"`{objective}`", f"{after:.1%}", f"{before:.1%}", f"{steps:,.0f}", f"{seconds:.0f}"))
    print(table(("objective", "k-NN identity", "untrained", "steps", "processor seconds"), rows))


if __name__ == "__main__":
    sys.exit(console.run("bench objectives", main))
