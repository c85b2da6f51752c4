"""Time and memory of opening a .beton of many small records, made sparse: python scripts/bench/opening.py [SAMPLES]

With ``--landmarks`` each sample has 68 points besides, which are found and checked but not read.
"""

import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from frl import console
from frl.beton import Beton
from frl.beton.layout import ALLOCATION, HEADER, VERSION, align_up, field_row
from frl.beton.schema import Schema
from frl.beton.targets import Kind, TargetSpec

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


def measure(path: Path) -> dict[str, float]:
    """Open the file in this process; its memory counts from the start of the interpreter."""
    start = time.perf_counter()
    samples = len(Beton(path))
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {"samples": samples, "seconds": round(seconds, 3), "peak_rss_mb": round(peak_kb / 1024, 1)}


def main() -> None:
    """Measure in a fresh process, and print it."""
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sparse.beton"
        targets = (LANDMARKS,) if "--landmarks" in sys.argv else ()
        write_sparse(target, numbers[0] if numbers else 1_000_000, targets)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            print(json.dumps(fresh.submit(measure, target).result(timeout=120)))


if __name__ == "__main__":
    sys.exit(console.run("bench opening", main))
