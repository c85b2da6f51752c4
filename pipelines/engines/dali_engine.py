"""The DALI engine: NVIDIA's decoders and operators, on a GPU or on the CPU, over the bytes of the mapped file.

The only file here that imports nvidia.dali. ``images`` decodes only: on the CPU its pixels are PIL's, bit for bit.
``crops`` also makes the crops, with DALI's own operators, and follows the plan as closely as they allow: docs/parity.md
says how closely.

Stock DALI gives up its whole pipeline on one image that does not decode; see ``pipelines.engines.recovery``.
"""

# DALI's type hints lack its types, its executor's options and the inputs that are operators' outputs.
# mypy: disable-error-code="attr-defined,call-overload,arg-type"

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from nvidia.dali import fn, math, pipeline_def, types
from nvidia.dali.plugin.pytorch import feed_ndarray
from torch import Tensor

from frl.beton.layout import ImageMode
from frl.config import CropSpec
from frl.errors import LoaderError, first_line
from pipelines.augment.columns import Columns
from pipelines.augment.gpu.blur import TAPS
from pipelines.augment.gpu.ladder import Operation
from pipelines.augment.plan import LEVELS, Plan, PlanFor
from pipelines.engines.broken import OnBroken
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Request
from pipelines.engines.prefetch import prefetch
from pipelines.engines.recovery import DecoderFailed, Recovery
from pipelines.sampling.beton_set import EncodedImages

Feeds = Mapping[str, Sequence[NDArray[Any]]]
COLUMNS = Columns(Plan()._asdict())


