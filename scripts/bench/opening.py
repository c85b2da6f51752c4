"""Time and memory of opening a .beton of many small records, made sparse: python scripts/bench/opening.py [SAMPLES]"""

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
from frl.beton.layout import (
    ALLOCATION,
    FIELD,
    HEADER,
    VERSION,
    Field,
    FieldType,
    align_up,
    metadata_start,
    record_dtype,
)

FIELDS = (Field(name="image", type_id=FieldType.IMAGE), Field(name="label", type_id=FieldType.INT))
PAGE_SIZE, IMAGE_BYTES = 8 << 20, 16 << 10


def write_sparse(path: Path, samples: int) -> None:
    """A file whose images are holes: of full size to the reader, of a few megabytes to the disk."""
    index = np.arange(samples, dtype=np.uint64)
    fields, records = np.zeros(len(FIELDS), FIELD), np.zeros(samples, record_dtype(FIELDS))
    for row, field in zip(fields, FIELDS, strict=True):
        row["type_id"] = field.type_id
        row["name"][: len(field.name)] = np.frombuffer(field.name.encode(), np.uint8)
    start = align_up(metadata_start(len(FIELDS)) + records.nbytes, PAGE_SIZE)
    records["f0"]["height"] = records["f0"]["width"] = 256
    records["f0"]["data_ptr"] = start + index * IMAGE_BYTES
    records["f1"] = index % 1000
    table = np.zeros(samples, ALLOCATION)
    table["sample_id"], table["ptr"], table["size"] = index, records["f0"]["data_ptr"], IMAGE_BYTES
    stop = start + samples * IMAGE_BYTES
    with open(path, "wb") as file:
        file.write(np.array((VERSION, len(FIELDS), PAGE_SIZE, samples, stop), HEADER).tobytes())
        file.write(fields.tobytes() + records.tobytes())
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
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sparse.beton"
        write_sparse(target, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            print(json.dumps(fresh.submit(measure, target).result(timeout=120)))


if __name__ == "__main__":
    sys.exit(console.run("bench opening", main))
