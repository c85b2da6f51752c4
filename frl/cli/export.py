"""``frl export CHECKPOINT --out weights.pth``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl.errors import CheckpointError
from frl.export import Format, export
from frl.printable import printable
from frl.runtime import checkpoint


@dataclass(frozen=True)
class ExportConfig:
    """Write the backbone of a checkpoint in a layout that others load."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint, or a run's folder: its newest checkpoint."""
    out: Path = Path("backbone.pth")
    """File to write."""
    format: Format = "torchvision"
    """torchvision: a plain state dict, for timm too; frl: the layout the paper's authors released
    (module.base_net.*); safetensors: torchvision's names; onnx: the graph from images to features."""


def main(arguments: list[str]) -> None:
    """Export and say what to do with the file."""
    config = tyro.cli(ExportConfig, args=arguments, prog="frl export")
    source = newest_in(config.checkpoint) if config.checkpoint.is_dir() else config.checkpoint
    export(source, config.out, config.format)
    print(f"{printable(source)} -> {printable(config.out)} ({config.format})")


def newest_in(run: Path) -> Path:
    """The newest checkpoint of a run's folder.

    Raises:
        CheckpointError: if there is none.
    """
    paths = checkpoint.saved(run / "checkpoints")
    if not paths:
        raise CheckpointError(run, "holds no checkpoints", "Pass the --out folder of a run of frl pretrain.")
    return paths[-1]
