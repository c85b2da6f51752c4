"""From the trainer's checkpoint to the weights that others load."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, NamedTuple

import torch
from torch import nn

from frl.config import ModelConfig
from frl.config.check import require_new_file
from frl.config.model import FULL_WIDTH, TIMM
from frl.errors import CheckpointError, ConfigError
from frl.files import atomic_write
from frl.models.backbone import objection
from frl.pretrained import RELEASED_PREFIX, Card, State, backbone_of, description, portable
from frl.printable import abridged
from frl.runtime import checkpoint as checkpoints

Format = Literal["torchvision", "timm", "frl", "safetensors", "onnx"]
Precision = Literal["float32", "float16"]

# What a file of this suffix holds; the first where nothing else is said.
SUFFIXES: dict[str, tuple[Format, ...]] = {
    ".pth": ("torchvision", "timm", "frl"),
    ".safetensors": ("safetensors",),
    ".onnx": ("onnx",),
    **dict.fromkeys((".pt", ".ckpt", ".bin", ".tar"), ("torchvision", "timm", "frl")),
}
PACKAGES = {"safetensors": "safetensors", "onnxscript": "onnx onnxscript"}


def export(
    checkpoint_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: Format | None = None,
    *,
    precision: Precision = "float32",
    overwrite: bool = False,
) -> Path:
    """Write the backbone of a checkpoint for use elsewhere, whole or not at all; returns ``out``.

    - ``torchvision``: a plain state dict. ``torchvision.models.<arch>`` lacks only ``fc.weight`` and ``fc.bias``;
      ``timm.create_model(<arch>, num_classes=0)`` lacks nothing. How a narrow ResNet is built, or one without the
      stem's pooling: docs/backbones.md.
    - ``timm``: a plain state dict of a network of timm, or of a ResNet that timm has.
    - ``safetensors``: the same names in Hugging Face's container; its metadata tell architecture and normalisation.
    - ``frl``: what the paper's authors released, ``{'state_dict': {'module.base_net.<name>': tensor}}``.
    - ``onnx``: the graph from ``images`` ``(B, 3, H, W)`` float32, normalised as in training, to ``features``
      ``(B, width)`` float32; any batch, height and width.

    In ``float16`` a file is half as large. In ONNX the network computes in it, between a conversion at either end; the
    other formats are state dicts, and whoever loads them into a float32 network computes in float32.

    Args:
        checkpoint_path: weights of any layout that `backbone_state` knows, or the folder of a run: its newest
            checkpoint.
        out: the file to write.
        format: None: what the suffix of ``out`` says, else ``torchvision``, or ``timm`` for a network of timm.
        precision: number format of the weights.
        overwrite: whether an existing ``out`` is replaced.

    Raises:
        CheckpointError: if the checkpoint cannot be read, its backbone is incomplete or holds NaN or what ``precision``
            cannot hold, or ``out`` cannot be written.
        ConfigError: if ``out`` exists or its suffix contradicts ``format``, the format cannot hold the network, or a
            package that is needed is not installed.
    """
    return write_backbone(checkpoint_path, out, format, precision=precision, overwrite=overwrite).path


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: where.
        format: in which format.
        network: of which network.
    """

    path: Path
    format: Format
    network: str


def write_backbone(
    checkpoint_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: Format | None = None,
    *,
    precision: Precision = "float32",
    overwrite: bool = False,
) -> Exported:
    """``export`` that says what it wrote."""
    out = Path(out)
    format_of(out, format)
    require_new_file(out, "out", overwrite=overwrite)
    source = checkpoints.resolve(checkpoint_path)
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigError("--out", f"{out} is the checkpoint itself", "Give another name.")
    checkpoint = checkpoints.read_tensors(source)
    backbone, network = backbone_of(checkpoint, None, subject=source)
    format = format_of(out, format, network)
    card = _card(network, checkpoint)
    if precision == "float16":
        backbone, card = _halved(backbone, source), card | {"precision": precision}
    try:
        with atomic_write(out) as stream:
            WRITERS[format](stream, backbone, card)
    except (OSError, RuntimeError) as error:  # torch's container turns a full disk into a RuntimeError
        raise CheckpointError(out, f"cannot be written ({error})", "Free space or choose another folder.") from error
    return Exported(out, format, network)


