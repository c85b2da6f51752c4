"""``frl split faces.beton --by identity --out-train train.beton --out-probe probe.beton``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from frl import console
from frl.beton import Beton
from frl.beton.card import leave_card
from frl.beton.split import split_identities
from frl.config.check import require_new_file, require_seed
from frl.printable import printable


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Split a .beton into people to train on and people to probe with (--knn.data); nobody is in both."""

    data: tyro.conf.Positional[Path]
    """A .beton file."""
    by: Literal["identity"] = "identity"
    """What stays together."""
    out_train: Path
    """The file of the people to train on, and of all images without identity."""
    out_probe: Path
    """The file of the people held out."""
    share: float = 0.1
    """Share of the identities that are held out."""
    seed: int = 0
    """Draws them."""
    overwrite: bool = False
    """Replace the files if they exist."""


def main(arguments: list[str]) -> None:
    """Write both files, and say what is in them."""
    config = tyro.cli(SplitConfig, args=arguments, prog="frl split")
    require_seed("seed", config.seed)
    for out, option in ((config.out_train, "out_train"), (config.out_probe, "out_probe")):
        require_new_file(out, option)  # one that exists may be of the same split, which goes on
    with Beton(config.data) as beton:
        halves = split_identities(
            beton,
            config.out_train,
            config.out_probe,
            share=config.share,
            seed=config.seed,
            overwrite=config.overwrite,
        )
    for half in halves:
        if complaint := leave_card(half.path):
            print(printable(complaint), file=sys.stderr)
        print(f"{printable(half.path)}: {half.samples:,} images, {len(half.labels):,} identities")
    train, probe = config.out_train, config.out_probe
    console.suggest(("frl", "pretrain", "--data", train, "--knn.data", probe, "--out", "runs/" + train.stem))
