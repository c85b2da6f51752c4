"""The objective over a backbone of a few thousand weights: a stem, a residual block and a pooling, as in a ResNet."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from frl.config import ModelConfig, SwAVConfig
from frl.models.backbone import FaceNet
from frl.objectives.swav import SwAV

MODEL = ModelConfig(arch="resnet18", hidden_dim=32, feature_dim=16, prototypes=12)
WIDTH = 8


def tiny_net() -> FaceNet:
    """Random, the same at every call."""
    torch.manual_seed(0)
    net = FaceNet(MODEL)
    net.backbone = nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, stride=2, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
        BasicBlock(WIDTH, WIDTH),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    net.projector[0] = nn.Linear(WIDTH, MODEL.hidden_dim)
    return net.to(memory_format=torch.channels_last)


def tiny_objective(net: FaceNet | None = None, **options) -> SwAV:
    """SwAV on two crops of the first size and two of the second."""
    return SwAV(net or tiny_net(), SwAVConfig(), crop_counts=(2, 2), **options)


def tiny_views(batch: int, seed: int = 1) -> list[torch.Tensor]:
    """Of 16 and 12 pixels, crop-major."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2 * batch, 3, size, size, generator=generator) for size in (16, 12)]
