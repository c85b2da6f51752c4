"""The GPU suite: tests, the augmenter alone, the loaders to the device, the trainer; ``gpu_table`` puts it in words."""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import tyro
from bench_report import ROOT, about, save
from gpu_suite import faces, last_line, limited, run_tests, write_faces
from gpu_table import page

from frl import console
from frl.config import AugmentConfig, CropSpec, DataConfig, EngineName
from frl.errors import FrlError
from frl.runtime.numerics import exact_products
from pipelines.augment.compiled import Compiled
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import draw
from pipelines.loader import make_loader

Way = Literal["graph", "kernels"]
TRAINER = Path(__file__).with_name("train.py")
LIMIT = 400  # seconds for the trainer, which compiles the network in several ways


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Test and measure the training device."""

    device: Literal["cuda", "cpu"] = "cuda"
    """cpu: a run through the script on small inputs, whose figures mean nothing."""
    out: Path = ROOT / "docs" / "results"
    """Folder of the JSON and the table."""
    compile: bool = True
    """Compile the augmentation; never on a CPU, where it takes minutes."""
    skip: tuple[Literal["tests", "normaliser", "loaders", "trainer", "kernels"], ...] = ()
    """Parts to leave out."""
    batches: tuple[int, ...] = (64, 256, 512)
    """Batch sizes of the augmenter alone."""
    trainer_batch: int = 0
    """Images of a training step; 0: 128."""


@dataclass(frozen=True)
class Workload:
    """What is measured: the paper's crops of 256-pixel faces; on a CPU, next to nothing."""

    augment: AugmentConfig
    side: int
    batches: tuple[int, ...]
    loader_batch: int
    images: int
    rounds: int
    seconds: float


def workload(config: BenchConfig) -> Workload:
    """The sizes for a device."""
    if config.device == "cuda":
        return Workload(AugmentConfig(), 256, config.batches, 256, 2048, 5, 0.3)
    small = (CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=6, scale=(0.05, 0.14)))
    return Workload(AugmentConfig(crops=small), 64, (8,), 8, 32, 2, 0.05)


