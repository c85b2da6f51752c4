"""How far the engines are from the slow reference on one plan: ``python scripts/bench/parity.py`` (docs/parity.md)."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from parity_table import Difference, in_words

from frl import console
from frl.beton import Beton, BetonWriter
from frl.config import AugmentConfig, ColourConfig, DataConfig
from frl.errors import LoaderError
from pipelines.augment.gpu.ladder import Operation
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.plan import Plan, draw
from pipelines.augment.reference import Kind, crops_of
from pipelines.engines.engine import DecodedBatch, Request
from pipelines.loader import open_engine

CPU = torch.device("cpu")
Crops = list[list[NDArray[np.float32]]]  # one list of V crops, (size, size, 3) grey levels, an image


@dataclass(frozen=True, kw_only=True)
class ParityConfig:
    """Hold the engines against the reference."""

    data: Path | None = None
    """A .beton; none: drawn pictures."""
    count: int = 24
    """Images, the first of the file."""
    seed: int = 0
    """Of the plan."""


def only(plan: Plan, **kept: NDArray[Any]) -> Plan:
    """The crop, the flip and the resizing of a plan, and what else is given."""
    return Plan.unchanged(*plan.flip.shape)._replace(boxes=plan.boxes, flip=plan.flip, **kept)


def only_jitter(operation: Operation, plan: Plan) -> Plan:
    """Crop, flip, resize, and one of the jitter's operations on every crop."""
    factors = Plan.unchanged(*plan.flip.shape).factors
    factors[..., operation] = plan.factors[..., operation]
    return only(plan, jitter=np.ones_like(plan.jitter), order=plan.order, factors=factors)


def solarised(plan: Plan) -> Plan:
    """The plan, and every crop solarised at the usual threshold."""
    return plan._replace(solarise=np.full_like(plan.solarise, ColourConfig().solarise_threshold))


VARIANTS: dict[str, Callable[[Plan], Plan]] = {
    "crop, flip, resize": only,
    **{f"and {operation.name.lower()}": partial(only_jitter, operation) for operation in Operation},
    "and grey": lambda plan: only(plan, grey=np.ones_like(plan.grey)),
    "and blur": lambda plan: only(plan, blur_sigma=plan.blur_sigma),
    "and solarise": lambda plan: solarised(only(plan)),
    "everything": lambda plan: plan,
    "everything, solarised": solarised,
}


class Engine:
    """One way from a file to crops, with the images that its decoder gives."""

    def __init__(self, beton: Beton, name: str, augment: AugmentConfig, count: int) -> None:
        self.name, self.augment = name, augment
        self.request = Request(samples=np.arange(count), share=slice(0, count))
        decoding = "torch" if name == "gpu code" else name  # PIL's pixels for the GPU's code
        engine = open_engine(beton, DataConfig(engine=decoding, workers=1), CPU)  # type: ignore[arg-type]
        (self.decoded,) = engine.images([self.request])
        self.make = lambda plan_for: next(engine.crops([self.request], augment.crops, plan_for))

    def crops(self, plan: Plan) -> Crops:
        """The crops by the engine itself, or by the GPU's code from the decoded images."""
        if self.name == "gpu code":
            levels = dataclasses.replace(self.augment, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
            levels = levels.with_colour(
                blur_p=1, solarise_p=1
            )  # no operation is left out: the plan says which it wants
            views = [view.permute(0, 2, 3, 1) for view in MultiCrop(levels)(self.decoded.images, plan)]
        else:
            views = self.make(lambda samples, sizes: plan).crops
        batch = len(self.decoded.samples)
        return [[crop.float().numpy() for view in views for crop in view[i::batch]] for i in range(batch)]


def reference(decoded: DecodedBatch, plan: Plan, augment: AugmentConfig, kind: Kind = "EXACT") -> Crops:
    """The slow reference's crops of decoded images."""
    images = [
        image[:height, :width].numpy() for image, (height, width) in zip(decoded.images, decoded.sizes, strict=True)
    ]
    return [crops_of(image, plan, i, augment, kind) for i, image in enumerate(images)]  # type: ignore[misc]


def difference(ours: Crops, theirs: Crops) -> Difference:
    """Over all values of all crops."""
    pairs = [(a, b) for of_a, of_b in zip(ours, theirs, strict=True) for a, b in zip(of_a, of_b, strict=True)]
    values = np.concatenate([np.abs(a - b.astype(np.float32)).ravel() for a, b in pairs])
    return Difference(float(values.mean()), float(values.max()), float((values > 2).mean()))


def engines_of(beton: Beton, augment: AugmentConfig, count: int) -> Iterator[Engine]:
    """Every engine that is installed."""
    for name in ("threads", "ffcv", "torch", "dali", "gpu code"):
        try:
            yield Engine(beton, name, augment, count)
        except LoaderError as error:
            print(f"{name}: skipped, {error}", file=sys.stderr)


def measure(beton: Beton, augment: AugmentConfig, count: int, seed: int = 0) -> dict[str, dict[str, Difference]]:
    """Differences by what is compared, then by engine; the reference starts from the engine's own decoded images."""
    result: dict[str, dict[str, Difference]] = {}
    engines = list(engines_of(beton, augment, count))
    plan = draw(augment, seed, 0, np.arange(count), engines[0].decoded.sizes)
    for variant, change in VARIANTS.items():
        changed = change(plan)
        result[variant] = {
            engine.name: difference(engine.crops(changed), reference(engine.decoded, changed, augment))
            for engine in engines
        }
    pil = next(engine.decoded for engine in engines if engine.name == "torch")
    by_pil = reference(pil, plan, augment, "PIL")
    result["the decoder, against PIL"] = {engine.name: decoders(engine.decoded, pil) for engine in engines}
    result["everything, against PIL throughout"] = {
        engine.name: difference(engine.crops(plan), by_pil) for engine in engines
    }
    return result


def decoders(ours: DecodedBatch, theirs: DecodedBatch) -> Difference:
    """Of the decoded pixels."""
    return difference([[ours.images.float().numpy()]], [[theirs.images.float().numpy()]])


def write_pictures(path: Path, count: int) -> Path:
    """A ``.beton`` of drawn pictures of several sizes: smooth colours, sharp edges, some noise."""
    random = np.random.default_rng(0)
    with BetonWriter(path, capacity=count) as writer:
        for i in range(count):
            height, width = random.integers(160, 257, 2).tolist()
            coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
            image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float64)
            top, left = random.integers(0, 120, 2)
            image[top : top + 60, left : left + 40] = random.integers(0, 256, 3)
            noisy = (image + random.normal(0, 4, (height, width, 1))).clip(0, 255).astype(np.uint8)
            encoded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
            writer.append(encoded.tobytes(), height, width, i, f"{i}.jpg")
    return path


def main() -> None:
    """Measure and print."""
    config = tyro.cli(ParityConfig, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path = config.data or write_pictures(Path(folder) / "pictures.beton", config.count)
        with Beton(path) as beton:
            print(in_words(measure(beton, AugmentConfig(), min(config.count, len(beton)), config.seed)))


if __name__ == "__main__":
    sys.exit(console.run("bench parity", main))
