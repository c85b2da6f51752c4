"""Our writer beside others on the same JPEGs, by the clock and by processor time, and the memory of ours.

The others: a loop over PIL and stock ffcv's DatasetWriter, which decode and encode every image; WebDataset's
ShardWriter, tar and cp -r, which copy the files and look at none of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import tyro
from bench_report import about, in_words
from PIL import Image
from smooth_images import smooth_image
from writer_contestants import SIZE, command, installed, jpegs
from writer_table import Comparison, Memory, Run, compared, remembered

from frl import console
from frl.machine import cores

DRAWN = 64
"""Pictures that are drawn; an image is one of ``SHIFTS`` times ``SHIFTS`` parts of one of them."""
SHIFTS = 64
QUALITY = 75
"""Of the images: about 11 kB at 256 pixels, as of photographs."""

PR_SET_CHILD_SUBREAPER = 36
"""Of Linux' prctl: whoever has it inherits the processes that its own leave behind."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    quick: bool = False
    """One round, and no measurement of memory."""
    images: int = 10_000
    """Images per round of the comparison; a tenth where they have more than a megapixel."""
    sides: tuple[int, ...] = (256, 400, 1600)
    """Pixels a side of the images of the comparison: those of up to 256 pass through, larger ones are shrunk."""
    faces: Path | None = None
    """A folder of identity folders of JPEGs to measure on, in place of drawn ones; they are named n000123/..."""
    writers: tuple[str, ...] = ()
    """Which writers: frl, then any of PIL loop, stock ffcv, WebDataset, tar and cp -r; none: all that are installed."""
    rounds: int = 3
    """Rounds; the writers take turns, and the median counts."""
    workers: int = 0
    """Worker processes of each writer that has such; 0: one per core."""
    memory: tuple[int, ...] = (1000, 20000)
    """Numbers of images for which the memory is measured."""


def plant(root: Path, images: int, side: int) -> Path:
    """Identity folders of JPEGs with the smoothness of photographs, no two of them alike."""
    if images > DRAWN * SHIFTS**2:
        raise SystemExit(f"--images {images}: no more than {DRAWN * SHIFTS**2:,} different ones are drawn")
    random = np.random.default_rng(0)
    drawn = [smooth_image(random, side + SHIFTS) for _ in range(min(images, DRAWN))]
    for i in range(images):
        down, across = divmod(i // DRAWN, SHIFTS)
        file = root / f"n{i % 100:06}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        part = drawn[i % DRAWN][down : down + side, across : across + side]
        Image.fromarray(part).save(file, quality=QUALITY)
    return root


def measure(name: str, root: Path, out: Path, workers: int) -> Run:
    """Run a writer once, and count the processor time of all processes that it starts, also those it leaves behind."""
    with get_context("fork").Pool(1) as pool:  # a process whose only children are these
        seconds, cpu, start = pool.apply(_run_and_count, (command(name, root, out, workers),))
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return Run(seconds=seconds, cpu=cpu, start=start)


def _run_and_count(arguments: list[str]) -> tuple[float, float, float]:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begin = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    if done.returncode:
        raise RuntimeError(f"{arguments} failed: {done.stderr[-2000:]}")
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"seconds": seconds, "start_cpu": 0.0}
    return said["seconds"], usage.ru_utime + usage.ru_stime - said["start_cpu"], said["start_cpu"]


def compare(title: str, root: Path, config: BenchConfig, scratch: Path) -> Comparison:
    """Let the writers take turns, each time in fresh processes."""
    names = list(config.writers) or installed()
    if names[0] != "frl" or not set(names) <= set(installed()):
        raise SystemExit(f"--writers {' '.join(names)}: frl has to be the first of {', '.join(installed())}")
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(config.rounds):
        for name in names:
            runs[name].append(measure(name, root, scratch / "out.beton", config.workers))
            print(f"{title}: {name}: {json.dumps(asdict(runs[name][-1]))}", file=sys.stderr, flush=True)
    files = jpegs(root)
    return Comparison(title=title, images=len(files), nbytes=sum(f.stat().st_size for f in files), runs=runs)


def shared_memory_mb(pid: int) -> float:
    """Memory of a process and all below it, pages in common counted once (PSS)."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return 0.0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return own / 1024 + sum(shared_memory_mb(int(child)) for child in children)


def peak_so_far_mb(pid: int) -> float:
    """The most memory that a process has had; what ``wait4`` says of it may be ours, from before it was another."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def peak_memory_mb(root: Path, out: Path, workers: int) -> tuple[float, float]:
    """Peaks of our command in megabytes: of its main process, and of all its processes together, sampled."""
    script = Path(__file__).resolve().parents[2] / "writers" / "to_beton.py"
    command = [sys.executable, script, root, "--out", out, "--workers", workers, "--overwrite"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    main, peak, ended = 0.0, 0.0, threading.Event()

    def watch() -> None:
        nonlocal main, peak
        while not ended.wait(0.05):
            main = max(main, peak_so_far_mb(process.pid))
            peak = max(peak, shared_memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"the writer failed: {status}")
    return main, peak


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
        if config.faces is not None:
            print(compared(compare("passed through", config.faces, config, scratch)), flush=True)
        for side in config.sides if config.faces is None else ():
            images = config.images // (10 if side > 1000 else 1)
            title = f"shrunk from {side} pixels" if side > SIZE else f"of {side} pixels, passed through"
            root = plant(scratch / f"of{side}", images, side)
            print(compared(compare(title, root, config, scratch)), flush=True)
            shutil.rmtree(root)
        for images in config.memory:
            root = plant(scratch / f"memory{images}", images, SIZE)
            main_mb, all_mb = peak_memory_mb(root, scratch / "memory.beton", config.workers)
            print(remembered(Memory(images=images, main_mb=main_mb, all_mb=all_mb)), flush=True)


if __name__ == "__main__":
    sys.exit(console.run("bench writer", main))
