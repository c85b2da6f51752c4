"""The GPU suite: tests, the augmenter alone, the loaders to the device, the trainer; one JSON and one table."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import tyro

from frl import console
from frl.beton import BetonWriter
from frl.config import AugmentConfig, CropSpec, DataConfig
from frl.errors import FrlError
from frl.runtime.numerics import exact_products
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import draw
from pipelines.loader import make_loader

ROOT = Path(__file__).parents[2]
LIMITS = {"tests": 150, "trainer": 150}  # seconds
PACKAGES = ("torch", "torchvision", "triton", "numpy", "numba", "opencv-python", "ffcv", "nvidia-dali-cuda130")


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Test and measure the training device."""

    device: Literal["cuda", "cpu"] = "cuda"
    """cpu: a run through the script on small inputs, whose figures mean nothing."""
    out: Path = ROOT / "docs" / "results"
    """Folder of the JSON and the table."""
    compile: bool = True
    """Compile the augmentation; never on a CPU, where it takes minutes."""
    skip: tuple[Literal["tests", "normaliser", "loaders", "trainer"], ...] = ()
    """Parts to leave out."""
    batches: tuple[int, ...] = (64, 256, 512)
    """Batch sizes of the augmenter alone."""


@dataclass(frozen=True)
class Workload:
    """What is measured: the paper's crops of 256-pixel faces; on a CPU, next to nothing."""

    recipe: AugmentConfig
    side: int
    batches: tuple[int, ...]
    loader_batch: int
    images: int
    rounds: int
    seconds: float


def workload(config: BenchConfig) -> Workload:
    """The sizes for a device."""
    if config.device == "cuda":
        return Workload(AugmentConfig(), 256, config.batches, 256, 2048, 5, 1.0)
    small = (CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=6, scale=(0.05, 0.14)))
    return Workload(AugmentConfig(crops=small), 64, (8,), 8, 32, 2, 0.05)


