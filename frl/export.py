"""From the trainer's checkpoint to the weights that others load, and back from theirs to a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import nn

from frl import checkpoint as checkpoints
from frl.config import ModelConfig
from frl.errors import CheckpointError, ConfigError
from frl.files import atomic_write
from frl.model import build_backbone

Format = Literal["torchvision", "frl"]
State = dict[str, torch.Tensor]

ARCHITECTURES: tuple[str, ...] = get_args(get_type_hints(ModelConfig)["arch"])
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
BACKBONE_STEMS = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")


def backbone_state(checkpoint: Any, subject: object = "the checkpoint") -> State:
    """The backbone's weights under torchvision's names, without ``fc``: contiguous, float32 (counters: int64).

    Args:
        checkpoint: a checkpoint of our trainer, a torchvision state dict, or a released checkpoint of the paper
            (``{'state_dict': {'module.base_net.*': tensor}}``). Projectors, prototypes and classifiers are left out.
        subject: what an error calls the checkpoint, usually its path.

    Raises:
        CheckpointError: if it holds no ResNet under any of these layouts.
    """
    named = _tensors(checkpoint)
    state = max((_backbone_under(named, prefix) for prefix in BACKBONE_PREFIXES), key=len)
    if not state:
        raise CheckpointError(
            subject,
            f"no ResNet weights in it (tensors: {_abridged(list(named)) or 'none'})",
            "Give a checkpoint of frl, a torchvision state dict, or a released checkpoint of the paper.",
        )
    return {name: _portable(tensor) for name, tensor in state.items()}


def export(checkpoint_path: Path, out: Path, format: Format) -> Path:
    """Write the backbone of a checkpoint for use elsewhere, whole or not at all; returns ``out``.

    ``torchvision`` is a plain state dict: ``torchvision.models.<arch>`` lacks only ``fc.weight`` and ``fc.bias``.
    ``frl`` is the layout that the paper's authors released, ``{'state_dict': {'module.base_net.<name>': tensor}}``.

    Raises:
        CheckpointError: if the checkpoint cannot be read, its backbone is incomplete, or ``out`` cannot be written.
    """
    backbone, _ = load_backbone(checkpoint_path)
    state = {name: _portable(tensor) for name, tensor in backbone.state_dict().items()}
    content = state if format == "torchvision" else {"state_dict": {RELEASED_PREFIX + k: v for k, v in state.items()}}
    try:
        with atomic_write(out) as stream:
            torch.save(content, stream)
    except OSError as error:
        raise CheckpointError(out, f"cannot be written ({error})", "Free space or choose another folder.") from error
    return out


def load_backbone(path: Path, arch: str | None = None) -> tuple[nn.Module, str]:
    """A torchvision ResNet in evaluation mode, its ``fc`` an identity, with the weights of any layout we know.

    Args:
        path: of the file; see `backbone_state` for the layouts.
        arch: torchvision's name; None: told by the shapes of the weights.

    Returns:
        The network, ``(B, 3, H, W)`` to ``(B, width)``, and its architecture.

    Raises:
        CheckpointError: if the file is unreadable or unsafe, or a weight is missing, unknown, or of another shape.
        ConfigError: if ``arch`` is not among `ARCHITECTURES`.
    """
    state = backbone_state(checkpoints.read_tensors(path), subject=path)
    arch = arch or infer_arch(state, subject=path)
    if arch not in ARCHITECTURES:
        raise ConfigError("--arch", f"{arch} is unknown", f"Use one of {', '.join(ARCHITECTURES)}.")
    missing, foreign = _mismatches(state, arch)
    if missing:
        raise CheckpointError(path, f"lacks weights of {arch}: {_abridged(missing)}", "Use a complete file.")
    if foreign:
        raise CheckpointError(path, f"does not fit {arch}: {_abridged(foreign)}", "Use its own --arch, or none.")
    backbone, _ = build_backbone(arch)
    backbone.load_state_dict(state, strict=True)
    return backbone.eval(), arch


def infer_arch(state: Mapping[str, torch.Tensor], subject: object = "the checkpoint") -> str:
    """The architecture into which every tensor of a backbone's state fits and of which it lacks the fewest.

    Raises:
        CheckpointError: if some tensor fits into none.
    """
    mismatches = {arch: _mismatches(state, arch) for arch in ARCHITECTURES}
    lacking = {arch: len(missing) for arch, (missing, foreign) in mismatches.items() if not foreign}
    if not lacking:
        raise CheckpointError(
            subject, "its weights fit none of the known architectures", f"Known are {', '.join(ARCHITECTURES)}."
        )
    return min(lacking, key=lacking.__getitem__)


def _tensors(checkpoint: Any) -> State:
    """The named tensors of a checkpoint, wherever its layout keeps them."""
    for key in ("model", "state_dict"):
        if isinstance(checkpoint, Mapping) and key in checkpoint:
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping):
        return {}
    return {name: tensor for name, tensor in checkpoint.items() if isinstance(tensor, torch.Tensor)}


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


def _portable(tensor: torch.Tensor) -> torch.Tensor:
    """The values alone, on the CPU: no gradient, no channels-last strides, no view of a larger storage."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)


def _abridged(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
