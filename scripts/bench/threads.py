"""How the threaded engine scales: measured up to this machine's cores, simulated beyond them.

python scripts/bench/threads.py faces.beton

Simulated, the native work of an image is a sleep of the same length, which leaves Python's lock alone as the kernels
and the decoder do; every line of Python runs as in training. So the figures show what the lock and the hand-over
between threads cost, not what memory bandwidth or the clock of a busy processor would.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import threads_table
import torch
import tyro
from numpy.typing import NDArray
from threads_table import Speed

from frl import console, machine
from frl.beton import Beton, BetonWriter
from frl.config import AugmentConfig, CropSpec
from pipelines.augment.plan import draw
from pipelines.engines.decoders import Decoder, simplejpeg_decoder
from pipelines.engines.engine import Request
from pipelines.engines.threaded import ThreadedImages

BATCH = 256
TINY = (CropSpec(size=8, count=2, scale=(0.14, 1)), CropSpec(size=8, count=6, scale=(0.05, 0.14)))


@dataclass(frozen=True)
class BenchConfig:
    """What to measure."""

    data: tyro.conf.Positional[Path]
    """A .beton of at least 512 images."""
    seconds: float = 1.0
    """Of each measurement."""
    rounds: int = 5
    """Measurements of each number of threads, by turns; the fastest counts, which others disturbed least."""
    native_ms: float = 0.0
    """Native work of an image in the simulation; 0: what one thread takes here."""
    threads: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Threads of the simulation."""


def speed(beton: Beton, decoder: Decoder, augment: AugmentConfig, workers: int, seconds: float) -> Speed:
    """Of an engine that makes crops for so long, after a batch for each of its queues."""
    order = np.resize(np.random.default_rng(0).permutation(len(beton)), 1 << 20)
    steps = (Request(samples=order[at : at + BATCH], share=slice(0, BATCH)) for at in range(0, len(order), BATCH))
    with closing(ThreadedImages(beton, decoder, workers=workers)) as engine:
        batches = engine.crops(steps, augment.crops, partial(draw, augment, 0, 0))
        for _ in range(4):
            next(batches)
        began, used, images = time.perf_counter(), cpu_seconds(), 0
        while time.perf_counter() - began < seconds:
            images += len(next(batches).samples)
        found = Speed(images / (time.perf_counter() - began), 1000 * (cpu_seconds() - used) / images)
        batches.close()  # type: ignore[attr-defined]
    return found


def cpu_seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def sleeping(decode: Decoder, seconds: float) -> Decoder:
    """A decoder that takes so long, without Python's lock."""

    def work(encoded: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> None:
        decode(encoded, height, width, out)
        time.sleep(seconds)

    return work


def write_tiny(path: Path) -> Path:
    """Images whose own native work is next to nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    with BetonWriter(path, capacity=BATCH) as writer:
        for i in range(BATCH):
            writer.append(cv2.imencode(".jpg", pixels)[1].tobytes(), 16, 16, -1, f"{i}.jpg")
    return path


def fastest(counts: Sequence[int], rounds: int, measure: Callable[[int], Speed]) -> dict[int, Speed]:
    """Of each number of threads, measured by turns."""
    found = [{count: measure(count) for count in counts} for _ in range(rounds)]
    return {count: max((turn[count] for turn in found), key=lambda speed: speed.images_per_s) for count in counts}


def main() -> None:
    """Measure, simulate, print."""
    config = tyro.cli(BenchConfig, description=__doc__)
    torch.set_num_threads(1)
    decoder, augment, cores = simplejpeg_decoder(), AugmentConfig(), machine.cores()
    with Beton(config.data) as beton:
        counts = sorted({1, 2, 4, cores})
        real = fastest(counts, config.rounds, lambda n: speed(beton, decoder, augment, n, config.seconds))
    print(threads_table.measured(real), flush=True)
    native = config.native_ms or real[1].cpu_ms
    asleep, tiny = sleeping(decoder, native / 1000), AugmentConfig(crops=TINY)
    with tempfile.TemporaryDirectory() as folder, Beton(write_tiny(Path(folder) / "tiny.beton")) as beton:
        simulated = fastest(config.threads, config.rounds, lambda n: speed(beton, asleep, tiny, n, config.seconds))
    print(f"\n{threads_table.simulated(simulated, native)}")
    print(f"\nbatches of {BATCH}; {cores} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(console.run("bench threads", main))
