"""A backbone from weights of any layout that we know: our checkpoints and exports, torchvision, timm, the authors'."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn

from frl.config import ModelConfig
from frl.config.model import FULL_WIDTH, RESNETS, TIMM
from frl.errors import CheckpointError
from frl.models.backbone import build_backbone, classifiers_of
from frl.printable import abridged
from frl.runtime import checkpoint as checkpoints

State = dict[str, torch.Tensor]
Card = dict[str, str]

RELEASED_PREFIX = "module.base_net."

# What stands before torchvision's names in the checkpoints that we read.
BACKBONE_PREFIXES = (
    "",  # torchvision
    "module.",  # torchvision under DistributedDataParallel; the releases of SwAV
    "backbone.",  # our trainer
    "module.backbone.",
    "base_net.",  # the paper's code
    RELEASED_PREFIX,
    "module.encoder_q.",  # the paper's code, MoCo
)
# Of a network of timm, whose heads have no name in common.
TIMM_PREFIXES = ("", "module.", "backbone.", "module.backbone.")
BACKBONE_STEMS = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")


def load_backbone(path: str | os.PathLike[str], arch: str | None = None) -> tuple[nn.Module, str]:
    """A network in evaluation mode, without its classifier, with the weights of any layout we know.

    Args:
        path: of the file, see `backbone_state` for the layouts of ResNets, and ``timm.create_model(...).state_dict()``
            for those of timm; or of a run's folder: its newest checkpoint.
        arch: the network's whole name (``ModelConfig.network``). None: what the file says, whose exports and
            checkpoints of ours do, else a ResNet by the shapes of the weights.

    Returns:
        The network, ``(B, 3, H, W)`` to ``(B, width)``, and its whole name.

    Raises:
        CheckpointError: if the file is unreadable or unsafe, or a weight is missing, unknown, of another shape, or NaN;
            or if it contradicts ``arch``.
        ConfigError: if there is no ``arch`` of that name, or timm is needed and not installed.
    """
    backbone, arch, _ = load_described(path, arch)
    return backbone, arch


def load_described(path: str | os.PathLike[str], arch: str | None = None) -> tuple[nn.Module, str, Card]:
    """``load_backbone``, and what the file says of the images of its training, in the words of ``_card``."""
    path = checkpoints.resolve(path)
    checkpoint = checkpoints.read_tensors(path)
    backbone, arch = backbone_of(checkpoint, arch, subject=path)
    return backbone, arch, description(checkpoint)


def card_of_weights(path: str | os.PathLike[str]) -> Card:
    """What weights say of themselves: ``arch``, ``width``, ``stem``, ``mean``, ``std``; empty where they say nothing.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return description(checkpoints.read_tensors(path))


def description(checkpoint: Any) -> Card:
    """What a checkpoint says of its network and its images, in the words of a card."""
    if not isinstance(checkpoint, Mapping):
        return {}
    if checkpoint.get("format") != checkpoints.FORMAT:
        return checkpoints.card_of(_inner(checkpoint))
    config = checkpoint.get("config")
    model, augment = (config.get(part) or {} if isinstance(config, Mapping) else {} for part in ("model", "augment"))
    card = {name: str(model[name]) for name in ("arch", "width", "stem") if name in model}
    if "mean" in augment and "std" in augment:
        card |= {"input": "RGB in [0, 1], minus mean, divided by std"}
        card |= {name: str(augment[name]) for name in ("mean", "std")}
    if augment.get("crops"):
        card |= {"size": str(max(crop["size"] for crop in augment["crops"]))}
    return card


def backbone_state(checkpoint: Any, subject: object = "the checkpoint") -> State:
    """The backbone's weights under torchvision's names, without ``fc``: contiguous, float32 (counters: int64).

    Args:
        checkpoint: a checkpoint of our trainer, a torchvision state dict, or a released checkpoint of the paper
            (``{'state_dict': {'module.base_net.*': tensor}}``). Projectors, prototypes and classifiers are left out.
        subject: what an error calls the checkpoint, usually its path.

    Raises:
        CheckpointError: if it holds no ResNet under any of these layouts, or a weight that is no finite number.
    """
    named = _tensors(checkpoint)
    state = max((_backbone_under(named, prefix) for prefix in BACKBONE_PREFIXES), key=len)
    if not state:
        raise CheckpointError(
            subject,
            f"no ResNet weights in it (tensors: {abridged(list(named)) or 'none'})",
            "Give a checkpoint of frl, a torchvision state dict, or a released checkpoint of the paper; of weights of "
            "timm name the network with --arch timm/NAME.",
        )
    state = {name: portable(tensor) for name, tensor in state.items()}
    _require_weights(state, subject)
    return state


def _require_weights(state: State, subject: object) -> None:
    """Refuse what would load without a word and compute nonsense."""
    checkpoints.require_finite(state, subject)
    for name, tensor in state.items():
        if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
            cause = f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers"
            raise CheckpointError(subject, cause, "Give the weights from before they were quantised.")
        if name.endswith("running_var") and (tensor < 0).any():
            cause = f"{name} holds negative variances"
            raise CheckpointError(subject, cause, "The file is damaged or of another network: use another one.")


