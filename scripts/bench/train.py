"""Measure training part by part beside the published recipe's step, in one run, interleaved.

    python scripts/bench/train.py [--data faces.beton] [--json FILE] [--quick] [--device cpu]

Every contestant takes its turn in every round; the table shows medians, and ratios to the plain reference step.
ResNet-50 and the paper's crops on a GPU; resnet18 and small crops on a CPU. Without --data the loader reads synthetic
faces of 256 pixels, drawn for the occasion.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
import tyro
from bench_report import about, save
from gpu_suite import write_repeated
from reference_step import ReferenceStep
from train_table import Row, in_words

from frl import console
from frl.batch import Batch
from frl.config import CropSpec, DataConfig, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.runtime.distributed import World, pick_device
from frl.runtime.numerics import numerics
from frl.runtime.precision import computes_bf16, uses_bf16
from frl.synthetic import write_folder
from frl.training.build import build_step
from frl.training.step import Step
from pipelines.augment.plan import draw
from pipelines.loader import make_loader, multicrop_on

EPOCH = 64  # steps


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Training, part by part, beside the published recipe's step."""

    data: Path | None = None
    """A .beton to load; none: synthetic faces."""
    json: Path | None = None
    """Also write the figures here."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    batch_size: int = 0
    """Images of a step; 0: 128 on a GPU, 32 on a CPU."""
    rounds: int = 5
    """Turns that each contestant takes."""
    steps: int = 10
    """Steps of a turn."""
    quick: bool = False
    """Three rounds of two steps."""
    engine: Literal["threads", "ffcv", "torch"] = "threads"
    """What decodes."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One step of a part, and what is done before its turn, untimed: taking the batches that are ready, say."""

    step: Callable[[], object]
    before: Callable[[], object] = lambda: None


def main() -> None:
    """Measure, say what was found, write the figures."""
    bench = tyro.cli(BenchConfig, description=__doc__)
    if bench.quick:
        bench = replace(bench, rounds=3, steps=2)
    device = pick_device(bench.device, local_rank=0)
    with ExitStack() as stack:
        stack.enter_context(_process_group(device))
        stack.enter_context(numerics(device))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        batch = bench.batch_size or (128 if device.type == "cuda" else 32)
        config = workload(
            device, batch, DataConfig(data=(bench.data or synthetic(folder, batch),), engine=bench.engine)
        )
        rows = measure(contestants(config, device), bench, config.optim.batch_size, device)
    print(in_words(rows))
    if bench.json is not None:
        figures = {
            **about(device),
            "model": config.model.network,
            "crops": " + ".join(f"{spec.count}x{spec.size}" for spec in config.augment.crops),
            "batch_size": config.optim.batch_size,
            "precision": "bf16" if uses_bf16(config.precision) else "fp32",
            "rows": [asdict(row) for row in rows],
        }
        save(bench.json, figures)


def workload(device: torch.device, batch: int, data: DataConfig) -> RunConfig:
    """What is trained: the paper's network and crops on a GPU, small ones on a CPU."""
    precision: Literal["bf16", "fp32"] = "bf16" if computes_bf16(device) else "fp32"
    config = RunConfig(data=data, optim=OptimConfig(batch_size=batch), precision=precision)
    if device.type == "cuda":
        return config
    crops = (CropSpec(size=64, count=2, scale=(0.14, 1.0)), CropSpec(size=32, count=6, scale=(0.05, 0.14)))
    return replace(
        config,
        augment=replace(config.augment, crops=crops),
        model=ModelConfig(arch="resnet18"),
        objective=SwAVConfig(hidden_dim=512),
    )


def synthetic(folder: Path, batch: int) -> Path:
    """A ``.beton`` of faces of 256 pixels, few of which differ: enough for epochs that a turn rarely ends."""
    write_folder(folder / "faces", 16, 4, 256, seed=0)
    jpegs = [path.read_bytes() for path in sorted((folder / "faces").rglob("*.jpg"))]
    write_repeated(folder / "faces.beton", jpegs, EPOCH * batch, 256)
    return folder / "faces.beton"


