"""Time and memory of opening .beton files of many small records, made sparse, and of ordering an epoch of each.

python scripts/bench/opening.py                      python scripts/bench/opening.py 1000000 20000000 --landmarks

With ``--landmarks`` each sample has 68 points besides, which are found and checked but not read.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from frl import console
from frl.beton.layout import ALLOCATION, HEADER, VERSION, align_up, field_row
from frl.beton.schema import Schema
from frl.beton.targets import Kind, TargetSpec
from pipelines.sampling.beton_set import BetonSet
from pipelines.sampling.order import Order

SAMPLES = (10_000, 100_000, 1_000_000, 10_000_000)
PAGE_SIZE, SAMPLE_BYTES = 8 << 20, 16 << 10
LANDMARKS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(68, 2))


def write_sparse(path: Path, samples: int, targets: tuple[TargetSpec, ...]) -> None:
    """A file whose images are holes: of full size to the reader, of a few megabytes to the disk."""
    schema = Schema(targets)
    index, image_bytes = np.arange(samples, dtype=np.uint64), SAMPLE_BYTES - schema.tail
    records = np.zeros(samples, schema.record)
    start = align_up(schema.records_start + records.nbytes, PAGE_SIZE)
    records["f0"]["height"] = records["f0"]["width"] = 256
    records["f0"]["data_ptr"] = start + index * SAMPLE_BYTES
    records["f1"] = index % 1000
    table = np.zeros((samples, schema.entries), ALLOCATION)
    table["sample_id"] = index[:, None]
    for entry, (offset, nbytes) in enumerate(schema.pieces(0, image_bytes)):
        table["ptr"][:, entry], table["size"][:, entry] = records["f0"]["data_ptr"] + np.uint64(offset), nbytes
        if entry:
            records[f"f{entry + 1}"] = table["ptr"][:, entry]
    stop = start + samples * SAMPLE_BYTES
    with open(path, "wb") as file:
        file.write(np.array((VERSION, len(schema.fields), PAGE_SIZE, samples, stop), HEADER).tobytes())
        file.write(b"".join(field_row(field).tobytes() for field in schema.fields) + records.tobytes())
        file.seek(stop)
        file.write(table.tobytes())


def memory_mb(kind: str) -> float:
    """Of this process (proc(5)): RssAnon, its own; VmRSS, with the pages of mapped files; VmHWM, that at its peak."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(kind)) / 1024


def timed(work: Callable[[], object]) -> tuple[object, dict[str, float]]:
    """What ``work`` gives, its seconds, the MB of its own that it keeps, and the peak, with the file's pages."""
    own, all_of_it, start = memory_mb("RssAnon"), memory_mb("VmRSS"), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    kept, peak = memory_mb("RssAnon") - own, memory_mb("VmHWM") - all_of_it
    return result, {"seconds": round(seconds, 4), "kept_mb": round(kept, 1), "peak_mb": round(peak, 1)}


def measure(path: Path) -> dict[str, object]:
    """Open the file in this process, as training does, and order an epoch."""
    betons, opened = timed(lambda: BetonSet([path]))
    assert isinstance(betons, BetonSet)
    order = Order(pages=betons.pages, starts=betons.starts, shares=(len(betons),), seed=0)
    _, ordered = timed(lambda: order.epoch(0))
    return {"samples": len(betons), "open": opened, "epoch": ordered}


def main() -> None:
    """Measure each size in a fresh process, and print a line of JSON for it."""
    targets = (LANDMARKS,) if "--landmarks" in sys.argv else ()
    for samples in [int(word) for word in sys.argv[1:] if word.isdecimal()] or SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "sparse.beton"
            write_sparse(target, samples, targets)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                print(json.dumps(fresh.submit(measure, target).result(timeout=600)), flush=True)


if __name__ == "__main__":
    sys.exit(console.run("bench opening", main))
