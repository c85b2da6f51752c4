"""A training run small enough for a test, on a loader that needs no files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from frl.batch import Batch
from frl.config import AugmentConfig, CropSpec, HealthConfig, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.runtime.distributed import world
from frl.training.build import build
from frl.training.train import train

CONFIG = RunConfig(
    augment=AugmentConfig(
        crops=(CropSpec(size=32, count=2, scale=(0.3, 1.0)), CropSpec(size=16, count=2, scale=(0.1, 0.3)))
    ),
    model=ModelConfig(arch="resnet18", batch_norm="local"),
    objective=SwAVConfig(hidden_dim=32, feature_dim=16, prototypes=12, queue_length=16, queue_from_epoch=1),
    optim=OptimConfig(batch_size=8, epochs=3, lr=0.5, start_lr=0.1, final_lr=0.01, warmup_epochs=1),
    device="cpu",
    precision="fp32",
    checkpoint_every_steps=2,
    log_every_steps=3,
)


class RandomViews:
    """Views drawn from (epoch, step) alone; ``identical`` shows the same image in every sample and crop."""

    def __init__(
        self, config: RunConfig, *, steps: int = 5, rank: int = 0, world_size: int = 1, identical: bool = False
    ):
        self.config = config
        self.steps = steps
        self.rank = rank
        self.world_size = world_size
        self.identical = identical
        self.dataset_fingerprint = "random"
        self.samples = steps * config.optim.batch_size
        self.identities = config.optim.batch_size
        self.sampling = "random"
        self.placement = None

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        batch = self.config.optim.batch_size
        for step in range(start, self.steps):
            generator = torch.Generator().manual_seed(0 if self.identical else 1000 * epoch + step)
            views = []
            for spec in self.config.augment.crops:
                view = torch.randn(spec.count, batch, 3, spec.size, spec.size, generator=generator)
                view = view[:1, :1].expand_as(view) if self.identical else view
                views.append(view.chunk(self.world_size, 1)[self.rank].flatten(0, 1).contiguous())
            samples = torch.arange(batch).chunk(self.world_size)[self.rank]
            yield Batch(views=views, samples=samples, targets={"identity": samples})


class Slowed(RandomViews):
    """Waits before each batch, so that a test can strike at a chosen step."""

    delay = 0.0

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in super().epoch(epoch, start):
            time.sleep(self.delay)
            yield batch


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Within it, the same bits again and again; what was set for the process before holds again afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def run(config: RunConfig, *, delay: float = 0.0, identical: bool = False) -> None:
    """Train as ``config`` says, alone or as a rank of torchrun's group."""
    torch.set_num_threads(1)
    with deterministic_algorithms(), world("cpu") as place:
        loader = Slowed(config, rank=place.rank, world_size=place.size, identical=identical)
        loader.delay = delay
        return train(build(config, loader, place))


def run_in(out: Path, delay: float = 0.0) -> None:
    """The test's run in folder ``out``."""
    run(replace(CONFIG, out=out), delay=delay)


def watchful(config: RunConfig, action: str) -> RunConfig:
    """``config`` with an alarm that loses patience within a test."""
    return replace(config, health=HealthConfig(action=action, patience_steps=6), log_every_steps=1)
