"""The plain PyTorch engine: a DataLoader's worker processes, decoding with PIL. Needs no ffcv.

PIL decodes with the accurate integer DCT, libffcv with the fast one: on 900 faces pixels differ by 1.0 grey level on
average and 9 at most. PIL notices a damaged header and a file that ends early but, unlike libffcv, not every damage in
the middle of the data; ``frl verify --deep`` does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from frl.beton.layout import ImageMode
from frl.config import CropSpec
from frl.errors import FrlError, LoaderError, explained, is_fault_of_machine
from pipelines.augment.plan import PlanFor
from pipelines.engines.assemble import Assembler
from pipelines.engines.broken import OnBroken, Undecodable, check_size
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Request
from pipelines.sampling.beton_set import EncodedImages

AnyBatch = TypeVar("AnyBatch", DecodedBatch, CroppedBatch)
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
        self.beton = beton
        self.on_broken = on_broken
        self.workers = workers
        self.ahead = ahead
        self.pin = pin

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch of images per request, in order; see ``Engine``."""
        return self.batches(StepDataset(self.beton, self.on_broken, Assembler.images), requests)

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield one batch of crops per request, in order; see ``Engine``."""
        make: partial[CroppedBatch] = partial(Assembler.crops, specs=specs, plan_for=plan_for)
        return self.batches(StepDataset[CroppedBatch](self.beton, self.on_broken, make), requests)

    def batches(self, dataset: StepDataset[AnyBatch], requests: Iterable[Request]) -> Iterator[AnyBatch]:
        """Let the workers map the requests to batches."""
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=list(requests),
            num_workers=self.workers,
            prefetch_factor=max(1, self.ahead // self.workers),
            timeout=TIMEOUT,
            pin_memory=self.pin,
        )
        try:
            for batch in loader:
                if isinstance(batch, FrlError):
                    raise batch
                yield batch
        except RuntimeError as error:  # the DataLoader's word for a dead or silent worker
            remedy = "Look for the kernel's out-of-memory killer (dmesg), use fewer --workers, then resume."
            raise LoaderError("a decoding process", str(error), remedy) from error

    def close(self) -> None:
        """Nothing to release: the processes end with their epoch."""


class StepDataset(Dataset, Generic[AnyBatch]):
    """Maps a request to its batch, in a worker; an error is a value, so that it crosses over whole.

    Args:
        beton: the data set.
        on_broken: what to do with an image that does not decode.
        make: which of the assembler's batches.
    """

    def __init__(
        self, beton: EncodedImages, on_broken: OnBroken, make: Callable[[Assembler, Request], AnyBatch]
    ) -> None:
        self.beton = beton
        self.assembler = Assembler(
            beton,
            self.decode_sample,
            on_broken=on_broken,
            for_each=one_by_one,
            allocate=partial(torch.empty, dtype=torch.uint8),
        )
        self.make: Callable[[Assembler, Request], AnyBatch] = make

    def __getitem__(self, request: Request) -> AnyBatch | FrlError:
        try:
            return self.make(self.assembler, request)
        except Exception as error:
            return explained(error, "decoding a batch")

    def decode_sample(self, sample: int, pixels: NDArray[np.uint8]) -> None:
        """Write the rows of image ``sample``, densely packed RGB, to the beginning of ``pixels``, flat.

        Raises:
            Undecodable: if PIL fails, or the image's size is not the one in the metadata.
        """
        height, width = int(self.beton.heights[sample]), int(self.beton.widths[sample])
        encoded = self.beton.encoded(sample)
        if self.beton.modes[sample] == ImageMode.JPG:
            pixels[: height * width * 3] = decode_jpeg(encoded, height, width).reshape(-1)
        else:
            pixels[: height * width * 3] = encoded[: height * width * 3]


def decode_jpeg(encoded: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Decode to ``(height, width, 3)`` RGB.

    Raises:
        Undecodable: if PIL fails, the colours are neither RGB nor grey, or the size is another.
    """
    try:
        with Image.open(io.BytesIO(encoded.data), formats=["JPEG"]) as image:
            check_size((image.height, image.width), height, width)
            if image.mode not in ("RGB", "L"):
                raise Undecodable(f"its JPEG's colours are {image.mode}, not RGB")
            return np.asarray(image.convert("RGB"))
    except Undecodable:
        raise
    except Exception as error:  # PIL raises many types on damaged files
        if is_fault_of_machine(error):
            raise
        raise Undecodable(f"its JPEG data is damaged or cut off ({error})") from error


def one_by_one(work: Callable[[int], None], items: Sequence[int]) -> None:
    """Call ``work`` on every item: a worker process is one thread."""
    for item in items:
        work(item)
