"""Every objective on the same faces for the same time or steps: what strangers' identities are worth in its features.

python scripts/bench/objectives.py faces.beton strangers.beton --seconds 100
python scripts/bench/objectives.py faces.beton strangers.beton --steps 500 --seeds 3

Each trains its preset for CPUs with one thread for as many seconds of processor time, or for as many steps where other
work on the machine would make times unequal; its schedule is fitted to that. Judged by leave-one-out k-NN on people
that it has never seen, beside the untrained network.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

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
WARM_UP, TRIED = 2, 30  # steps that do not count, and that are timed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train every objective for the same time, and judge it."""

    faces: tyro.conf.Positional[Path]
    """.beton to train on."""
    strangers: tyro.conf.Positional[Path]
    """Labelled .beton of other people."""
    seconds: float = 100
    """Processor time of each."""
    steps: int = 0
    """Steps of each, in whole epochs, instead of a time."""
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
    steps = seconds * TRIED / (time.process_time() - began)
    batches.close()
    loader.close()
    return of_steps(config, steps)


def of_steps(config: RunConfig, steps: float) -> RunConfig:
    """``config`` with as many whole epochs as come nearest to a number of steps."""
    loader = loader_of(config)
    epochs = max(1, round(steps / len(loader)))
    loader.close()
    return replace(config, optim=replace(config.optim, epochs=epochs))


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


class Judged(NamedTuple):
    """A run, and what it is worth.

    Attributes:
        after, before: accuracy of the network trained, and untrained.
        queries: images that were named.
        steps, seconds: of training, the seconds of processor time.
    """

    after: float
    before: float
    queries: int
    steps: int
    seconds: float

    @property
    def error(self) -> float:
        """Standard error of ``after`` over the images."""
        return math.sqrt(self.after * (1 - self.after) / self.queries)

    @property
    def gain(self) -> float:
        """What training adds."""
        return self.after - self.before

    @property
    def gain_error(self) -> float:
        """Standard error of the gain over the images."""
        return math.hypot(self.error, math.sqrt(self.before * (1 - self.before) / self.queries))


def judged(name: str, seed: int, options: Options) -> Judged:
    """Train and judge one preset from one seed."""
    data = DataConfig(data=(options.faces,), workers=1)
    config = replace(preset(name).config, data=data, seed=seed, device="cpu", checkpoint_every_steps=10**9)
    config = with_precision(config, ALONE)
    config = of_steps(config, options.steps) if options.steps else fitted(config, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        loader = loader_of(config)
        run = build(replace(config, out=Path(folder) / "run"), loader, ALONE)
        before, queries = accuracy(untrained(config.model.network, seed), config, options.strangers)
        began = time.process_time()
        train(run)
        seconds = time.process_time() - began
        loader.close()
    after, _ = accuracy(run.objective.backbone, config, options.strangers)
    found = Judged(after, before, queries, run.step.taken, seconds)
    print(
        f"RESULT {name} seed {seed}: {after:.1%} +- {found.error:.1%}, untrained {before:.1%}, "
        f"{run.step.taken} steps, {seconds:.0f} s",
        flush=True,
    )
    return found


def row(name: str, runs: Sequence[Judged]) -> tuple[str, ...]:
    """Means over the seeds with their standard deviation, or of one run with the standard error over the images."""
    after, before, _, steps, seconds = (fmean(column) for column in zip(*runs, strict=True))
    spreads = f" ± {runs[0].error:.1%}", ""
    if len(runs) > 1:
        spreads = f" ± {stdev(run.after for run in runs):.1%}", f" ± {stdev(run.before for run in runs):.1%}"
    objective = preset(name).config.objective.name
    accuracies = f"{after:.1%}{spreads[0]}", f"{before:.1%}{spreads[1]}"
    return objective, f"`{name}`", *accuracies, gained(runs), f"{steps:,.0f}", f"{seconds:.0f}"


def gained(runs: Sequence[Judged]) -> str:
    """What training adds, in standard errors: over the seeds, each beside its own start; of one run over the images."""
    gains = [run.gain for run in runs]
    error = runs[0].gain_error if len(runs) == 1 else stdev(gains) / math.sqrt(len(runs))
    return f"{fmean(gains) / error:.1f}" if error else "-"


def main() -> None:
    """Train, judge, print."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    rows = [row(name, [judged(name, seed, options) for seed in range(options.seeds)]) for name in options.presets]
    heads = "objective", "preset", "k-NN identity", "untrained", "gain in standard errors", "steps", "processor seconds"
    print(table(heads, rows))


if __name__ == "__main__":
    sys.exit(console.run("bench objectives", main))