class DALIImages:
    """Turns steps of a ``.beton`` into batches with DALI, some of them ahead of the consumer.

    Args:
        beton: the data set; it must stay open.
        workers: DALI's threads.
        ahead: batches that may wait.
        on_broken: what to do with an image that does not decode.
        device: where DALI works and its batches lie; on a GPU it decodes with nvJPEG ("mixed").

    Raises:
        LoaderError: if the data set holds raw images, which DALI's decoder does not read.
    """

    def __init__(
        self,
        beton: EncodedImages,
        *,
        workers: int,
        ahead: int = 3,
        on_broken: OnBroken = "raise",
        device: torch.device,
    ) -> None:
        if (np.asarray(beton.modes) != ImageMode.JPG).any():
            raise LoaderError(beton.path, "it holds raw images, and DALI decodes JPEGs", "Use --engine threads.")
        self.beton = beton
        self.workers = workers
        self.ahead = ahead
        self.device = device
        self.recovery = Recovery(beton, on_broken, self.decodes)
        self.decoder = Runner(decoding, workers, device, side=beton.max_side)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.croppers: dict[tuple[int, ...], Runner] = {}
        self.running = threading.Lock()  # a pipeline's outputs are overwritten by its next run

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch per request, in order; see ``Engine``. The images are on the engine's device."""
        return prefetch(map(self.decode, requests), self.ahead)

    def decode(self, request: Request) -> DecodedBatch:
        """Decode one step here and now."""
        side = self.beton.max_side
        with self.running:
            (images,), samples, broken = self.recovery.deliver(request, lambda s: self.decoder(self.jpegs(s)))
            with self.copying():
                canvases = torch.empty((len(samples), side, side, 3), dtype=torch.uint8, device=self.device)
                copy(images, canvases)
        return DecodedBatch(
            images=canvases,
            sizes=self.sizes(samples),
            samples=samples,
            labels=self.beton.labels[samples],
            broken=broken,
        )

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield the crops of each request, in order, on the engine's device.

        Args:
            requests: the steps.
            specs: sizes and counts of the crops.
            plan_for: draws the plan of samples ``(B,)`` and their sizes ``(B, 2)``.

        Raises:
            LoaderError: as ``images``.
        """
        return prefetch((self.crop(request, specs, plan_for) for request in requests), self.ahead)

    def crop(self, request: Request, specs: tuple[CropSpec, ...], plan_for: PlanFor) -> CroppedBatch:
        """Crop one step here and now."""
        sizes = tuple(spec.size for spec in specs for _ in range(spec.count))
        cropper = self.croppers.setdefault(sizes, Runner(cropping, self.workers, self.device, sizes=sizes))

        def run(samples: NDArray[np.int64]) -> tuple[Any, ...]:
            return cropper(self.jpegs(samples) | rows_of(plan_for(samples, self.sizes(samples))))

        with self.running:
            made, samples, broken = self.recovery.deliver(request, run)
            with self.copying():
                crops = crop_major(made, specs, len(samples), self.device)
        return CroppedBatch(crops=crops, samples=samples, labels=self.beton.labels[samples], broken=broken)

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Allocate and copy on a stream of the engine's own; at the end all is there, and DALI may go on.

        On the default stream the copies would queue behind the training's step. Memory allocated there could be that
        of a batch which the step still reads, and would be written before it has done so.
        """
        if self.stream is None:
            yield
            return
        torch.cuda.set_device(self.stream.device)  # of this thread, which begins on the first GPU: see CopyStream.copy
        with torch.cuda.stream(self.stream):
            yield
        self.stream.synchronize()  # this thread waits, not the one that trains

    def decodes(self, sample: int) -> bool:
        """Whether DALI can decode one sample."""
        alone = Runner(decoding, 1, self.device, side=self.beton.max_side)
        try:
            alone(self.jpegs(np.array([sample])))
        except DecoderFailed:
            return False
        return True

    def jpegs(self, samples: NDArray[np.int64]) -> dict[str, Sequence[NDArray[Any]]]:
        """What a decoder is fed: views into the mapped file, not copied."""
        return {"jpeg": [self.beton.encoded(sample) for sample in samples.tolist()]}

    def sizes(self, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Height and width of each sample: ``(B, 2)``."""
        return np.stack([self.beton.heights[samples], self.beton.widths[samples]], axis=1).astype(np.int32)

    def close(self) -> None:
        """Let go of the pipelines and their threads."""
        with self.running:
            self.decoder.close()
            for cropper in self.croppers.values():
                cropper.close()


class Runner:
    """A DALI pipeline, built when it is first needed, and again for more samples or after an error has spoilt it.

    One batch at a time: what is to run ahead does so on the thread that calls.

    Args:
        graph: a function that ``pipeline_def`` decorated.
        workers: DALI's threads.
        device: where it runs.
        arguments: of the graph.
    """

    def __init__(self, graph: Callable[..., Any], workers: int, device: torch.device, **arguments: Any) -> None:
        device_id = None if device.type == "cpu" else (device.index or 0)
        self.graph = graph
        self.options = arguments | {"num_threads": workers, "device_id": device_id, "device": device.type}
        self.pipeline: Any = None
        self.room = 0

    def __call__(self, feeds: Feeds) -> tuple[Any, ...]:
        """Run the pipeline on its inputs, by name; one array a sample.

        Raises:
            DecoderFailed: with DALI's reason.
        """
        samples = len(feeds["jpeg"])
        if self.pipeline is None or samples > self.room:
            self.pipeline, self.room = self.graph(batch_size=samples, **self.options), samples
        try:
            for name, arrays in feeds.items():
                self.pipeline.feed_input(name, arrays)
            return self.pipeline.run()
        except RuntimeError as error:  # DALI raises nothing more telling, and its pipeline is of no use any more
            self.close()
            raise DecoderFailed(reason(error)) from error

    def close(self) -> None:
        """Let go of the pipeline; the next call builds another."""
        self.pipeline = None


def reason(error: RuntimeError) -> str:
    """The line that matters of DALI's long message."""
    lines = [line for line in str(error).partition("encountered:")[2].splitlines() if line]
    return lines[0] if lines else first_line(error)


def copy(images: Any, out: Tensor) -> None:
    """Copy DALI's images, all of one size, into a tensor of our own, which DALI never overwrites.

    On a GPU the current stream copies, and nobody waits.
    """
    feed_ndarray(images.as_tensor(), out, torch.cuda.current_stream(out.device) if out.is_cuda else None)


def crop_major(made: Sequence[Any], specs: tuple[CropSpec, ...], batch: int, device: torch.device) -> list[Tensor]:
    """DALI's lists, one per crop, as one ``(count * B, size, size, 3)`` buffer per crop size."""
    buffers, first = [], 0
    for spec in specs:
        buffer = torch.empty((spec.count, batch, spec.size, spec.size, 3), dtype=torch.uint8, device=device)
        for crop, images in zip(buffer, made[first : first + spec.count], strict=True):
            copy(images, crop)
        buffers.append(buffer.flatten(0, 1))
        first += spec.count
    return buffers


def rows_of(plan: Plan) -> dict[str, Sequence[NDArray[Any]]]:
    """The plan as inputs, ``plan0`` to ``plan{V-1}``: a row of float32 a crop, taken apart again by ``make_crop``."""
    rows = COLUMNS.pack(plan._asdict())
    return {f"plan{v}": list(rows[:, v]) for v in range(rows.shape[1])}


# The graphs. Their functions build operators; an ``if`` in them is taken sample by sample.


@pipeline_def(exec_dynamic=True, prefetch_queue_depth=1)
def decoding(side: int, device: str) -> Any:
    """Images in the upper left of black ``(side, side, 3)`` canvases."""
    return fn.pad(decoded(device), axes=(0, 1), shape=(side, side), fill_value=0)


@pipeline_def(exec_dynamic=True, prefetch_queue_depth=1, enable_conditionals=True)
def cropping(sizes: Sequence[int], device: str) -> tuple[Any, ...]:
    """All crops of each image, decoded once."""
    image = decoded(device)
    crops = []
    for v, size in enumerate(sizes):
        row = fn.external_source(name=f"plan{v}", dtype=types.FLOAT, ndim=1)
        crops.append(make_crop(image, row, size, device))
    return tuple(crops)


def decoded(device: str) -> Any:
    """RGB as libjpeg-turbo decodes it at its most accurate; nobody turns it by its EXIF orientation."""
    jpeg = fn.external_source(name="jpeg", dtype=types.UINT8, ndim=1, no_copy=True)
    return fn.decoders.image(
        jpeg,
        device="mixed" if device == "cuda" else "cpu",
        output_type=types.RGB,
        adjust_orientation=False,
        jpeg_fancy_upsampling=True,
    )


def make_crop(image: Any, row: Any, size: int, device: str) -> Any:
    """One crop of each image, uint8 after every operation, as PIL's."""
    plan = {name: row[place] for name, place in COLUMNS.places.items()}
    box = fn.cast(plan["boxes"], dtype=types.INT32)
    # Cut out first: with roi_start and roi_end the filter reads pixels beyond the box, up to a third of the range.
    crop = fn.slice(image, box[0:2], box[2:4], axes=(0, 1))
    crop = fn.resize(crop, size=(size, size), interp_type=types.INTERP_LINEAR, antialias=True)
    crop = fn.flip(crop, horizontal=fn.cast(plan["flip"], dtype=types.INT32))
    if plan["jitter"] > 0:
        for place in range(4):
            crop = operate(crop, plan["order"][place], plan["factors"], device)
    if plan["grey"] > 0:
        crop = fn.color_space_conversion(luma(crop), image_type=types.GRAY, output_type=types.RGB)
    if plan["blur_sigma"] > 0:
        crop = fn.gaussian_blur(crop, sigma=plan["blur_sigma"], window_size=TAPS)
    if plan["solarise"] < LEVELS:
        crop = crop ^ (fn.cast(crop >= plan["solarise"], dtype=types.UINT8) * WHITE)  # the complement of eight bits
    return crop


def operate(crop: Any, operation: Any, factors: Any, device: str) -> Any:
    """One operation of the colour jitter, chosen by its number, as ``pipelines.augment.gpu.colour`` defines it."""
    if operation == int(Operation.BRIGHTNESS):
        crop = fn.brightness(crop, brightness=factors[0])
    elif operation == int(Operation.CONTRAST):
        # Operators take their arguments from the CPU.
        crop = fn.contrast(crop, contrast=factors[1], contrast_center=fn.reductions.mean(luma(crop)).cpu())
    elif operation == int(Operation.SATURATION):
        crop = fn.saturation(crop, saturation=factors[2])
    else:
        crop = turn_hue(crop, factors[3], device)
    return crop


def luma(crop: Any) -> Any:
    """Grey of ITU-R 601: ``(H, W, 1)`` uint8."""
    return fn.color_space_conversion(crop, image_type=types.RGB, output_type=types.GRAY)


WHITE = types.Constant(255).uint8()
DIFFERENCES = [0.0, 1, -1, -1, 0, 1, 1, -1, 0]  # green - blue, blue - red, red - green


def turn_hue(crop: Any, turns: Any, device: str) -> Any:
    """Turn the colour wheel of HSV; DALI's own hue turns YIQ's, which changes how bright and how colourful it looks."""

    def per_channel(red: float, green: float, blue: float) -> Any:
        value = np.array([[[red, green, blue]]], dtype=np.float32)
        return types.Constant(value, device="gpu" if device == "cuda" else "cpu")

    def fraction(x: Any) -> Any:
        return x - math.floor(x)

    value = fn.reductions.max(crop, axes=(2,), keep_dims=True)
    least = fn.reductions.min(crop, axes=(2,), keep_dims=True)
    chroma = fn.cast(value - least, dtype=types.FLOAT)
    differences = fn.coord_transform(crop, M=DIFFERENCES, dtype=types.FLOAT)
    # Each channel's hue if it were the largest; where two are, theirs agree.
    hues = fraction((differences / math.max(chroma, 1.0) + per_channel(0, 2, 4)) / 6)
    hue = fn.reductions.max(hues * (crop == value), axes=(2,), keep_dims=True)
    shares = math.clamp(math.abs(fraction(hue + turns + per_channel(0, 4 / 6, 2 / 6)) * 6 - 3) - 1, 0.0, 1.0)
    return fn.cast(least + chroma * shares, dtype=types.UINT8)  # clipped and rounded
