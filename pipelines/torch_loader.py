"""The plain PyTorch engine: a DataLoader's worker processes, decoding with PIL. Needs no ffcv.

PIL decodes with the accurate integer DCT, libffcv with the fast one: on 900 faces pixels differ by 1.0 grey level on
average and 9 at most. PIL notices a damaged header and a file that ends early but, unlike libffcv, not every damage in
the middle of the data; ``frl verify --deep`` does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from frl.beton.layout import ImageMode
from frl.errors import LoaderError
from pipelines.assemble import OnBroken, Undecodable, assemble
from pipelines.beton_set import EncodedImages
from pipelines.decoded import DecodedBatch, Request

TIMEOUT = 300  # seconds that a worker may take for one batch


class TorchImages:
    """Decodes steps of a ``.beton`` in worker processes, some of them ahead of the consumer.

    Args:
        beton: the data set; each worker uses the mapping of its own.
        workers: decoding processes, at least 1.
        ahead: decoded batches that may wait, at least one per worker.
        on_broken: what to do with an image that does not decode.
        pin: copy batches into page-locked memory.
    """

    def __init__(
        self, beton: EncodedImages, *, workers: int, ahead: int = 3, on_broken: OnBroken = "raise", pin: bool = False
    ) -> None:
        self.dataset = StepDataset(beton, on_broken)
        self.workers = workers
        self.ahead = ahead
        self.pin = pin

    def batches(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch per request, in order; see ``Engine``."""
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=list(requests),
            num_workers=self.workers,
            prefetch_factor=max(1, self.ahead // self.workers),
            timeout=TIMEOUT,
            pin_memory=self.pin,
        )
        try:
            for batch in loader:
                if isinstance(batch, LoaderError):
                    raise batch
                yield batch
        except RuntimeError as error:  # the DataLoader's word for a dead or silent worker
            remedy = "Look for the kernel's out-of-memory killer (dmesg), use fewer --workers, then resume."
            raise LoaderError("a decoding process", str(error), remedy) from error

    def close(self) -> None:
        """Nothing to release: the processes end with their epoch."""


class StepDataset(Dataset):
    """Maps a request to its decoded batch, in a worker; a LoaderError is a value, so that it crosses over whole."""

    def __init__(self, beton: EncodedImages, on_broken: OnBroken) -> None:
        self.beton = beton
        self.on_broken = on_broken

    def __getitem__(self, request: Request) -> DecodedBatch | LoaderError:
        try:
            return assemble(self.beton, request, self.decode_sample, on_broken=self.on_broken, for_each=one_by_one)
        except LoaderError as error:
            return error

    def decode_sample(self, sample: int, canvas: NDArray[np.uint8]) -> None:
        """Write image ``sample`` into the upper left of its ``(S, S, 3)`` canvas.

        Raises:
            Undecodable: if PIL fails, or the image's size is not the one in the metadata.
        """
        height, width = int(self.beton.heights[sample]), int(self.beton.widths[sample])
        encoded = self.beton.encoded(sample)
        if self.beton.modes[sample] == ImageMode.JPG:
            canvas[:height, :width] = decode_jpeg(encoded, height, width)
        else:
            canvas[:height, :width] = encoded[: height * width * 3].reshape(height, width, 3)


def decode_jpeg(encoded: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Decode to ``(height, width, 3)`` RGB.

    Raises:
        Undecodable: if PIL fails, the colours are neither RGB nor grey, or the size is another.
    """
    try:
        with Image.open(io.BytesIO(encoded.data), formats=["JPEG"]) as image:
            if image.size != (width, height):
                size = f"{image.width} x {image.height}"
                raise Undecodable(f"its JPEG is {size} pixels, its metadata says {width} x {height}")
            if image.mode not in ("RGB", "L"):
                raise Undecodable(f"its JPEG's colours are {image.mode}, not RGB")
            return np.asarray(image.convert("RGB"))
    except Undecodable:
        raise
    except Exception as error:  # PIL raises many types on damaged files
        raise Undecodable(f"its JPEG data is damaged or cut off ({error})") from error


def one_by_one(work: Callable[[int], None], items: Sequence[int]) -> None:
    """Call ``work`` on every item: a worker process is one thread."""
    for item in items:
        work(item)
