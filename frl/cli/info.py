"""``frl info faces.beton``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from frl import console
from frl.beton import Beton
from frl.beton.card import write_card
from frl.beton.facts import Facts, gather, joined
from frl.beton.targets import describe as describe_target
from frl.config.check import require_some
from frl.errors import BetonError
from frl.printable import printable


@dataclass(frozen=True)
class InfoConfig:
    """Say what is inside .beton files, and how they were made."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The files."""
    card: bool = False
    """Also write the data card beside each file (again): FILE.md and FILE.png."""


def main(arguments: list[str]) -> int:
    """Print the facts about each file; exit status 1 if any cannot be read."""
    config = tyro.cli(InfoConfig, args=arguments, prog="frl info")
    require_some(config.files, "FILES")
    all_read = all([_tell(path, config.card) for path in config.files])
    if all_read:
        console.suggest(("frl", "verify", *config.files, "--deep"))
    return int(not all_read)


def _tell(path: Path, card: bool) -> bool:
    """Print the facts about a file, or what is wrong with it; whether it can be read."""
    try:
        with Beton(path) as beton:
            facts = gather(beton)
    except BetonError as error:
        print(end="", flush=True)  # what was said of the files before it comes first
        console.complain("frl info", error)
        return False
    print(describe(facts))
    if card:
        print(f"  card        {printable(write_card(facts))}")
    return True


def describe(facts: Facts) -> str:
    """A few lines about one file."""
    rows = [
        ("identities", _identities(facts)),
        ("sides", f"{facts.sides.min()} to {facts.sides.max()} pixels, median {np.median(facts.sides):g}"),
        ("bytes", f"{facts.image_bytes / facts.samples / 1e3:,.1f} kB an image; "
                  f"{1 - facts.image_bytes / facts.nbytes:.1%} of the file is not images; "
                  f"pages of {facts.page_size >> 20} MiB"),
    ]  # fmt: skip
    for spec in facts.targets:
        rows.append(("target", f"{spec.name}: {describe_target(spec)}; {facts.known[spec.name]}"))
    for name, given in facts.sources.items():
        rows.append(("source", f"{name or given}: {facts.per_source.get(name, 0):,} images from {given}"))
    for kind, count in facts.rejects.items():
        rows.append(("rejected", f"{count:,}: {kind}"))
    for join in facts.manifest.joins if facts.manifest is not None else ():
        rows.append(("joined", joined(join)))
    if facts.manifest is None:
        rows.append(("manifest", "none: written by another program, or its .json was not copied along"))
    else:
        kept = {key: value for key, value in facts.settings.items() if key != "sources"}
        rows.append(("settings", ", ".join(f"{key} {value}" for key, value in kept.items()) or "none noted"))
        rows.append(
            ("counted", ", ".join(f"{key} {count:,}" for key, count in facts.manifest.counts.items()) or "nothing")
        )
        rows.append(("writer", facts.manifest.writer))
        rows.append(("content", facts.manifest.content_sha256 or "no hash: written by an older version"))
    head = f"{facts.path}: {facts.samples:,} images, {facts.nbytes / 1e6:,.1f} MB"
    return "\n".join([printable(head), *(f"  {key:<11} {printable(text)}" for key, text in rows)])


def _identities(facts: Facts) -> str:
    counts = facts.per_identity
    unknown = f"{facts.unknown:,} images of nobody known"
    if not len(counts):
        return unknown
    spread = f"{counts.min():,} to {counts.max():,} images each, median {np.median(counts):g}"
    return f"{len(counts):,} with {spread}; {unknown}"
