"""The backbone: a torchvision ResNet."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from frl.models.batchnorm import statistics_held


def build_backbone(arch: str) -> tuple[nn.Module, int]:
    """A randomly initialised torchvision ResNet without its classifier, and the width of its pooled feature."""
    backbone = torchvision.models.get_model(arch, weights=None)
    width = backbone.fc.in_features
    backbone.fc = nn.Identity()
    return backbone, width


class Recomputed(nn.Sequential):
    """Residual blocks that keep their inputs alone; the backward pass computes the rest again (Chen et al., 2016).

    Exact: nothing in a block is random, and BatchNorm's running statistics are not updated a second time.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` through all blocks."""
        for block in self:
            if torch.compiler.is_compiling():  # a graph recomputes values and repeats no update; it takes no contexts
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                contexts = partial(_contexts, block)
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), statistics_held(block)


def recompute_blocks(backbone: nn.Module) -> None:
    """Trade arithmetic for memory in a torchvision ResNet; names and values of its state stay."""
    for name in ("layer1", "layer2", "layer3", "layer4"):
        setattr(backbone, name, Recomputed(*getattr(backbone, name)))
