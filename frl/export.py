"""From the trainer's checkpoint to the weights that others load, and back from theirs to a backbone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, get_args, get_type_hints

import torch
from torch import nn

from frl.config import ModelConfig
from frl.config.check import require_new_file
from frl.errors import CheckpointError, ConfigError
from frl.files import atomic_write
from frl.models.backbone import build_backbone
from frl.runtime import checkpoint as checkpoints

Format = Literal["torchvision", "frl", "safetensors", "onnx"]
State = dict[str, torch.Tensor]
Card = dict[str, str]

ARCHITECTURES: tuple[str, ...] = get_args(get_type_hints(ModelConfig)["arch"])
RELEASED_PREFIX = "module.base_net."

# What a file of this suffix holds; the first where nothing else is said.
SUFFIXES: dict[str, tuple[Format, ...]] = {
    ".pth": ("torchvision", "frl"),
    ".safetensors": ("safetensors",),
    ".onnx": ("onnx",),
    **dict.fromkeys((".pt", ".ckpt", ".bin", ".tar"), ("torchvision", "frl")),
}
PACKAGES = {"safetensors": "safetensors", "onnxscript": "onnx onnxscript"}

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
        CheckpointError: if it holds no ResNet under any of these layouts, or a weight that is no finite number.
    """
    named = _tensors(checkpoint)
    state = max((_backbone_under(named, prefix) for prefix in BACKBONE_PREFIXES), key=len)
    if not state:
        raise CheckpointError(
            subject,
            f"no ResNet weights in it (tensors: {_abridged(list(named)) or 'none'})",
            "Give a checkpoint of frl, a torchvision state dict, or a released checkpoint of the paper.",
        )
    state = {name: _portable(tensor) for name, tensor in state.items()}
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


