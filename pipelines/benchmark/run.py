"""``frl bench loader``: every contestant in processes of its own, by turns, and what the figures say."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl.beton import Beton
from frl.config.check import require_above, require_least, require_new_folder
from frl.errors import ConfigError
from frl.machine import cores
from frl.presets import preset
from pipelines.benchmark import report
from pipelines.benchmark.contestants import ENTRIES
from pipelines.benchmark.picture import draw
from pipelines.benchmark.process import Failed, Process
from pipelines.benchmark.report import CROPS, FULL, Result, Results
from pipelines.benchmark.task import Task

QUICK_SECONDS, QUICK_LIMIT = 1.0, 30.0


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Measure loaders side by side on a .beton: ours, the paper's, torchvision v2, stock ffcv, DALI, and the floor."""

    data: Path
    """A .beton of JPEGs."""
    out: Path = Path("bench_loader")
    """Folder for results.json, table.md and loader.png."""
    preset: str = "vggface2"
    """Whose crops to make; a preset of frl pretrain."""
    workers: int = 0
    """Threads or processes of each contestant; 0: one per core."""
    batch_size: int = 64
    """Images in a batch."""
    rounds: int = 3
    """Turns of each contestant; medians count."""
    seconds: float = 3.0
    """Length of a turn."""
    limit: float = 120.0
    """Seconds that a contestant may take to its first batch."""
    only: tuple[str, ...] = ()
    """Contestants that take part; none: all. An empty choice lists them."""
    gpu_images_per_s: float = 1600.0
    """Images a second that a GPU trains on, for the number of cores it needs (ResNet-50, 2x224 + 6x96: 1,600)."""
    quick: bool = False
    """A look, in about a minute: short turns, everything on alone, no contestant that starts slowly."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and save.

    Raises:
        ConfigError: if a contestant is unknown or the file is too small.
    """
    config = tyro.cli(BenchConfig, args=arguments, prog="frl bench loader")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the contestants are ended too
    results = measure(config)
    text = report.text(results, config.gpu_images_per_s, cores())
    print(text)
    report.save(results, text, config.out)
    draw(results, config.out / "loader.png")
    print(f"saved: {config.out}/results.json, table.md, loader.png")


def measure(config: BenchConfig) -> Results:
    """Start the contestants one after the other, then let them take turns."""
    check(config)
    seconds, limit = (QUICK_SECONDS, QUICK_LIMIT) if config.quick else (config.seconds, config.limit)
    task = Task(
        data=config.data,
        preset=config.preset,
        everything=True,
        workers=config.workers or cores(),
        batch_size=config.batch_size,
    )
    results = []
    with contextlib.ExitStack() as stack:
        running: list[tuple[Result, Process]] = []
        for result in programme(config):
            results.append(result)
            if result.skipped:
                continue
            wanted = dataclasses.replace(task, everything=result.recipe == FULL)
            say(f"{result.label}, {result.recipe}: starting")
            try:
                process = stack.enter_context(Process(ENTRIES[result.name].function, wanted, limit))
                process.run(seconds / 2)  # caches and queues fill
            except Failed as failure:
                result.skipped = str(failure)
                say(f"  {failure}")
                continue
            result.first_batch_s = process.first_batch_s
            running.append((result, process))
        for turn in range(config.rounds):
            say(f"round {turn + 1} of {config.rounds}")
            for result, process in running:
                try:
                    result.rounds.append(process.run(seconds))
                except Failed as failure:
                    result.skipped = str(failure)
                result.peak_mb = process.peak_mb
    return Results(results)


def programme(config: BenchConfig) -> list[Result]:
    """Who is measured in what; those that cannot take part say why."""
    found = []
    for name in config.only or ENTRIES:
        entry = ENTRIES[name]
        recipes = [FULL] * entry.everything + [CROPS] * (entry.crops_only and not (config.quick and entry.everything))
        for recipe in recipes:
            skipped = ""
            if entry.missing():
                skipped = f"not installed ({entry.install})"
            elif config.quick and entry.slow_start:
                skipped = "left out of a quick look: it compiles for a minute"
            found.append(Result(name=name, recipe=recipe, skipped=skipped))
    return found


def check(config: BenchConfig) -> None:
    """Refuse what cannot be measured."""
    preset(config.preset)
    require_least("workers", config.workers, 0, "Use 0 for one per core.")
    require_least("batch_size", config.batch_size, 1, "The default is 64.")
    require_least("rounds", config.rounds, 1, "The default is 3.")
    require_above("seconds", config.seconds, 0, "The default is 3.")
    require_above("limit", config.limit, 0, "The default is 120.")
    require_above("gpu_images_per_s", config.gpu_images_per_s, 0, "The default is 1600.")
    require_new_folder(config.out, "out")
    for name in config.only:
        if name not in ENTRIES:
            raise ConfigError("--only", f"there is no contestant {name!r}", f"Known are {', '.join(ENTRIES)}.")
    with Beton(config.data) as beton:
        if len(beton) < 2 * config.batch_size:
            cause = f"its {len(beton)} images are fewer than two batches of {config.batch_size}"
            raise ConfigError(config.data, cause, "Use a larger file, or a smaller --batch-size.")


def say(words: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {words}", flush=True)
