"""The writers that are measured, each run by a command of its own: ``writer_contestants.py NAME FOLDER OUT WORKERS``.

It prints, as JSON, the seconds that the writer took, and the processor time that had passed when it began.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 256
QUALITY = 90


def jpegs(root: Path) -> list[Path]:
    """The files of identity folders, in the order of their names."""
    return sorted(root.glob("*/*.jpg"))


def label_of(path: Path) -> int:
    """The number of a file's identity folder."""
    return int(path.parent.name[1:])


def frl(root: Path, out: Path, workers: int) -> Callable[[], object]:
    """Our writer with its default options."""
    from writers.config import WriteConfig
    from writers.to_beton import write

    config = WriteConfig(sources=(str(root),), out=out, size=SIZE, workers=workers)
    return lambda: write(config)


class Photos:
    """The folder as a dataset for ffcv: pixels and label, read by Pillow."""

    def __init__(self, root: Path) -> None:
        self.paths = jpegs(root)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        data = self.paths[index].read_bytes()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), label_of(self.paths[index])


def stock_ffcv(root: Path, out: Path, workers: int) -> Callable[[], object]:
    """Stock ffcv's writer, which decodes and encodes every image."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    def run() -> None:
        image = RGBImageField(write_mode="jpg", max_resolution=SIZE, jpeg_quality=QUALITY)
        writer = DatasetWriter(str(out), {"image": image, "label": IntField()}, num_workers=workers)
        writer.from_indexed_dataset(Photos(root))

    return run


def pil_sample(path: Path) -> tuple[int, bytes]:
    """Label and JPEG of an image's central square, as a script for the purpose makes them."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    jpeg = io.BytesIO()
    square.resize((min(side, SIZE),) * 2).save(jpeg, "JPEG", quality=QUALITY)
    return label_of(path), jpeg.getvalue()


def pil_loop(root: Path, out: Path, workers: int) -> Callable[[], object]:
    """A loop over PIL in as many processes, into one file: the JPEGs, then a table of labels and places."""

    def run() -> None:
        paths = jpegs(root)
        table = np.zeros(len(paths), [("label", "<i8"), ("start", "<u8"), ("bytes", "<u8")])
        with out.open("wb") as file, get_context("fork").Pool(workers) as pool:
            for i, (label, jpeg) in enumerate(pool.imap(pil_sample, paths, chunksize=16)):
                table[i] = label, file.tell(), len(jpeg)
                file.write(jpeg)
            pool.close()
            pool.join()  # or the time of its processes is nobody's
            table.tofile(file)

    return run


def webdataset(root: Path, out: Path, workers: int) -> Callable[[], object]:
    """WebDataset's ShardWriter, in one process: the bytes of the files and their labels, into tars."""
    from webdataset import ShardWriter

    def run() -> None:
        out.mkdir()
        with ShardWriter(str(out / "%06d.tar"), maxcount=10_000, verbose=0) as sink:
            for path in jpegs(root):
                sink.write({"__key__": path.stem, "jpg": path.read_bytes(), "cls": label_of(path)})

    return run


CONTESTANTS: dict[str, Callable[[Path, Path, int], Callable[[], object]]] = {
    "frl": frl,
    "PIL loop": pil_loop,
    "stock ffcv": stock_ffcv,
    "WebDataset": webdataset,
}
"""Each imports what it needs, and returns what is measured."""

COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "tar": lambda root, out: ["tar", "-cf", str(out), "-C", str(root.parent), root.name],
    "cp -r": lambda root, out: ["cp", "-r", str(root), str(out)],
}
"""Programs that copy the files and look at none of them."""

PACKAGES = {"stock ffcv": "ffcv", "WebDataset": "webdataset"}


def installed() -> list[str]:
    """The names of those that can be run here, ours first."""
    found = [name for name in CONTESTANTS if name not in PACKAGES or importlib.util.find_spec(PACKAGES[name])]
    return found + [name for name in COMMANDS if shutil.which(name.split()[0])]


def command(name: str, root: Path, out: Path, workers: int) -> list[str]:
    """How to run one of them."""
    if name in COMMANDS:
        return COMMANDS[name](root, out)
    return [sys.executable, __file__, name, str(root), str(out), str(workers)]


def compete(name: str, root: str, out: str, workers: str) -> None:
    """Run one of them here."""
    run = CONTESTANTS[name](Path(root), Path(out), int(workers))
    start_cpu, start = time.process_time(), time.monotonic()
    run()
    print(json.dumps({"seconds": time.monotonic() - start, "start_cpu": start_cpu}))


if __name__ == "__main__":
    compete(*sys.argv[1:])