def export(
    checkpoint_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: Format | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the backbone of a checkpoint for use elsewhere, whole or not at all; returns ``out``.

    - ``torchvision``: a plain state dict. ``torchvision.models.<arch>`` lacks only ``fc.weight`` and ``fc.bias``;
      ``timm.create_model(<arch>, num_classes=0)`` lacks nothing.
    - ``safetensors``: the same names in Hugging Face's container; its metadata tell architecture and normalisation.
    - ``frl``: what the paper's authors released, ``{'state_dict': {'module.base_net.<name>': tensor}}``.
    - ``onnx``: the graph from ``images`` ``(B, 3, H, W)`` float32, normalised as in training, to ``features``
      ``(B, width)``; any batch, height and width.

    Args:
        checkpoint_path: weights of any layout that `backbone_state` knows, or the folder of a run: its newest
            checkpoint.
        out: the file to write.
        format: None: what the suffix of ``out`` says, else ``torchvision``.
        overwrite: whether an existing ``out`` is replaced.

    Raises:
        CheckpointError: if the checkpoint cannot be read, its backbone is incomplete or holds NaN, or ``out`` cannot
            be written.
        ConfigError: if ``out`` exists or its suffix contradicts ``format``, or a package that the format needs is not
            installed.
    """
    out = Path(out)
    format = format_of(out, format)
    require_new_file(out, "out", overwrite=overwrite)
    source = checkpoints.resolve(checkpoint_path)
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigError("--out", f"{out} is the checkpoint itself", "Give another name.")
    checkpoint = checkpoints.read_tensors(source)
    backbone, arch = _backbone_of(checkpoint, None, subject=source)
    try:
        with atomic_write(out) as stream:
            WRITERS[format](stream, backbone, _card(arch, checkpoint))
    except (OSError, RuntimeError) as error:  # torch's container turns a full disk into a RuntimeError
        raise CheckpointError(out, f"cannot be written ({error})", "Free space or choose another folder.") from error
    return out


def format_of(out: Path, format: Format | None) -> Format:
    """The format to write: the one asked for, else the one that the file's suffix means.

    Raises:
        ConfigError: if the two contradict each other.
    """
    meant = SUFFIXES.get(out.suffix.lower())
    if format is None:
        return meant[0] if meant else "torchvision"
    if meant and format not in meant:
        cause = f"{format} is not what others expect in {out.name}"
        raise ConfigError("--format", cause, f"Name it {out.stem}{suffix_of(format)}, or leave --format out.")
    return format


def suffix_of(format: Format) -> str:
    """The suffix that a file of this format usually has."""
    return next(suffix for suffix, formats in SUFFIXES.items() if format in formats)


def _write_torchvision(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    torch.save(_portable_state(backbone), stream)


def _write_released(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    state = _portable_state(backbone)
    torch.save({"state_dict": {RELEASED_PREFIX + name: tensor for name, tensor in state.items()}}, stream)


def _write_safetensors(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    stream.write(_needed("safetensors.torch").save(_portable_state(backbone), metadata=card))


def _write_onnx(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    _needed("onnxscript")
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    program = torch.onnx.export(
        backbone,
        (torch.zeros(2, 3, 224, 192),),
        input_names=["images"],
        output_names=["features"],
        dynamic_shapes=({0: batch, 2: height, 3: width},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for key, value in card.items():
        proto.metadata_props.add(key=key, value=value)
    stream.write(proto.SerializeToString())


WRITERS: dict[str, Callable[[BinaryIO, nn.Module, Card], None]] = {
    "torchvision": _write_torchvision,
    "frl": _write_released,
    "safetensors": _write_safetensors,
    "onnx": _write_onnx,
}


def _card(arch: str, checkpoint: Any) -> Card:
    """What a user of the weights must know; only our own checkpoints say how the images were normalised."""
    card = {"arch": arch}
    if isinstance(checkpoint, Mapping) and checkpoint.get("format") == checkpoints.FORMAT:
        augment = checkpoint["config"]["augment"]
        card |= {"input": "RGB in [0, 1], minus mean, divided by std"}
        card |= {name: str(augment[name]) for name in ("mean", "std")}
    return card


def _needed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        remedy = f"Run pip install {PACKAGES[package]}."
        raise ConfigError("--format", f"{package} is not installed", remedy) from error


def load_backbone(path: str | os.PathLike[str], arch: str | None = None) -> tuple[nn.Module, str]:
    """A torchvision ResNet in evaluation mode, its ``fc`` an identity, with the weights of any layout we know.

    Args:
        path: of the file, see `backbone_state` for the layouts; or of a run's folder: its newest checkpoint.
        arch: torchvision's name; None: told by the shapes of the weights.

    Returns:
        The network, ``(B, 3, H, W)`` to ``(B, width)``, and its architecture.

    Raises:
        CheckpointError: if the file is unreadable or unsafe, or a weight is missing, unknown, of another shape, or NaN.
        ConfigError: if ``arch`` is not among `ARCHITECTURES`.
    """
    path = checkpoints.resolve(path)
    return _backbone_of(checkpoints.read_tensors(path), arch, subject=path)


def _backbone_of(checkpoint: Any, arch: str | None, subject: object) -> tuple[nn.Module, str]:
    if arch is not None:
        require_arch(arch)
    state = backbone_state(checkpoint, subject)
    arch = arch or infer_arch(state, subject)
    missing, foreign = _mismatches(state, arch)
    if missing:
        raise CheckpointError(subject, f"lacks weights of {arch}: {_abridged(missing)}", "Use a complete file.")
    if foreign:
        raise CheckpointError(subject, f"does not fit {arch}: {_abridged(foreign)}", "Use its own --arch, or none.")
    backbone, _ = build_backbone(arch)
    backbone.load_state_dict(state, strict=True)
    return backbone.eval(), arch


def require_arch(arch: str) -> None:
    """Refuse what is not among `ARCHITECTURES`.

    Raises:
        ConfigError: naming them.
    """
    if arch not in ARCHITECTURES:
        raise ConfigError("--arch", f"{arch} is unknown", f"Use one of {', '.join(ARCHITECTURES)}.")


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


def _portable_state(backbone: nn.Module) -> State:
    return {name: _portable(tensor) for name, tensor in backbone.state_dict().items()}


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
