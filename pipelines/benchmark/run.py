"""``frl bench loader``: measure, save, and render."""

from __future__ import annotations

import signal
import sys

import tyro

from pipelines.benchmark.measure import BenchConfig, measure
from pipelines.benchmark.render import render
from pipelines.benchmark.results import save


def main(arguments: list[str] | None = None) -> None:
    """Measure, save, and render.

    Raises:
        ConfigError: if a contestant is unknown or the file is too small.
    """
    config = tyro.cli(BenchConfig, args=arguments, prog="frl bench loader")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the contestants are ended too
    results = measure(config, lambda so_far: save(so_far, config.out / "results.json"))
    render(results, config.out, config.gpu_images_per_s)
    print(f"saved: {config.out}/results.json, table.md, loader.png")
