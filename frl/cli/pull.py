"""``frl pull ORG/NAME``, ``frl pull s3://BUCKET/faces.beton``."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console, hub, store
from frl.beton.card import leave_card
from frl.config.check import require, require_folder, require_new_file
from frl.errors import HubError, StagingError
from frl.files import atomic_write
from frl.printable import printable


@dataclass(frozen=True)
class PullConfig:
    """Fetch today's state of a network of a model hub into the cache, from where hub:ORG/NAME is used offline; or a
    .beton of an object store onto this machine's disk."""

    address: tyro.conf.Positional[str]
    """ORG/NAME, or ORG/NAME@REVISION: a branch, a tag or a commit; or the address of a .beton: s3://, gs://, https://."""
    out: Path | None = None
    """Of a network: also copy weights, configuration and card into this folder. Of a .beton: the file; none: its name,
    in this folder."""
    overwrite: bool = False
    """Replace what is there."""


def main(arguments: list[str]) -> None:
    """Fetch it, and say where it lies."""
    config = tyro.cli(PullConfig, args=arguments, prog="frl pull")
    if (address := store.address(config.address)) is not None:
        _beton(address, config)
    else:
        _network(config)


def _network(config: PullConfig) -> None:
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


def _beton(address: str, config: PullConfig) -> None:
    """The file and those beside it; every sample is compared with its checksum."""
    from frl.runtime.staging import fetch

    is_beton = address.endswith(".beton")
    require(is_beton, "address", f"{address} is no .beton", "frl write reads images and tars where they are.")
    out = config.out or Path(store.name_of(address))
    require_new_file(out, "out", overwrite=config.overwrite)
    require_folder(out.absolute().parent, "out")
    try:
        fetch(address, out, store.state(address))
    except OSError as error:
        raise StagingError(out, f"cannot be written ({error})", "Free space, or choose another --out.") from error
    if complaint := leave_card(out):
        print(printable(complaint), file=sys.stderr)
    print(printable(out))
    console.suggest(("frl", "info", out), ("frl", "pretrain", "--data", out, "--out", f"runs/{out.stem}"))
