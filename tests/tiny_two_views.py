"""Objectives of two views over a backbone of a few thousand weights, in float64, and the steps of a run with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from tiny_objective import WIDTH, tiny_backbone
from tiny_run import CONFIG as RUN

from frl.config import (
    BYOLConfig,
    CropSpec,
    MoCoConfig,
    MoCoV3Config,
    ObjectiveConfig,
    RunConfig,
    SimCLRConfig,
    SimSiamConfig,
)
from frl.objectives import Objective, Setting
from frl.runtime.distributed import World
from frl.training.build import implementation

HIDDEN, OUT, BATCH, STEPS = 24, 12, 16, 30
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "simclr": SimCLRConfig(hidden_dim=HIDDEN, feature_dim=OUT),
    "moco-v2": MoCoConfig(hidden_dim=HIDDEN, feature_dim=OUT, queue_length=3 * BATCH, bn_groups=4, momentum=0.9),
    "moco-v3": MoCoV3Config(hidden_dim=HIDDEN, feature_dim=OUT, temperature=0.3, momentum=0.9),
    "byol": BYOLConfig(hidden_dim=HIDDEN, feature_dim=OUT, momentum=0.9),
    "simsiam": SimSiamConfig(hidden_dim=HIDDEN, feature_dim=OUT, predictor_dim=6),
}
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


def run_of(name: str, **options: Any) -> RunConfig:
    """30 steps of plain SGD, ten an epoch."""
    return replace(
        RUN,
        objective=replace(OBJECTIVES[name], **options),
        augment=replace(RUN.augment, crops=(CropSpec(size=16, count=2, scale=(0.3, 1.0)),)),
        optim=replace(RUN.optim, batch_size=BATCH, lr=0.1, trust=0.0, weight_decay=1e-3),
    )


def objective_of(config: RunConfig, *, ranks: int = 1) -> Objective:
    """The same weights at every call, float64."""
    torch.manual_seed(0)
    setting = Setting.of(config, steps_per_epoch=STEPS // config.optim.epochs, ranks=ranks)
    objective = implementation(config.objective)(config.objective, tiny_backbone(), WIDTH, setting)
    return objective.double().to(memory_format=torch.channels_last)


def views_of(step: int, *, rank: int = 0, world: int = 1, order: torch.Tensor | None = None) -> list[torch.Tensor]:
    """A rank's share of two views ``(2 * b, 3, 16, 16)`` of a batch, crop-major; ``order``: of the samples."""
    generator = torch.Generator().manual_seed(step)
    crops = torch.randn(2, BATCH, 3, 16, 16, generator=generator, dtype=torch.float64)
    crops = crops if order is None else crops[:, order]
    share = crops.chunk(world, 1)[rank].flatten(0, 1)
    return [share.contiguous(memory_format=torch.channels_last)]


def gradients(objective: Objective) -> torch.Tensor:
    """Of everything that learns, as one vector."""
    return torch.cat([p.grad.flatten() for p in objective.parameters() if p.requires_grad and p.grad is not None])
