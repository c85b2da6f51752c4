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
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from frl.beton.layout import ImageMode
from frl.config import CropSpec
from frl.errors import FrlError, explained, is_fault_of_machine
from pipelines.augment.plan import PlanFor
from pipelines.engines.assemble import Assembler
from pipelines.engines.broken import OnBroken, Undecodable, check_size
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Request
from pipelines.engines.worker_processes import POLL, Room, Workers, errors_only_when_asked, shared_memory, take
from pipelines.sampling.beton_set import EncodedImages

AnyBatch = TypeVar("AnyBatch", DecodedBatch, CroppedBatch)


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
        self.room = Room()

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch of images per request, in order; see ``Engine``."""
        dataset = StepDataset(self.beton, self.on_broken, Assembler.images, Assembler.image_bytes)
        return self.batches(dataset, requests)

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield one batch of crops per request, in order; see ``Engine``."""
        make: partial[CroppedBatch] = partial(Assembler.crops, specs=specs, plan_for=plan_for)
        nbytes = partial(Assembler.crop_bytes, specs=specs)
        return self.batches(StepDataset[CroppedBatch](self.beton, self.on_broken, make, nbytes), requests)

    def batches(self, dataset: StepDataset[AnyBatch], requests: Iterable[Request]) -> Iterator[AnyBatch]:
        """Let the workers map the requests to batches.

        Raises:
            LoaderError: if /dev/shm is too small for what they make ahead, a worker has died or does not answer, or
                what it raised.
        """
        steps, prefetched = list(requests), max(1, self.ahead // self.workers)
        if steps:
            self.room.reserve(1 + self.workers * prefetched, dataset.nbytes(dataset.assembler, steps[0]))
        workers = Workers()
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=steps,
            num_workers=self.workers,
            prefetch_factor=prefetched,
            timeout=POLL,
            pin_memory=self.pin,
            multiprocessing_context=workers,
        )
        with errors_only_when_asked():
            batches = iter(loader)
        while (batch := take(batches, workers)) is not None:
            if isinstance(batch, FrlError):
                raise batch
            yield batch

    def close(self) -> None:
        """Nothing to release: the processes end with their epoch."""


class StepDataset(Dataset, Generic[AnyBatch]):
    """Maps a request to its batch, in a worker; an error is a value, so that it crosses over whole.

    Args:
        beton: the data set.
        on_broken: what to do with an image that does not decode.
        make: which of the assembler's batches.
        nbytes: the size of that batch.
    """

    def __init__(
        self,
        beton: EncodedImages,
        on_broken: OnBroken,
        make: Callable[[Assembler, Request], AnyBatch],
        nbytes: Callable[[Assembler, Request], int],
    ) -> None:
        self.beton = beton
        self.assembler = Assembler(
            beton, self.decode_sample, on_broken=on_broken, for_each=one_by_one, allocate=shared_memory
        )
        self.make: Callable[[Assembler, Request], AnyBatch] = make
        self.nbytes: Callable[[Assembler, Request], int] = nbytes

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