def contestants(config: RunConfig, device: torch.device) -> dict[str, Contestant]:
    """The reference step, our step in both modes, the augmenter, the loader, and all together, by name."""
    loader = make_loader(
        config.data,
        config.augment,
        batch_size=config.optim.batch_size,
        seed=0,
        device=device,
        dtype=torch.bfloat16 if uses_bf16(config.precision) else torch.float32,
    )
    batches = endless(loader)
    resident = next(batches).views
    plain = [view.float().contiguous() for view in resident]
    reference = ReferenceStep(config, device)
    eager = training(replace(config, compile="off"), len(loader), device)
    best = training(config, len(loader), device) if device.type == "cuda" else eager
    modes = {"step": best} if best is eager else {"step, eager": eager, "step": best}

    def drain() -> None:
        for _ in range(config.data.prefetch + 1):  # made while others had their turns
            next(batches)

    return {
        "reference step": Contestant(step=lambda: reference(plain)),
        **{name: Contestant(step=partial(step, resident)) for name, step in modes.items()},
        **augmenter(config, device),
        "loader": Contestant(step=lambda: next(batches), before=drain),
        "loader and step": Contestant(step=lambda: best(next(batches).views), before=drain),
    }


def augmenter(config: RunConfig, device: torch.device) -> dict[str, Contestant]:
    """Plan and crops of images on the GPU; without one the engine makes the crops, and the loader's row has them."""
    if device.type == "cpu":
        return {}
    batch, side = config.optim.batch_size, 256
    images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=device)
    samples, sizes = np.arange(batch), np.full((batch, 2), side)
    dtype = torch.bfloat16 if uses_bf16(config.precision) else torch.float32
    multicrop = multicrop_on(device, config.augment, dtype=dtype, compile=True)
    return {"augmenter": Contestant(step=lambda: multicrop(images, draw(config.augment, 0, 0, samples, sizes)))}


def training(config: RunConfig, steps_per_epoch: int, device: torch.device) -> Step:
    """The trainer's step, of a network of its own."""
    return build_step(config, steps_per_epoch, alone(device))


def alone(device: torch.device) -> World:
    """A world of this process."""
    return World(rank=0, size=1, local_rank=0, local_size=1, device=device)


def endless(loader) -> Iterator[Batch]:  # type: ignore[no-untyped-def]
    """The batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.epoch(epoch)
        epoch += 1


def measure(entered: dict[str, Contestant], bench: BenchConfig, batch: int, device: torch.device) -> list[Row]:
    """Let everybody warm up, then take turns; medians over the rounds."""
    on_gpu = device.type == "cuda"
    seconds: dict[str, list[float]] = {name: [] for name in entered}
    memory: dict[str, float] = {}
    for contestant in entered.values():
        for _ in range(3 if on_gpu else 1):
            contestant.step()
    for _ in range(bench.rounds):
        for name, contestant in entered.items():
            contestant.before()
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            for _ in range(bench.steps):
                contestant.step()
            if on_gpu:
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated() / 2**30
            seconds[name].append((time.perf_counter() - began) / bench.steps)
    speed = {name: batch / statistics.median(taken) for name, taken in seconds.items()}
    base = speed["reference step"]
    return [
        Row(name=name, images_per_s=found, of_reference=found / base, memory_gib=memory.get(name))
        for name, found in speed.items()
    ]


@contextmanager
def _process_group(device: torch.device) -> Iterator[None]:
    """A group of one, without which stock SyncBatchNorm does not synchronise."""
    if device.type != "cuda":
        yield
        return
    with tempfile.NamedTemporaryFile() as meeting:
        dist.init_process_group("nccl", init_method=f"file://{meeting.name}", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(console.run("bench train", main))
