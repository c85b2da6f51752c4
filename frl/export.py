"""From the trainer's checkpoint to the weights that others load, and back from theirs to a backbone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, NamedTuple

import torch
from torch import nn

from frl.config import ModelConfig
from frl.config.check import require_new_file
from frl.config.model import FULL_WIDTH, RESNETS, TIMM
from frl.errors import CheckpointError, ConfigError
from frl.files import atomic_write
from frl.models.backbone import build_backbone, classifiers_of, objection
from frl.runtime import checkpoint as checkpoints

Format = Literal["torchvision", "timm", "frl", "safetensors", "onnx"]
Precision = Literal["float32", "float16"]
State = dict[str, torch.Tensor]
Card = dict[str, str]

ARCHITECTURES = RESNETS
RELEASED_PREFIX = "module.base_net."

# What a file of this suffix holds; the first where nothing else is said.
SUFFIXES: dict[str, tuple[Format, ...]] = {
    ".pth": ("torchvision", "timm", "frl"),
    ".safetensors": ("safetensors",),
    ".onnx": ("onnx",),
    **dict.fromkeys((".pt", ".ckpt", ".bin", ".tar"), ("torchvision", "timm", "frl")),
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
# Of a network of timm, whose heads have no name in common.
TIMM_PREFIXES = ("", "module.", "backbone.", "module.backbone.")
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
            "Give a checkpoint of frl, a torchvision state dict, or a released checkpoint of the paper; of weights of "
            "timm name the network with --arch timm/NAME.",
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
    backbone, network = _backbone_of(checkpoint, None, subject=source)
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
        cause = f"float16, which ends at 65504, cannot hold {_abridged(beyond)}"
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
    known = _description(checkpoint)
    return card | {name: known[name] for name in ("input", "mean", "std", "size") if name in known}


def card_of_weights(path: str | os.PathLike[str]) -> Card:
    """What weights say of themselves: ``arch``, ``width``, ``stem``, ``mean``, ``std``; empty where they say nothing.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    return _description(checkpoints.read_tensors(path))


def _description(checkpoint: Any) -> Card:
    """What a checkpoint says of its network and its images, in the words of a card."""
    if not isinstance(checkpoint, Mapping):
        return {}
    if checkpoint.get("format") != checkpoints.FORMAT:
        return checkpoints.card_of(_inner(checkpoint))
    model, augment = (checkpoint.get("config", {}).get(section, {}) for section in ("model", "augment"))
    card = {name: str(model[name]) for name in ("arch", "width", "stem") if name in model}
    if "mean" in augment and "std" in augment:
        card |= {"input": "RGB in [0, 1], minus mean, divided by std"}
        card |= {name: str(augment[name]) for name in ("mean", "std")}
    if augment.get("crops"):
        card |= {"size": str(max(crop["size"] for crop in augment["crops"]))}
    return card


def _needed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        remedy = f"Run pip install {PACKAGES[package]}."
        raise ConfigError("--format", f"{package} is not installed", remedy) from error


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
    backbone, arch = _backbone_of(checkpoint, arch, subject=path)
    return backbone, arch, _description(checkpoint)


def _backbone_of(checkpoint: Any, arch: str | None, subject: object) -> tuple[nn.Module, str]:
    if arch is not None:
        require_arch(arch)
    card = _description(checkpoint)
    of_timm = arch or card.get("arch", "")
    if of_timm.startswith(TIMM):
        arch = of_timm
        state = _timm_state(checkpoint, arch, subject)
    else:
        state = backbone_state(checkpoint, subject)
        arch = _resnet_of(state, arch, card, subject)
    missing, foreign = _mismatches(state, arch)
    if missing:
        raise CheckpointError(subject, f"lacks weights of {arch}: {_abridged(missing)}", "Use a complete file.")
    if foreign:
        raise CheckpointError(subject, f"does not fit {arch}: {_abridged(foreign)}", "Use its own --arch, or none.")
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
        name: _portable(tensor)
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
    names = [ModelConfig(arch=arch, width=width).network for arch in ARCHITECTURES]
    mismatches = {name: _mismatches(state, name) for name in names}
    lacking = {arch: len(missing) for arch, (missing, foreign) in mismatches.items() if not foreign}
    if not lacking:
        raise CheckpointError(
            subject,
            "its weights fit none of the known architectures",
            f"Known are {', '.join(ARCHITECTURES)}, of any width, and timm/NAME if --arch names it.",
        )
    return min(lacking, key=lacking.__getitem__)


def _portable_state(backbone: nn.Module) -> State:
    """The weights in the number format that they have."""
    return {name: _portable(tensor, tensor.dtype) for name, tensor in backbone.state_dict().items()}


def _tensors(checkpoint: Any) -> State:
    """The named tensors of a checkpoint, wherever its layout keeps them."""
    checkpoint = _inner(checkpoint)
    if not isinstance(checkpoint, Mapping):
        return {}
    return {name: tensor for name, tensor in checkpoint.items() if isinstance(tensor, torch.Tensor)}


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


def _portable(tensor: torch.Tensor, floating: torch.dtype = torch.float32) -> torch.Tensor:
    """The values alone, on the CPU: no gradient, no channels-last strides, no view of a larger storage."""
    dtype = floating if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)


def _abridged(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
