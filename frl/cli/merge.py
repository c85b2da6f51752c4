"""``frl merge shard*.beton --out faces.beton``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console
from frl.beton.card import leave_card
from frl.beton.merge import merge
from frl.config.check import require_new_file, require_some
from frl.printable import printable


@dataclass(frozen=True)
class MergeConfig:
    """Join the shards that frl write --shard I/N wrote, by copying their pages and checking every checksum."""

    shards: tyro.conf.Positional[tuple[Path, ...]]
    """All shards, in any order."""
    out: Path
    """The .beton file to write."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> None:
    """Join them, and say what came out."""
    config = tyro.cli(MergeConfig, args=arguments, prog="frl merge")
    require_some(config.shards, "SHARDS")
    require_new_file(config.out, "out", overwrite=config.overwrite)
    manifest = merge(config.shards, config.out, overwrite=config.overwrite)
    if complaint := leave_card(config.out):
        print(printable(complaint), file=sys.stderr)
    print(
        f"{printable(config.out)}: {manifest.samples:,} images of {len(config.shards)} shards, "
        f"{manifest.bytes / 1e6:,.1f} MB; {manifest.rejected:,} were rejected\ncontent {manifest.content_sha256}"
    )
    console.suggest(("frl", "pretrain", "--data", config.out, "--out", "runs/" + config.out.stem))
