"""``frl export CHECKPOINT --out weights.pth``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console
from frl.export import Format, Precision, suffix_of, write_backbone
from frl.printable import printable
from frl.runtime import checkpoint


@dataclass(frozen=True)
class ExportConfig:
    """Write the backbone of a checkpoint in a layout that others load."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or other weights, or a run's folder: its newest checkpoint."""
    out: Path | None = None
    """File to write; none: backbone.pth, or with the suffix of the format."""
    format: Format | None = None
    """torchvision: a plain state dict, for timm too; timm: the same of a network of timm; frl: the layout the paper's
    authors released (module.base_net.*); safetensors: the same names; onnx: the graph from images to features; none:
    what the suffix of the file says (.safetensors, .onnx), else torchvision or timm."""
    precision: Precision = "float32"
    """Number format of the weights. float16: half the size; an ONNX graph computes in it, and still takes and gives
    float32."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> None:
    """Export and say what to do with the file."""
    config = tyro.cli(ExportConfig, args=arguments, prog="frl export")
    source = checkpoint.resolve(config.checkpoint)
    out = config.out or Path(f"backbone{suffix_of(config.format or 'torchvision')}")
    written = write_backbone(source, out, config.format, precision=config.precision, overwrite=config.overwrite)
    kind = f"{written.network}, {written.format}, {config.precision}"
    print(f"{printable(source)} -> {printable(out)} ({kind})")
    if written.format != "onnx":
        console.suggest(("frl", "evaluate", "knn", "--weights", out, "--data", "FACES.beton"))
