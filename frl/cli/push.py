"""``frl push RUN ORG/NAME --licence apache-2.0``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import hub
from frl.errors import ConfigError
from frl.printable import printable
from frl.publication import write_publication


@dataclass(frozen=True)
class PushConfig:
    """Publish the backbone of a run on a model hub: safetensors, configuration, and a card with data, recipe and
    results. Others then load it as hub:ORG/NAME, or by timm or torchvision."""

    weights: tyro.conf.Positional[Path]
    """Folder of a run, or a file of weights, of which less can be said."""
    address: tyro.conf.Positional[str]
    """ORG/NAME of the repository; it is made if need be."""
    licence: str
    """Of the weights: the hub's short name, such as cc-by-nc-4.0, or words."""
    results: tuple[Path, ...] = ()
    """Files that frl evaluate wrote with --out, for the card."""
    private: bool = False
    """If the repository is made, nobody else sees it."""
    folder: Path | None = None
    """Keep what is published in this folder, too."""
    dry_run: bool = False
    """Write the folder only; the hub is not asked. Without --folder: NAME."""
    overwrite: bool = False
    """Replace files in the folder."""


def main(arguments: list[str]) -> None:
    """Write the folder, then publish it."""
    config = tyro.cli(PushConfig, args=arguments, prog="frl push")
    address = hub.parse(config.address)
    if config.dry_run and config.private:
        raise ConfigError("--private", "says nothing with --dry-run", "Leave one of them out.")
    with ExitStack() as stack:
        folder = config.folder or (
            Path(address.name.partition("/")[2])
            if config.dry_run
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frl-push-")))
        )
        write_publication(
            config.weights,
            folder,
            config.address,
            licence=config.licence,
            results=config.results,
            overwrite=config.overwrite,
        )
        if config.dry_run:
            names = ", ".join(hub.FILES)
            print(f"{printable(folder)}: {names}\nDry run: nothing was published. Next: read {folder / hub.CARD}")
            return
        print(f"{hub.push(folder, config.address, private=config.private)}\nNext: frl pull {address.name}")