class Bench:
    """One device, one workload; each method measures one thing and returns what goes into the JSON."""

    def __init__(self, config: BenchConfig) -> None:
        self.device = torch.device(config.device)
        self.compile = config.compile and config.device == "cuda"
        self.work = workload(config)
        self.sides = [(spec.size, spec.count) for spec in self.work.recipe.crops]
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

    def augment(self, batch: int) -> dict[str, float]:
        work, side = self.work, self.work.side
        augment = MultiCrop(work.recipe, dtype=torch.bfloat16, compile=self.compile).to(self.device)
        images = torch.from_numpy(np.stack(list(faces(batch, side)))).to(self.device)
        sizes = np.full((batch, 2), side)
        plans = [draw(work.recipe, 0, epoch, np.arange(batch), sizes) for epoch in range(8)]
        packed = [torch.from_numpy(pack(plan)).to(self.device) for plan in plans]
        start = time.perf_counter()
        augment(images, plans[0])
        self.wait()
        compiling = time.perf_counter() - start
        turn, whole, epochs = itertools.cycle(packed), itertools.cycle(plans), itertools.count()

        def with_plan() -> None:
            augment(images, draw(work.recipe, 0, next(epochs), np.arange(batch), sizes))

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

    def product_flops(self) -> float:
        """Operations of an image's matrix products: resampling and blur, along both axes; see docs/gpu_engine.md."""
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
        normalise = NormaliseCrops(self.work.recipe, dtype=torch.bfloat16, compile=self.compile).to(self.device)
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
            write(path, self.work.images, self.work.side)
            return {engine: self.load(path, engine) for engine in ("ffcv", "dali", "torch")}

    def load(self, path: Path, engine: Literal["ffcv", "dali", "torch"]) -> dict[str, float] | str:
        batch, compile = self.work.loader_batch, self.compile
        start = time.perf_counter()
        try:
            loader = make_loader(
                DataConfig(data=(path,), engine=engine), self.work.recipe, batch_size=batch, seed=0,
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


def faces(count: int, side: int) -> Iterator[np.ndarray]:
    """Images with the smoothness of photographs, ``(side, side, 3)`` uint8."""
    random = np.random.default_rng(0)
    for _ in range(count):
        coarse = random.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
        grain = random.normal(0, 4, (side, side, 1))
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        yield (smooth + grain).clip(0, 255).astype(np.uint8)


def write(path: Path, images: int, side: int, distinct: int = 64, broken: int | None = None) -> None:
    """A ``.beton`` of JPEGs, few of which differ; of image ``broken`` only the first half is there."""
    encoded = [cv2.imencode(".jpg", face)[1].tobytes() for face in faces(min(images, distinct), side)]
    with BetonWriter(path, capacity=images) as writer:
        for i in range(images):
            jpeg = encoded[i % len(encoded)]
            writer.append(jpeg[: len(jpeg) // 2] if i == broken else jpeg, side, side, i, f"{i}.jpg")


def run_tests() -> dict[str, Any]:
    """The tests of tests/gpu: how many passed, failed and were skipped, and the names of those that failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "tests/gpu", f"--junitxml={report}", "-p", "no:cacheprovider"]
        said = limited(command, LIMITS["tests"])
        if not report.exists():
            return {"skipped": last_line(said)}
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = [
        case.get("name") for case in suite.iter("testcase") if {child.tag for child in case} & {"failure", "error"}
    ]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return {"passed": passed, "skipped": counts["skipped"], "failed": failed}


def run_trainer(device: str) -> Any:
    """What ``scripts/bench/train.py --json FILE`` writes."""
    if device == "cpu":
        return "skipped: no GPU"
    script = ROOT / "scripts" / "bench" / "train.py"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "train.json"
        said = limited([sys.executable, str(script), "--json", str(result)], LIMITS["trainer"])
        return json.loads(result.read_text()) if result.exists() else f"skipped: {last_line(said)}"


def limited(command: list[str], seconds: float) -> str:
    """Run a command with an end; what it said."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {seconds:g} s"
    return done.stdout + done.stderr


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def describe(device: str) -> dict[str, Any]:
    """The device and the versions, without the machine's name or paths."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    about = {"device": device_name(device), "date": datetime.date.today().isoformat(), "cores": torch.get_num_threads()}
    about |= {"python": platform.python_version(), "versions": versions}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        about |= {"cuda": torch.version.cuda, "memory_gb": properties.total_memory / 1e9}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return about | {"commit": commit.stdout.strip() or "unknown"}


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    about = result["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"# {about['device']}",
        "",
        f"{about['date']}, commit {about['commit']}, Python {about['python']}; {versions}.",
    ]
    if about["device"] == "CPU":
        lines += ["", "A run through the script on small inputs, without a GPU: **the figures mean nothing.**"]
    for part, rows in ROWS.items():
        if part in result:
            lines += ["", *rows(result[part], result)]
    return "\n".join(lines) + "\n"


def test_rows(tests: dict[str, Any], _: dict[str, Any]) -> list[str]:
    if "passed" not in tests:
        return [f"Tests: skipped ({tests['skipped']})."]
    summary = f"Tests: {tests['passed']} passed, {len(tests['failed'])} failed, {tests['skipped']} skipped."
    return [summary, *(f"- failed: {name}" for name in tests["failed"])]


def peak_rows(peaks: dict[str, float], _: dict[str, Any]) -> list[str]:
    return [
        f"Peaks: a copy moves {peaks['copy_gb_s']:,.0f} GB/s, a product does {peaks['matmul_tflop_s']:,.1f} TFLOP/s."
    ]


def augmenter_rows(measured: list[dict[str, float]], result: dict[str, Any]) -> list[str]:
    peaks = result["peaks"]
    head = (
        "augmenter alone, batch | images/s | with the plan's copy | and its drawing | bytes that must move | products"
    )
    rows = [f"| {head} | memory |", "|---|---|---|---|---|---|---|"]
    for row in measured:
        moved, multiplied = (
            row["must_move_gb_s"] / peaks["copy_gb_s"],
            row["products_tflop_s"] / peaks["matmul_tflop_s"],
        )
        rates = (row["images_s"], row["images_s_with_copy_of_plan"], row["images_s_with_drawing"])
        shares = f"{moved:.0%} of peak | {multiplied:.0%} of peak | {row['memory_mb']:,.0f} MB |"
        rows.append(f"| {row['batch']} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + f" | {shares}")
    return rows


def normaliser_rows(measured: dict[str, float], _: dict[str, Any]) -> list[str]:
    copied = f"{measured['images_s_copied']:,.0f} images/s are copied to the device ({measured['copy_gb_s']:.1f} GB/s)"
    return [f"Crops made while loading: {copied}, {measured['images_s']:,.0f} images/s are normalised there."]


def loader_rows(measured: dict[str, Any], _: dict[str, Any]) -> list[str]:
    rows = ["| from the file to views on the device | images/s | first batch |", "|---|---|---|"]
    for engine, row in measured.items():
        if isinstance(row, str):
            rows.append(f"| {engine} | {row} | |")
        else:
            rows.append(f"| {engine} | {row['images_s']:,.0f} | {row['first_batch_s']:.1f} s |")
    return rows


def trainer_rows(measured: Any, _: dict[str, Any]) -> list[str]:
    return [f"Trainer: {measured}." if isinstance(measured, str) else "Trainer: see the JSON."]


ROWS = {
    "tests": test_rows, "peaks": peak_rows, "augmenter": augmenter_rows, "normaliser": normaliser_rows,
    "loaders": loader_rows, "trainer": trainer_rows,
}  # fmt: skip


def main() -> int:
    """Run the suite; exit status 1 if a test failed."""
    config = tyro.cli(BenchConfig, description=__doc__)
    if config.device == "cuda" and not torch.cuda.is_available():
        print(
            "bench_gpu: no GPU here. bash scripts/bench_gpu.sh --device cpu --out /tmp/smoke runs through the script."
        )
        return 1
    exact_products()
    bench, result = Bench(config), {"about": describe(config.device)}
    parts: dict[str, Callable[[], Any]] = {
        "tests": run_tests, "peaks": bench.peaks, "augmenter": bench.augmenter, "normaliser": bench.normaliser,
        "loaders": bench.loaders, "trainer": lambda: run_trainer(config.device),
    }  # fmt: skip
    for name in parts:
        if name not in config.skip:
            start = time.perf_counter()
            result[name] = parts[name]()
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    config.out.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", device_name(config.device).lower()).strip("-")
    (config.out / f"{stem}.json").write_text(json.dumps(result, indent=2) + "\n")
    (config.out / f"{stem}.md").write_text(table(result))
    print(table(result))
    return int(bool(result.get("tests", {}).get("failed")))


if __name__ == "__main__":
    sys.exit(console.run("bench gpu", main))
