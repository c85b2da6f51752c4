"""SwAV over a backbone of a few thousand weights: a stem, a residual block and a pooling, as in a ResNet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from frl.config import SwAVConfig
from frl.models.resnet import BasicBlock
from frl.objectives import Setting
from frl.objectives.swav import SwAV

CONFIG = SwAVConfig(hidden_dim=32, feature_dim=16, prototypes=12, freeze_prototypes_steps=0, queue_from_epoch=0)
WIDTH = 8


def tiny_backbone() -> nn.Module:
    """Random weights."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, stride=2, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
        BasicBlock(WIDTH, WIDTH),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def tiny_objective(*, ranks: int = 1, **options: Any) -> SwAV:
    """On two crops of the first size and two of the second; the same weights at every call, channels last."""
    torch.manual_seed(0)
    setting = Setting(crop_counts=(2, 2), batch_size=16, ranks=ranks)
    objective = SwAV(replace(CONFIG, **options), tiny_backbone(), WIDTH, setting)
    return objective.to(memory_format=torch.channels_last)


def tiny_views(batch: int, seed: int = 1) -> list[torch.Tensor]:
    """Of 16 and 12 pixels, crop-major."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2 * batch, 3, size, size, generator=generator) for size in (16, 12)]
