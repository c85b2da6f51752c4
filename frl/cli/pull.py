"""``frl pull ORG/NAME``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import hub
from frl.config.check import require_new_file
from frl.errors import HubError
from frl.files import atomic_write
from frl.printable import printable


@dataclass(frozen=True)
class PullConfig:
    """Fetch today's state of a network of a model hub into the cache, from where hub:ORG/NAME is used offline."""

    address: tyro.conf.Positional[str]
    """ORG/NAME, or ORG/NAME@REVISION: a branch, a tag or a commit."""
    out: Path | None = None
    """Also copy weights, configuration and card into this folder."""
    overwrite: bool = False
    """Replace files in that folder."""


def main(arguments: list[str]) -> None:
    """Fetch it, and say where it lies."""
    config = tyro.cli(PullConfig, args=arguments, prog="frl pull")
    address = hub.parse(config.address)
    if config.out is not None:
        for name in hub.FILES:
            require_new_file(config.out / name, "out", overwrite=config.overwrite)
    weights = hub.fetch(config.address, refresh=True)
    if config.out is not None:
        weights = _copied(weights, config.out)
    print(f"{printable(weights)}\nNext: frl evaluate knn --weights {address} --data faces.beton")


def _copied(weights: Path, folder: Path) -> Path:
    """The weights in ``folder``, and what lies beside them."""
    for path in (weights.with_name(name) for name in hub.FILES):
        if path.is_file():
            try:
                with open(path, "rb") as source, atomic_write(folder / path.name) as target:
                    shutil.copyfileobj(source, target)
            except OSError as error:
                raise HubError(folder, f"cannot be written ({error})", "Choose another --out.") from error
    return folder / weights.name
