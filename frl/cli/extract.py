"""``frl extract faces.beton --out FOLDER``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console
from frl.beton import Beton
from frl.beton.extract import extract
from frl.config.check import require_new_folder
from frl.printable import printable


@dataclass(frozen=True)
class ExtractConfig:
    """Write the images of a .beton into a folder again, the JPEGs byte for byte, in one folder per identity."""

    data: tyro.conf.Positional[Path]
    """A .beton file."""
    out: Path
    """The folder to write, new or empty."""


def main(arguments: list[str]) -> None:
    """Write them, and say how many."""
    config = tyro.cli(ExtractConfig, args=arguments, prog="frl extract")
    require_new_folder(config.out, "out")
    with Beton(config.data) as beton:
        print(f"{printable(config.out)}: {extract(beton, config.out):,} images")
        anybody = bool((beton.labels >= 0).any())
    console.suggest(("frl", "write", _source(config.out, anybody), "--out", "FILE"))


def _source(folder: Path, anybody: bool) -> Path | str:
    """What gives all of it back: the list of the targets; else the folders of the people, even beside other images."""
    lists = (path for path in folder.glob("*.csv") if path.is_file())  # somebody's folder may be called so
    return next(lists, f"vggface2:{folder}" if anybody else folder)