class Bench:
    """One device, one workload; each method measures one thing and returns what goes into the JSON."""

    def __init__(self, config: BenchConfig) -> None:
        self.device = torch.device(config.device)
        self.compile = config.compile and config.device == "cuda"
        self.work = workload(config)
        self.sides = [(spec.size, spec.count) for spec in self.work.augment.crops]
        self.pixels = sum(count * size**2 for size, count in self.sides)

    def rate(self, run: Callable[[], Any], per_run: float) -> float:
        """Units a second: the median of some rounds, each long enough, with the device idle before and after."""
        run()
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        runs = max(1, round(self.work.seconds / (time.perf_counter() - start)))
        rates = []
        for _ in range(self.work.rounds):
            start = time.perf_counter()
            for _ in range(runs):
                run()
            self.wait()
            rates.append(runs * per_run / (time.perf_counter() - start))
        return statistics.median(rates)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peaks(self) -> dict[str, float]:
        """What the device reaches at its best: bytes a second of a copy, operations a second of a matrix product."""
        megabytes, side = (1024, 8192) if self.device.type == "cuda" else (16, 256)
        source = torch.empty(megabytes << 20, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        a = torch.randn(side, side, device=self.device, dtype=self.operand)
        copied = self.rate(lambda: target.copy_(source), 2 * source.numel())
        multiplied = self.rate(lambda: a @ a, 2 * side**3)
        return {"copy_gb_s": copied / 1e9, "matmul_tflop_s": multiplied / 1e12}

    @property
    def operand(self) -> torch.dtype:
        return torch.float16 if self.device.type == "cuda" else torch.float32

    def augmenter(self) -> list[dict[str, float]]:
        """The GPU's way alone, from uint8 images on the device to views, plans included in none, some or all."""
        return [self.augment(batch) for batch in self.work.batches]

    def kernels(self) -> list[dict[str, float]] | str:
        """The same by the kernels written in Triton, or why there is no figure."""
        if self.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
            return "skipped: no GPU, and no TRITON_INTERPRET=1"
        try:
            return [self.augment(batch, "kernels") for batch in self.work.batches]
        except Exception as error:
            return f"skipped: {type(error).__name__}, {next(iter(str(error).splitlines()), '')}"

    def multicrop(self, way: Way, augment: AugmentConfig, dtype: torch.dtype) -> MultiCrop:
        """A way of making views on the device: the compiled graph, which training takes, or the kernels in Triton."""
        if way == "graph":
            return MultiCrop(augment, dtype=dtype, compile=self.compile).to(self.device)
        from pipelines.augment.gpu.fused import FusedMultiCrop  # there may be no Triton without a GPU

        return FusedMultiCrop(augment, dtype=dtype, compile=self.compile).to(self.device)

    def augment(self, batch: int, way: Way = "graph") -> dict[str, float]:
        work, side = self.work, self.work.side
        augment = self.multicrop(way, work.augment, torch.bfloat16)
        images = torch.from_numpy(np.stack(list(faces(batch, side)))).to(self.device)
        sizes = np.full((batch, 2), side)
        plans = [draw(work.augment, 0, epoch, np.arange(batch), sizes) for epoch in range(8)]
        packed = [torch.from_numpy(pack(plan)).to(self.device) for plan in plans]
        start = time.perf_counter()
        augment(images, plans[0])
        self.wait()
        compiling = time.perf_counter() - start
        if isinstance(augment.masked, Compiled) and augment.masked.graph is None:
            raise RuntimeError(f"the {way} did not compile")
        turn, whole, epochs = itertools.cycle(packed), itertools.cycle(plans), itertools.count()

        def with_plan() -> None:
            augment(images, draw(work.augment, 0, next(epochs), np.arange(batch), sizes))

        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if self.device.type == "cuda" else 0
        kernels = self.rate(lambda: augment.masked(images, next(turn)), batch)
        peak = torch.cuda.max_memory_allocated() - before if self.device.type == "cuda" else 0
        return {
            "batch": batch,
            "images_s": kernels,
            "images_s_with_copy_of_plan": self.rate(lambda: augment(images, next(whole)), batch),
            "images_s_with_drawing": self.rate(with_plan, batch),
            "first_call_s": compiling,
            "memory_mb": peak / 1e6,
            "must_move_gb_s": kernels * (3 * side**2 + 2 * 3 * self.pixels) / 1e9,
            "products_tflop_s": kernels * self.product_flops() / 1e12,
        }

    def levels(self, way: Way) -> list[torch.Tensor]:
        """The views of some images in grey levels."""
        batch, side = self.work.batches[0], self.work.side
        augment = replace(self.work.augment, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
        images = torch.from_numpy(np.stack(list(faces(batch, side)))).to(self.device)
        plan = draw(augment, 0, 0, np.arange(batch), np.full((batch, 2), side))
        return self.multicrop(way, augment, torch.float32)(images, plan)

    def product_flops(self) -> float:
        """Operations of an image's products in the graph: resampling and blur, along both axes; docs/gpu_engine.md."""
        side = self.work.side
        return sum(
            count * 2 * 3 * (size * side**2 + size**2 * side + 2 * size**3) for size, count in self.sides
        )  # fmt: skip

    def normaliser(self) -> dict[str, float]:
        """Crops made while loading: the copy of the bytes to the device, and their normalisation there."""
        batch = self.work.batches[-1]
        shapes = [(count * batch, size, size, 3) for size, count in self.sides]
        pin = self.device.type == "cuda"
        crops = [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes]
        crops = [crop.pin_memory() if pin else crop for crop in crops]
        normalise = NormaliseCrops(self.work.augment, dtype=torch.bfloat16, compile=self.compile).to(self.device)
        there = [crop.to(self.device) for crop in crops]
        targets = [torch.empty_like(crop) for crop in there]

        def copy() -> None:
            for target, crop in zip(targets, crops, strict=True):
                target.copy_(crop, non_blocking=True)

        return {
            "batch": batch,
            "images_s": self.rate(lambda: normalise(there), batch),
            "images_s_copied": self.rate(copy, batch),
            "copy_gb_s": self.rate(copy, batch * 3 * self.pixels) / 1e9,
        }

    def loaders(self) -> dict[str, dict[str, float] | str]:
        """Images a second from a file to views on the device, by engine; or why there is no figure."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "faces.beton"
            write_faces(path, self.work.images, self.work.side)
            return {engine: self.load(path, engine) for engine in get_args(EngineName)}

    def load(self, path: Path, engine: EngineName) -> dict[str, float] | str:
        batch, compile = self.work.loader_batch, self.compile
        start = time.perf_counter()
        try:
            loader = make_loader(
                DataConfig(data=(path,), engine=engine), self.work.augment, batch_size=batch, seed=0,
                device=self.device, dtype=torch.bfloat16, compile=compile,
            )  # fmt: skip
            with ended(loader.epoch(0)) as batches:
                next(batches)
                self.wait()
                first = time.perf_counter() - start
        except FrlError as error:
            return f"skipped: {error.cause}"
        rates = []
        for epoch in range(1, 1 + self.work.rounds):
            start, images = time.perf_counter(), 0
            for step in loader.epoch(epoch):
                images += len(step.samples)
            self.wait()
            rates.append(images / (time.perf_counter() - start))
        loader.close()
        return {"images_s": statistics.median(rates), "first_batch_s": first}


@contextmanager
def ended(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Close an iterator that is not used up."""
    try:
        yield batches
    finally:
        batches.close()  # type: ignore[attr-defined]


def run_trainer(config: BenchConfig) -> Any:
    """What ``scripts/bench/train.py --json FILE`` writes."""
    if config.device == "cpu":
        return "skipped: no GPU"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "train.json"
        command = [sys.executable, str(TRAINER), "--json", str(result), "--batch-size", str(config.trainer_batch)]
        said = limited(command, LIMIT)
        print(said, flush=True)
        return json.loads(result.read_text()) if result.exists() else f"skipped: {last_line(said)}"


def main() -> int:
    """Run the suite; exit status 1 if a test failed."""
    config = tyro.cli(BenchConfig, description=__doc__)
    if config.device == "cuda" and not torch.cuda.is_available():
        print(
            "bench_gpu: no GPU here. bash scripts/bench_gpu.sh --device cpu --out /tmp/smoke runs through the script."
        )
        return 1
    exact_products()
    bench = Bench(config)
    where = about(bench.device)
    result: dict[str, Any] = {"about": where}
    parts: dict[str, Callable[[], Any]] = {
        "peaks": bench.peaks, "trainer": lambda: run_trainer(config), "tests": run_tests, "augmenter": bench.augmenter,
        "kernels": bench.kernels, "loaders": bench.loaders, "normaliser": bench.normaliser,
    }  # fmt: skip
    config.out.mkdir(parents=True, exist_ok=True)
    name = "cpu" if config.device == "cpu" else re.sub(r"[^a-z0-9]+", "-", where["device"].lower()).strip("-")
    for part in parts:
        if part not in config.skip:
            start = time.perf_counter()
            result[part] = parts[part]()
            print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
            # After each part: time on a GPU may end before they do.
            save(config.out / f"{name}.json", result)
            (config.out / f"{name}.md").write_text(page(result))
    print(page(result))
    return int(bool(result.get("tests", {}).get("failed")))


if __name__ == "__main__":
    sys.exit(console.run("bench gpu", main))
