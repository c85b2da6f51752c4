"""What writing a .beton wins: images read where they are beside the file that ``frl write`` makes of them.

python scripts/bench/in_place.py                     python scripts/bench/in_place.py --images 200 --rounds 1
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import frl
from frl import console
from frl.cli.data import open_images

KINDS = {"face crops of 256 px": (256, 256), "photographs of 640 x 480 px": (640, 480), "of 1600 x 1200": (1600, 1200)}


@dataclass(frozen=True)
class BenchConfig:
    """What to measure."""

    images: int = 1000
    """Images of each kind; of the larger ones as many fewer as they have more pixels."""
    rounds: int = 3
    """Passes through all images after the first; their median counts."""
    workers: int = 1
    """Decoding threads."""


def draw(folder: Path, images: int, width: int, height: int) -> None:
    """Smooth pictures with noise, about as large as photographs of their size."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(images):
        colours = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8))
        smooth = np.asarray(colours.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
        noisy = np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:05}.jpg", quality=90)


def passes(data: Path, config: BenchConfig) -> tuple[float, float, float]:
    """Milliseconds of a core for an image: to open it, in the first pass, and in a later one."""
    began = time.process_time()
    with open_images(data) as images:
        opened = time.process_time() - began
        count = len(images)
    loader = frl.loader(data, batch_size=16, device="cpu", augment_on="cpu", workers=config.workers)
    times = []
    for _ in range(1 + config.rounds):
        began = time.process_time()
        for _ in loader:
            pass
        times.append((time.process_time() - began) / (16 * len(loader)))
    loader.close()
    return 1e3 * opened / count, 1e3 * times[0], 1e3 * statistics.median(times[1:])


def main() -> None:
    """Print a row for each kind of image, read where it is and out of the file."""
    config = tyro.cli(BenchConfig, description=__doc__)
    print("milliseconds of a core for an image, with its eight crops: to list it, the first time, each time after")
    with tempfile.TemporaryDirectory() as scratch:
        frl.loader(_warm(Path(scratch)), batch_size=16, device="cpu", augment_on="cpu").close()
        for number, (kind, (width, height)) in enumerate(KINDS.items()):
            folder = Path(scratch) / f"kind{number}"
            draw(folder, max(32, config.images * 256**2 // (width * height)), width, height)
            frl.write(folder, out=folder.with_suffix(".beton"), workers=1)
            for name, data in (("where it is", folder), (".beton", folder.with_suffix(".beton"))):
                listed, first, later = passes(data, config)
                print(f"{kind:<30} {name:<12} {listed:8.3f} {first:8.2f} {later:8.2f}", flush=True)


def _warm(scratch: Path) -> Path:
    """A small folder, by which everything is compiled before anything is timed."""
    draw(scratch / "warm", 32, 64, 64)
    loader = frl.loader(scratch / "warm", batch_size=16, device="cpu", augment_on="cpu")
    next(iter(loader))
    loader.close()
    return scratch / "warm"


if __name__ == "__main__":
    sys.exit(console.run("bench in_place", main))
