"""Objectives over a backbone of a few thousand weights, but those of two views of an image, and steps with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from tiny_objective import WIDTH, tiny_backbone
from tiny_run import CONFIG as RUN

from frl.config import (
    BarlowTwinsConfig,
    CropSpec,
    DINOConfig,
    HealthConfig,
    MoCoConfig,
    MoCoV3Config,
    ObjectiveConfig,
    RunConfig,
    SimCLRConfig,
    SupervisedConfig,
    SwAVConfig,
    VICRegConfig,
)
from frl.monitoring.health import diagnose
from frl.monitoring.metrics import Sums
from frl.objectives import Diagnosis, Objective, Setting
from frl.runtime.distributed import World
from frl.training.build import implementation
from frl.training.step import Step

HIDDEN, OUT, BATCH, STEPS, IDENTITIES = 24, 12, 16, 30, 7
DINO = DINOConfig(
    hidden_dim=HIDDEN,
    bottleneck_dim=OUT,
    outputs=40,
    head_batch_norm=True,
    teacher_momentum=0.9,
    teacher_temperature=0.07,
    warmup_teacher_temperature_epochs=2,
)
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "dino": DINO,
    "dino, balanced": replace(DINO, centering="sinkhorn"),
    "barlow": BarlowTwinsConfig(hidden_dim=HIDDEN, feature_dim=OUT + 1),
    "vicreg": VICRegConfig(hidden_dim=HIDDEN, feature_dim=OUT + 1),
    "softmax": SupervisedConfig(loss="softmax", embedding_dim=OUT),
    "cosface": SupervisedConfig(loss="cosface", embedding_dim=OUT, scale=16.0),
    "arcface": SupervisedConfig(loss="arcface", embedding_dim=OUT, scale=16.0),
    "arcface, shared": SupervisedConfig(embedding_dim=OUT, scale=16.0, share_classes="on"),
    "softmax, sampled": SupervisedConfig(loss="softmax", embedding_dim=OUT, sample_classes=0.4),
    "swav of identities": SwAVConfig(
        hidden_dim=HIDDEN, feature_dim=OUT, prototypes=10, freeze_prototypes_steps=0, positives="identity"
    ),
    "simclr of identities": SimCLRConfig(hidden_dim=HIDDEN, feature_dim=OUT, positives="identity"),
    "moco-v2 of identities": MoCoConfig(
        hidden_dim=HIDDEN, feature_dim=OUT, queue_length=3 * BATCH, bn_groups=1, momentum=0.9, positives="identity"
    ),
    "moco-v3 of identities": MoCoV3Config(
        hidden_dim=HIDDEN, feature_dim=OUT, temperature=0.3, momentum=0.9, positives="identity"
    ),
}
MULTI_CROP = ("dino", "dino, balanced", "swav of identities")
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


def run_of(name: str, *, accumulate: int = 1, lr: float = 0.1, **options: Any) -> RunConfig:
    """30 steps of plain SGD, ten an epoch; two crops of 16 pixels, and where the method has use for them two of 12."""
    crops = (CropSpec(size=16, count=2, scale=(0.3, 1.0)), CropSpec(size=12, count=2, scale=(0.1, 0.3)))
    return replace(
        RUN,
        objective=replace(OBJECTIVES[name], **options),
        augment=replace(RUN.augment, crops=crops if name in MULTI_CROP else crops[:1]),
        optim=replace(
            RUN.optim,
            batch_size=BATCH,
            accumulate=accumulate,
            lr=lr,
            start_lr=lr / 2,
            final_lr=lr / 10,
            trust=0.0,
            weight_decay=1e-3,
        ),
        health=HealthConfig(),
    )


def objective_of(config: RunConfig, *, ranks: int = 1) -> Any:
    """The same weights at every call, float64; SwAV's in float32, in which it makes its assignments."""
    torch.manual_seed(0)
    setting = Setting.of(config, STEPS // config.optim.epochs, ranks, IDENTITIES)
    backbone = tiny_backbone()
    objective = implementation(config.objective)(config.objective, backbone, WIDTH, setting)
    return objective.to(dtype_of(config), memory_format=torch.channels_last)


def dtype_of(config: RunConfig) -> torch.dtype:
    return torch.float32 if config.objective.name == "swav" else torch.float64


def batch_of(
    config: RunConfig, step: int, *, rank: int = 0, world: int = 1, order: torch.Tensor | None = None
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """A rank's share of the views, crop-major, and of the labels, of which one is unknown; in the ``order`` given."""
    generator = torch.Generator().manual_seed(step)
    views, order = [], torch.arange(BATCH) if order is None else order
    for spec in config.augment.crops:
        crops = torch.randn(spec.count, BATCH, 3, spec.size, spec.size, generator=generator, dtype=torch.float64)
        share = crops[:, order].chunk(world, 1)[rank].flatten(0, 1)
        views.append(share.to(dtype_of(config)).contiguous(memory_format=torch.channels_last))
    labels = torch.randint(0, IDENTITIES, (BATCH,), generator=generator)
    labels[3] = -1
    return views, labels[order].chunk(world)[rank]


def step_of(config: RunConfig, objective: Objective, world: World = ALONE) -> Step:
    return Step(config, objective, STEPS // config.optim.epochs, world)


def gradients(objective: Objective) -> torch.Tensor:
    """Of everything that learns, as one vector; of classes that are shared out the rows of this rank."""
    return torch.cat([p.grad.flatten() for p in objective.parameters() if p.requires_grad and p.grad is not None])


def diagnosis_after(config: RunConfig, steps: int) -> Diagnosis | None:
    """What is wrong, by the last few steps of a run on four images that come again and again, in float32."""
    objective = objective_of(config).float()
    step, sums = step_of(config, objective), Sums(ALONE.device)
    views, labels = batch_of(config, 0)
    views = [view.float() for view in views]
    for index in range(steps):
        output = step(views, labels)
        if index >= steps - 5:
            sums.add(output, step.finite)
    _, skipped, vitals = sums.read(ALONE)
    assert not skipped.count
    figures = objective.summarise(vitals.histograms) if vitals.histograms else {}
    return diagnose(replace(vitals, scalars={**vitals.scalars, **figures}), objective, config)


@contextmanager
def double_by_default() -> Iterator[None]:
    """So that the optimiser's rates are not rounded to float32 on the device."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