def format_of(out: Path, format: Format | None, network: str = "resnet50") -> Format:
    """The format to write ``network`` in: the one asked for, else the one that the file's suffix means.

    Raises:
        ConfigError: if the two contradict each other, or the format cannot hold the network.
    """
    meant = SUFFIXES.get(out.suffix.lower())
    model = ModelConfig.of(network)
    if format is None:
        first = meant[0] if meant else "torchvision"
        return "timm" if first == "torchvision" and model.is_timm else first
    if model.is_timm and format in ("torchvision", "frl"):
        cause = f"{format} is a layout of torchvision's ResNets, and {network} is none"
        raise ConfigError("--format", cause, "Use timm, safetensors or onnx.")
    if not model.is_timm and format == "timm" and model.network != model.arch:
        cause = f"timm has no {network}"
        raise ConfigError("--format", cause, "Use torchvision, safetensors or onnx.")
    if meant and format not in meant:
        cause = f"{format} is not what others expect in {out.name}"
        raise ConfigError("--format", cause, f"Name it {out.stem}{suffix_of(format)}, or leave --format out.")
    return format


def suffix_of(format: Format) -> str:
    """The suffix that a file of this format usually has."""
    return next(suffix for suffix, formats in SUFFIXES.items() if format in formats)


def _halved(backbone: nn.Module, subject: object) -> nn.Module:
    """The network in float16.

    Raises:
        CheckpointError: if a weight is beyond what float16 holds.
    """
    halved = backbone.half()
    beyond = [name for name, tensor in halved.state_dict().items() if tensor.isinf().any()]
    if beyond:
        cause = f"float16, which ends at 65504, cannot hold {abridged(beyond)}"
        raise CheckpointError(subject, cause, "Export it in float32.")
    return halved


def _write_state(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    torch.save(checkpoints.with_card(_portable_state(backbone), card), stream)


def _write_released(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    state = {RELEASED_PREFIX + name: tensor for name, tensor in _portable_state(backbone).items()}
    torch.save({"state_dict": checkpoints.with_card(state, card)}, stream)


def _write_safetensors(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    stream.write(_needed("safetensors.torch").save(_portable_state(backbone), metadata=card))


def _write_onnx(stream: BinaryIO, backbone: nn.Module, card: Card) -> None:
    _needed("onnxscript")
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    size, any_size = _size_of_images(card["arch"], backbone)
    program = torch.onnx.export(
        _InHalf(backbone).eval() if card.get("precision") == "float16" else backbone,
        (torch.zeros(2, 3, *size),),
        input_names=["images"],
        output_names=["features"],
        dynamic_shapes=({0: batch, 2: height, 3: width} if any_size else {0: batch},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for key, value in card.items():
        proto.metadata_props.add(key=key, value=value)
    stream.write(proto.SerializeToString())


class _InHalf(nn.Module):
    """A network that computes in float16, between images and features in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, width)``."""
        return self.network(images.half()).float()


def _size_of_images(arch: str, backbone: nn.Module) -> tuple[tuple[int, int], bool]:
    """Height and width of an image to trace a network with, and whether it takes others."""
    if not arch.startswith(TIMM):
        return (224, 192), True
    several = (224, 448)  # multiples of all usual patches
    if objection(arch, *several) is None:
        return several, True
    _, height, width = backbone.default_cfg["input_size"]  # type: ignore[index]
    return (height, width), False


WRITERS: dict[str, Callable[[BinaryIO, nn.Module, Card], None]] = {
    "torchvision": _write_state,
    "timm": _write_state,
    "frl": _write_released,
    "safetensors": _write_safetensors,
    "onnx": _write_onnx,
}


def _card(network: str, checkpoint: Any) -> Card:
    """What a user of the weights must know; only our own checkpoints and exports say how images were normalised."""
    model = ModelConfig.of(network)
    card = {"arch": model.arch}
    if model.width != FULL_WIDTH:
        card |= {"width": str(model.width)}
    if model.stem != "pool":
        card |= {"stem": model.stem}
    known = description(checkpoint)
    return card | {name: known[name] for name in ("input", "mean", "std", "size") if name in known}


def _needed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        remedy = f"Run pip install {PACKAGES[package]}."
        raise ConfigError("--format", f"{package} is not installed", remedy) from error


def _portable_state(backbone: nn.Module) -> State:
    """The weights in the number format that they have."""
    return {name: portable(tensor, tensor.dtype) for name, tensor in backbone.state_dict().items()}
