"""``frl synthesize OUT``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from frl import console
from frl.config.check import require_least, require_new_folder, require_seed
from frl.printable import printable
from frl.synthetic import STYLES, write_folder


@dataclass(frozen=True)
class SynthesizeConfig:
    """Draw synthetic faces into identity folders (VGGFace2's layout), with the truth for every task."""

    out: tyro.conf.Positional[Path]
    """Folder to make; must be empty or absent."""
    identities: int = 100
    """Number of people."""
    images: int = 20
    """Images of each."""
    size: int = 128
    """Side of an image, in pixels."""
    style: Literal["wild", "studio"] = "wild"
    """wild: photographs from anywhere; studio: plain portraits, carelessly framed and developed."""
    seed: int = 0
    """Same seed, same bytes."""
    workers: int = 0
    """Processes; 0: one per core."""


def main(arguments: list[str]) -> None:
    """Draw the folder and say where it is."""
    config = tyro.cli(SynthesizeConfig, args=arguments, prog="frl synthesize")
    require_least("identities", config.identities, 1, "The default is 100.")
    require_least("images", config.images, 1, "The default is 20.")
    require_least("size", config.size, 32, "Smaller faces cannot be told apart.")
    require_seed("seed", config.seed)
    require_least("workers", config.workers, 0, "Use 0 for one per core.")
    require_new_folder(config.out, "out")
    write_folder(
        config.out, config.identities, config.images, config.size, config.seed, config.workers, STYLES[config.style]
    )
    print(
        f"{config.identities * config.images:,} images of {config.identities:,} identities "
        f"in {printable(config.out)}/train"
    )
    console.suggest(("frl", "write", config.out, "--out", f"{config.out.name}.beton"))