def backbone_of(checkpoint: Any, arch: str | None, subject: object) -> tuple[nn.Module, str]:
    if arch is not None:
        require_arch(arch)
    card = description(checkpoint)
    ours = isinstance(checkpoint, Mapping) and checkpoint.get("format") == checkpoints.FORMAT
    if ours and arch is None and not {"arch", "width", "stem"} <= card.keys():
        cause = "lacks the options of its run, which say how its network is made and how it sees images"
        raise CheckpointError(subject, cause, "Use another checkpoint of the run, or name the network with --arch.")
    if "stage" in card:
        cause = f"was fine-tuned up to stage {card['stage']} and has no layers beyond it"
        raise CheckpointError(subject, cause, "Give the weights from which that began, or use frl predict.")
    of_timm = arch or card.get("arch", "")
    if of_timm.startswith(TIMM):
        arch = of_timm
        state = _timm_state(checkpoint, arch, subject)
    else:
        state = backbone_state(checkpoint, subject)
        arch = _resnet_of(state, arch, card, subject)
    missing, foreign = _mismatches(state, arch)
    if missing:
        raise CheckpointError(subject, f"lacks weights of {arch}: {abridged(missing)}", "Use a complete file.")
    if foreign:
        raise CheckpointError(subject, f"does not fit {arch}: {abridged(foreign)}", "Use its own --arch, or none.")
    backbone, _ = build_backbone(arch)
    backbone.load_state_dict(state, strict=True)
    return backbone.eval(), arch


def _resnet_of(state: State, arch: str | None, card: Card, subject: object) -> str:
    """The whole name of a ResNet: its weights tell arch and width, but nothing of the stem's pooling."""
    if arch is None:
        found = ModelConfig.of(infer_arch(state, subject))
        return replace(found, stem="no-pool").network if card.get("stem") == "no-pool" else found.network
    asked = ModelConfig.of(arch)
    stem = card.get("stem", "pool")
    if "arch" in card and stem != asked.stem:
        cause = f"was trained {'without' if stem == 'no-pool' else 'with'} the pooling of the stem, unlike {arch}"
        raise CheckpointError(subject, cause, "Use its own --arch, or none.")
    return arch


def _timm_state(checkpoint: Any, network: str, subject: object) -> State:
    """The weights of a network of timm, under whichever prefix most of them stand, and without its classifier."""
    named, expected = _tensors(checkpoint), _shapes(network)
    prefix = max(TIMM_PREFIXES, key=lambda prefix: sum(prefix + name in named for name in expected))
    parts, classifiers = {name.split(".")[0] for name in expected}, classifiers_of(network)
    found = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    state = {
        name: portable(tensor)
        for name, tensor in found.items()
        if name.split(".")[0] in parts and not name.startswith(classifiers)
    }
    _require_weights(state, subject)
    return state


def require_arch(arch: str) -> None:
    """Refuse a network that does not exist, by its whole name.

    Raises:
        ConfigError: naming those that do.
    """
    if ModelConfig.of(arch).is_timm:
        with torch.device("meta"):
            build_backbone(arch)


def infer_arch(state: Mapping[str, torch.Tensor], subject: object = "the checkpoint") -> str:
    """The ResNet into which every tensor of a backbone's state fits and of which it lacks the fewest.

    Returns:
        Its name and width, ``resnet18`` or ``resnet18-w16`` say.

    Raises:
        CheckpointError: if some tensor fits into none.
    """
    stem = state.get("conv1.weight")
    width = max(1, len(stem)) if stem is not None and stem.ndim == 4 else FULL_WIDTH
    names = [ModelConfig(arch=arch, width=width).network for arch in RESNETS]
    mismatches = {name: _mismatches(state, name) for name in names}
    lacking = {arch: len(missing) for arch, (missing, foreign) in mismatches.items() if not foreign}
    if not lacking:
        raise CheckpointError(
            subject,
            "its weights fit none of the known architectures",
            f"Known are {', '.join(RESNETS)}, of any width, and timm/NAME if --arch names it.",
        )
    return min(lacking, key=lacking.__getitem__)


def _tensors(checkpoint: Any) -> State:
    """The named tensors of a checkpoint, wherever its layout keeps them."""
    checkpoint = _inner(checkpoint)
    if not isinstance(checkpoint, Mapping):
        return {}
    named = {name: tensor for name, tensor in checkpoint.items() if isinstance(tensor, torch.Tensor)}
    return {name: tensor for name, tensor in named.items() if isinstance(name, str)}


def _inner(checkpoint: Any) -> Any:
    for key in ("model", "state_dict"):
        if isinstance(checkpoint, Mapping) and key in checkpoint:
            checkpoint = checkpoint[key]
    return checkpoint


def _backbone_under(named: Mapping[str, torch.Tensor], prefix: str) -> State:
    stems = tuple(prefix + stem for stem in BACKBONE_STEMS)
    return {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(stems)}


@cache
def _shapes(arch: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        backbone, _ = build_backbone(arch)
    return {name: tensor.shape for name, tensor in backbone.state_dict().items()}


def _mismatches(state: Mapping[str, torch.Tensor], arch: str) -> tuple[list[str], list[str]]:
    """The names of ``arch`` that ``state`` lacks, and its own that ``arch`` does not have in that shape."""
    shapes = _shapes(arch)
    # Checkpoints from before PyTorch 0.4.1 have no batch counters; nothing reads them in evaluation mode.
    missing = [name for name in shapes if name not in state and not name.endswith("num_batches_tracked")]
    foreign = [name for name, tensor in state.items() if shapes.get(name) != tensor.shape]
    return missing, foreign


def portable(tensor: torch.Tensor, floating: torch.dtype = torch.float32) -> torch.Tensor:
    """The values alone, on the CPU: no gradient, no channels-last strides, no view of a larger storage."""
    dtype = floating if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
