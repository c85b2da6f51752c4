"""How random page order is, and how much memory it holds: ``python scripts/bench/order.py``."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import order_table
import tyro
from opening import write_sparse
from order_table import Reading

from frl import console
from frl.beton import Beton
from pipelines.sampling.beton_set import BetonSet
from pipelines.sampling.order import EpochOrder, Order
from pipelines.sampling.randomness import Randomness, measure
from pipelines.sampling.readahead import ReadAhead


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    samples: int = 1_000_000
    """Samples of the file whose order is measured; it need not exist."""
    per_page: int = 500
    """Samples on a page: 16 KB each on pages of 8 MiB."""
    per_identity: int = 350
    """Samples of an identity (VGGFace2: 363)."""
    batch_size: int = 1024
    """Samples of a step."""
    windows: tuple[int, ...] = (16, 64, 256)
    """Window sizes, in pages."""
    file_mb: int = 512
    """Size of the file that is read for the memory measurement."""
    memory_mb: int = 384
    """Memory that a control group leaves to it, where one can be made."""
    limit_s: float = 15.0
    """Time after which a measurement of memory ends."""


def orders(config: BenchConfig, pages: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The orders that are compared, by name."""
    yield "file order", np.arange(config.samples)
    for window in (0, *config.windows):
        order = Order(pages=pages, starts=np.array([0, len(pages)]), shares=(len(pages),), seed=0, window=window)
        yield str(order), order.epoch(0).samples
    if importlib.util.find_spec("ffcv") is None:
        print("stock ffcv is not installed and is left out: bash scripts/setup.sh")
        return
    from ffcv.traversal_order.quasi_random import generate_order_inner

    for buffer in (64, 2 * config.batch_size):
        table = np.arange(config.samples).reshape(-1, config.per_page)
        found = np.zeros(config.samples, dtype=np.int64)
        generate_order_inner(0, table.copy(), np.full(len(table), config.per_page), found, buffer)
        note = "as ffcv sets it: twice the batch" if buffer == 2 * config.batch_size else "for comparison"
        yield f"stock ffcv's QUASI_RANDOM, {buffer} pages ({note})", found


def randomness(config: BenchConfig) -> dict[str, dict[str, Randomness]]:
    """How random each order is: of a class-ordered and of a shuffled file, by the order's name."""
    pages = np.arange(config.samples) // config.per_page
    by_class = np.arange(config.samples) // config.per_identity
    shuffled = np.random.default_rng(0).permutation(by_class)
    found = list(orders(config, pages))
    return {
        title: {name: measure(order, labels, pages, config.batch_size) for name, order in found}
        for title, labels in {"class-ordered file": by_class, "shuffled file (our writer's)": shuffled}.items()
    }


@contextmanager
def memory_limit(megabytes: int) -> Iterator[bool]:
    """Put this process into a control group (version 1) of so much memory; whether that was possible."""
    root = Path("/sys/fs/cgroup/memory")
    group = root / f"frl-bench-{os.getpid()}"
    groups = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    before = root / next((path.lstrip("/") for _, kind, path in groups if kind == "memory"), "")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(megabytes << 20))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        print(f"no control group of limited memory could be made ({error})")
        yield False
        return
    try:
        yield True
    finally:
        target = before if (before / "cgroup.procs").exists() else root
        (target / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def resident_mb() -> float:
    """Pages of files that this process maps and that are in memory."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssFile")) / 1024


def read_epoch(betons: BetonSet, order: EpochOrder, batch_size: int, limit_s: float) -> tuple[float, float]:
    """Touch the images of an epoch as an engine would, for so long at most; images/s, and the peak in MB."""
    began, peak, read = time.perf_counter(), 0.0, 0
    with closing(ReadAhead(betons, order, 0)) as ahead:
        for first in range(0, len(order.samples) - batch_size + 1, batch_size):
            ahead.advance(first, first + batch_size - 1)
            for sample in order.samples[first : first + batch_size].tolist():
                betons.encoded(sample)[::4096].sum()
            peak, read = max(peak, resident_mb()), first + batch_size
            if time.perf_counter() - began > limit_s:
                break
    return read / (time.perf_counter() - began), peak


def read_in_little_memory(config: BenchConfig) -> Reading:
    """Read a file larger than the memory that we may use, in page order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.beton"
        write_sparse(path, (config.file_mb << 20) // (16 << 10), targets=())
        fill(path)
        betons = BetonSet([path])
        base = resident_mb()  # of the program's own files
        order = Order(pages=betons.pages, starts=betons.starts, shares=(len(betons),), seed=0, window=8)
        with memory_limit(config.memory_mb) as limited:
            forget(path)
            rate, peak = read_epoch(betons, order.epoch(0), 64, config.limit_s)
        betons.close()
    return Reading(
        order=str(order),
        file_mb=config.file_mb,
        limit_mb=config.memory_mb if limited else None,
        images_per_s=rate,
        peak_mb=peak - base,
    )


def fill(path: Path) -> None:
    """Put bytes into the holes of a sparse file, so that the disk has something to read."""
    with Beton(path) as beton:
        start, stop = int(beton.pointers[0]), int(beton.pointers[-1] + beton.nbytes[-1])
    with open(path, "r+b", buffering=0) as file:
        file.seek(start)
        while (left := stop - file.tell()) > 0:
            file.write(os.urandom(min(1 << 20, left)))
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with open(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Measure and print."""
    settings = tyro.cli(BenchConfig, description=__doc__)
    print(order_table.of_randomness(randomness(settings)), flush=True)
    print(order_table.of_reading(read_in_little_memory(settings)))


if __name__ == "__main__":
    sys.exit(console.run("bench order", main))
