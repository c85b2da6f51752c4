"""The backbone: torchvision's ResNet, as published or narrower, or a network of timm that gives pooled features."""

from __future__ import annotations

import difflib
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from frl.config import ModelConfig
from frl.config.model import FULL_WIDTH, TIMM
from frl.errors import ConfigError, first_line
from frl.models.batchnorm import statistics_held
from frl.models.resnet import BasicBlock, Bottleneck, ResNet

# Of torchvision's ResNets: kind of block, blocks of each stage, and inner width of a block where it is not the stage's.
BLOCKS: dict[str, tuple[type[BasicBlock | Bottleneck], list[int], int]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2], 64),
    "resnet34": (BasicBlock, [3, 4, 6, 3], 64),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 64),
    "resnet101": (Bottleneck, [3, 4, 23, 3], 64),
    "wide_resnet50_2": (Bottleneck, [3, 4, 6, 3], 128),
    "wide_resnet101_2": (Bottleneck, [3, 4, 23, 3], 128),
}


def build_backbone(network: str) -> tuple[nn.Module, int]:
    """A randomly initialised network without its classifier, and the width of its pooled feature.

    Args:
        network: its whole name (``ModelConfig.network``): ``resnet50``, ``resnet18-w16-nopool``, ``timm/NAME``.

    Raises:
        ConfigError: if there is none of that name, or it is one that cannot be trained here.
    """
    model = ModelConfig.of(network)
    if model.is_timm:
        return _timm_network(network)
    backbone = _resnet(model)
    backbone.fc = nn.Identity()
    if model.stem == "no-pool":
        backbone.maxpool = nn.Identity()
    return backbone, backbone.inputs


def _resnet(model: ModelConfig) -> ResNet:
    block, layers, width_per_group = BLOCKS[model.arch]
    if model.width == FULL_WIDTH:
        return ResNet(block, layers, width_per_group=width_per_group)
    return ScaledResNet(block, layers, width_per_group, width=model.width)


class ScaledResNet(ResNet):
    """A ResNet all of whose channels are scaled.

    Args:
        block: kind of residual block.
        layers: blocks of each of the four stages.
        width_per_group: of a bottleneck of the full network: 128 makes a wide ResNet.
        width: channels of the stem and, before a bottleneck's expansion, of the first stage; 64 is the published one's.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], layers: list[int], width_per_group: int = 64, *, width: int
    ) -> None:
        self.width = width
        super().__init__(block, layers, classes=1, width_per_group=width_per_group)
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(self.inputs, 1)

    def _stage(self, block: Any, planes: int, *rest: Any) -> nn.Sequential:
        if planes == FULL_WIDTH:
            self.inputs = self.width  # the first stage follows the stem
        return super()._stage(block, planes * self.width // FULL_WIDTH, *rest)


@torch.no_grad()
def zero_residual_branches(backbone: nn.Module) -> None:
    """Set the scale of every residual block's last BatchNorm to zero, in a ResNet (Goyal et al., 2017, section 5.1).

    A block is then the identity at first, but for its ReLU.
    """
    for block in backbone.modules():
        if isinstance(block, Bottleneck):
            block.bn3.weight.zero_()
        elif isinstance(block, BasicBlock):
            block.bn2.weight.zero_()


def _timm_network(network: str) -> tuple[nn.Module, int]:
    import timm

    name = network.removeprefix(TIMM)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        remedy = f"Did you mean {' or '.join(TIMM + other for other in near)}?" if near else "See timm.list_models()."
        raise ConfigError(network, f"timm {timm.__version__} has no such network", remedy)
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    except TypeError:  # only transformers have an image size that can be made dynamic
        backbone = timm.create_model(name, pretrained=False, num_classes=0)
    _settle(backbone)
    _require_held_statistics(backbone, network)
    return backbone, int(getattr(backbone, "head_hidden_size", 0) or getattr(backbone, "num_features", 0))


def _settle(backbone: nn.Module) -> None:
    """Leave nothing to chance in a forward pass: a run that goes on repeats none of its own random numbers."""
    for module in backbone.modules():
        for name in ("p", "drop_prob"):
            if "Drop" in type(module).__name__ and isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def _require_held_statistics(backbone: nn.Module, network: str) -> None:
    """Refuse layers that change in a forward pass, and that ``statistics_held`` therefore could not hold."""
    for layer in backbone.modules():
        if not isinstance(layer, _BatchNorm) and hasattr(layer, "running_var"):
            cause = f"keeps running statistics in {type(layer).__name__}, which only BatchNorm may here"
            raise ConfigError(network, cause, "Choose another network.")


def classifiers_of(network: str) -> tuple[str, ...]:
    """With what the names of the classifier's weights begin that a network of timm is published with."""
    import timm

    names = timm.get_pretrained_cfg_value(network.removeprefix(TIMM), "classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def objection(network: str, height: int, width: int) -> str | None:
    """Why a network does not take images of this size, in a word; None if it does. Nothing is computed."""
    if not ModelConfig.of(network).is_timm:
        return None
    with torch.device("meta"):
        backbone, features = build_backbone(network)
        try:
            shape = tuple(backbone.eval()(torch.empty(2, 3, height, width)).shape)
        except (AssertionError, RuntimeError, ValueError) as error:
            return first_line(error)
    return None if shape == (2, features) else f"it gives no pooled features, but {shape[1:]} an image"


def require_size(network: str, size: int, option: str) -> None:
    """Refuse a side of square images, given by ``option``, that a network does not take.

    Raises:
        ConfigError: with the reason that the network gives.
    """
    if why := objection(network, size, size):
        cause = f"{network} does not take images of {size} x {size} pixels ({why.rstrip('.')})"
        raise ConfigError(option, cause, "Use a size that it takes, or another network.")


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
    """Trade arithmetic for memory; names and values of the network's state stay.

    Raises:
        ConfigError: if it is one of timm that cannot, or that has BatchNorm: timm computes blocks again without holding
            their running statistics, which would be updated twice.
    """
    if isinstance(backbone, ResNet):
        for name in ("layer1", "layer2", "layer3", "layer4"):
            setattr(backbone, name, Recomputed(*getattr(backbone, name)))
        return
    remedy = "Leave --recompute out; --optim.accumulate saves memory, too."
    if any(isinstance(layer, _BatchNorm) for layer in backbone.modules()):
        cause = f"the BatchNorm of {type(backbone).__name__} would count its images twice"
        raise ConfigError("--recompute", cause, remedy)
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise ConfigError("--recompute", f"{type(backbone).__name__} cannot compute its blocks again", remedy)
    backbone.set_grad_checkpointing()  # type: ignore[operator]
