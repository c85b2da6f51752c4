"""Our writer beside stock ffcv's DatasetWriter and a loop over PIL on the same JPEGs, and the memory of ours."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context, set_start_method
from pathlib import Path

import numpy as np
import torch
import tyro
from bench_report import about, in_words
from PIL import Image
from smooth_images import smooth_image
from writer_table import Comparison, Memory, compared, remembered

from frl import console
from frl.machine import cores
from writers.config import WriteConfig
from writers.curate import CurateConfig
from writers.to_beton import write

SIZE = 256
QUALITY = 90
DISTINCT = 64


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    quick: bool = False
    """One round, and no measurement of memory."""
    images: int = 10_000
    """Images per round of the comparison; a tenth where they have more than a megapixel."""
    sides: tuple[int, ...] = (256, 400, 1600)
    """Pixels a side of the images of the comparison: those of 256 pass through, larger ones are shrunk."""
    rounds: int = 3
    """Rounds; the writers take turns, and the median counts."""
    workers: int = 0
    """Worker processes of each writer; 0: one per core."""
    memory: tuple[int, ...] = (1000, 20000)
    """Numbers of images for which the memory is measured."""


def plant(root: Path, images: int, side: int) -> Path:
    """Identity folders of JPEGs with the smoothness of photographs; few differ, the others are hard links to them."""
    random = np.random.default_rng(0)
    for i in range(images):
        file = root / f"n{i % 100:06}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if i >= DISTINCT:
            os.link(root / f"n{i % DISTINCT:06}" / f"{i % DISTINCT}.jpg", file)
            continue
        Image.fromarray(smooth_image(random, side)).save(file, quality=90)
    return root


class Photos:
    """The folder as a dataset for ffcv: pixels and label, read by Pillow."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(root.glob("*/*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        data = self.paths[index].read_bytes()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), int(self.paths[index].parent.name[1:])


def stock_seconds(root: Path, out: Path, workers: int) -> float:
    """Time of stock ffcv's writer, without its import."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    set_start_method("fork", force=True)  # what ffcv expects; this process was spawned, and would spawn in turn
    start = time.monotonic()
    image = RGBImageField(write_mode="jpg", max_resolution=SIZE, jpeg_quality=QUALITY)
    writer = DatasetWriter(str(out), {"image": image, "label": IntField()}, num_workers=workers)
    writer.from_indexed_dataset(Photos(root))
    return time.monotonic() - start


def pil_sample(path: Path) -> tuple[int, bytes]:
    """Label and JPEG of an image's central square, as a script for the purpose makes them."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    jpeg = io.BytesIO()
    square.resize((min(side, SIZE),) * 2).save(jpeg, "JPEG", quality=QUALITY)
    return int(path.parent.name[1:]), jpeg.getvalue()


def pil_seconds(root: Path, out: Path, workers: int) -> float:
    """Time of a loop over PIL in as many processes, into one file: the JPEGs, then a table of labels and places."""
    start = time.monotonic()
    paths = Photos(root).paths
    table = np.zeros(len(paths), [("label", "<i8"), ("start", "<u8"), ("bytes", "<u8")])
    with out.open("wb") as file, get_context("fork").Pool(workers) as pool:
        for i, (label, jpeg) in enumerate(pool.imap(pil_sample, paths, chunksize=16)):
            table[i] = label, file.tell(), len(jpeg)
            file.write(jpeg)
        table.tofile(file)
    return time.monotonic() - start


def our_seconds(root: Path, out: Path, workers: int) -> float:
    """Time of our writer, from listing to rename."""
    copies_stay = CurateConfig(dedupe="none")  # most of the files are links to a few
    config = WriteConfig(sources=(str(root),), out=out, size=SIZE, workers=workers, overwrite=True, curate=copies_stay)
    return write(config).seconds


def compare(title: str, root: Path, config: BenchConfig, scratch: Path) -> Comparison:
    """Let the writers take turns, each time in a fresh process."""
    contestants = {"frl": our_seconds, "PIL loop": pil_seconds}
    if importlib.util.find_spec("ffcv"):
        contestants["stock ffcv"] = stock_seconds
    else:
        print("stock ffcv is not installed and is left out: bash scripts/setup.sh")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(config.rounds):
        for name, contestant in contestants.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                seconds[name].append(pool.submit(contestant, root, scratch / f"{name}.beton", config.workers).result())
    return Comparison(title=title, images=len(Photos(root)), seconds=seconds)


def shared_memory_mb(pid: int) -> float:
    """Memory of a process and all below it, pages in common counted once (PSS)."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return 0.0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return own / 1024 + sum(shared_memory_mb(int(child)) for child in children)


def peak_memory_mb(root: Path, out: Path, workers: int) -> tuple[float, float]:
    """Peaks of our command in megabytes: of its main process, and of all its processes together, sampled."""
    script = Path(__file__).resolve().parents[2] / "writers" / "to_beton.py"
    command = [sys.executable, script, root, "--out", out, "--workers", workers, "--overwrite", "--dedupe", "none"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, shared_memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"the writer failed: {status}")
    return usage.ru_maxrss / 1024, peak


def main() -> None:
    """Measure and print."""
    config = tyro.cli(BenchConfig, description=__doc__)
    if config.quick:
        config = replace(config, rounds=1, memory=())
    config = replace(config, workers=config.workers or cores())
    print(in_words(about(torch.device("cpu"))))
    print(f"load {os.getloadavg()[0]:.1f} before, {config.rounds} round(s)")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for side in config.sides:
            images = config.images // (10 if side > 1000 else 1)
            title = "passthrough" if side == SIZE else f"shrunk from {side} px"
            found = compare(title, plant(scratch / f"of{side}", images, side), config, scratch)
            print(compared(found), flush=True)
        for images in config.memory:
            root = plant(scratch / f"memory{images}", images, SIZE)
            main_mb, all_mb = peak_memory_mb(root, scratch / "memory.beton", config.workers)
            print(remembered(Memory(images=images, main_mb=main_mb, all_mb=all_mb)), flush=True)


if __name__ == "__main__":
    sys.exit(console.run("bench writer", main))
