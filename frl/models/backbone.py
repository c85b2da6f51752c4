"""The network: a torchvision ResNet, a projector and the prototypes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from frl.config import ModelConfig
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


class FaceNet(nn.Module):
    """Backbone, projector and prototypes, as in SwAV (Caron et al., 2020, section 4 and appendix A).

    The state dict's names are ``backbone.*`` (torchvision's own), ``projector.*`` and ``prototypes.weight``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone, width = build_backbone(config.arch)
        self.projector = nn.Sequential(
            nn.Linear(width, config.hidden_dim),
            nn.BatchNorm1d(config.hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden_dim, config.feature_dim),
        )
        self.prototypes = nn.Linear(config.feature_dim, config.prototypes, bias=False)
        self.normalise_prototypes()

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Scale every prototype to length 1, in place."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features ``(N, width)`` to unit vectors ``(N, feature_dim)``, float32."""
        return F.normalize(self.projector(pooled).float(), dim=1)

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """Cosine similarities ``(..., prototypes)`` of unit vectors ``(..., feature_dim)`` to the prototypes, float32.

        Kept out of autocast: bf16 would round the similarities by 0.4 %, which epsilon 0.05 multiplies by 20.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.prototypes(features.float())
