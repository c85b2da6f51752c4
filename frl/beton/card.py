"""The data card beside a ``.beton``: what is in it, where it came from, and under which terms, for people to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from frl.beton.facts import Facts, gather, joined
from frl.beton.histogram import Histogram, draw
from frl.beton.manifest import home_of, rejects_path
from frl.beton.partial import partial_path
from frl.beton.reader import Beton
from frl.beton.targets import describe
from frl.errors import FrlError
from frl.printable import printable

SHOWN_KINDS = 20
"""Kinds of reject in the table."""

MOST_SINGLE_BINS = 50
"""Up to so many images an identity, each number has a bar of its own."""


def card_path(beton: Path) -> Path:
    """Where the card of a ``.beton`` lies."""
    return beton.with_name(beton.name + ".md")


def picture_path(beton: Path) -> Path:
    """Where the picture of the card lies."""
    return beton.with_name(beton.name + ".png")


def write_card(facts: Facts) -> Path:
    """Write the card and its picture; whole or not at all, over older ones.

    Returns:
        the path of the card.

    Raises:
        OSError: they cannot be written.
    """
    picture, card = picture_path(facts.path), card_path(facts.path)
    _replace(picture, _draw(facts))
    _replace(card, card_text(facts).encode("utf-8", "replace"))
    return card


def leave_card(path: str | os.PathLike[str]) -> str | None:
    """Write the card of a file that has just been written.

    Returns:
        None, or what to tell the user: the file is whole without its card, so nothing is raised.
    """
    path = Path(path)
    try:
        with Beton(path) as beton:
            write_card(gather(beton))
    except (FrlError, OSError) as error:
        return f"{card_path(path)}: the data card could not be written ({error}). frl info --card {path} does it later."
    return None


def _replace(path: Path, data: bytes) -> None:
    partial = partial_path(path)
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def card_text(facts: Facts) -> str:
    """The card in Markdown."""
    licences = facts.settings.get("licences") or {}
    lines = [
        f"# {printable(facts.path.name)}",
        "",
        f"{facts.samples:,} face images, {facts.nbytes / 1e6:,.1f} MB. {_people(facts)}",
        "",
        "## Sources and licences",
        "",
        "Faces are personal data: whoever uses this file answers for the licence and the consent of each image.",
        "",
        _table(
            ("source", "given as", "images", "licence, as stated by the writer"),
            [
                (name, given, f"{facts.per_source.get(name, 0):,}", licences.get(name, "**not stated**"))
                for name, given in facts.sources.items()
            ],
        ),
        "",
        "## Images",
        "",
        f"The longer side has {facts.sides.min()} to {facts.sides.max()} pixels, median {np.median(facts.sides):g}.",
        "",
        f"![Sizes, and images per identity]({quote(os.fsencode(picture_path(facts.path).name))})",
        "",
        *_targets(facts),
        "## Left out",
        "",
        _rejects(facts),
        "",
        "## How it was made",
        "",
        _made(facts),
    ]
    return "\n".join(lines) + "\n"


def _people(facts: Facts) -> str:
    counts = facts.per_identity
    unknown = f"{facts.unknown:,} images have no identity." if facts.unknown else ""
    if not len(counts):
        return "No image has an identity."
    spread = f"{counts.min():,} to {counts.max():,} images each, median {np.median(counts):g}"
    return f"{len(counts):,} identities with {spread}. {unknown}".rstrip()


def _targets(facts: Facts) -> list[str]:
    """What else is stored of the images; nothing where there is nothing."""
    if not facts.targets:
        return []
    rows = [(spec.name, describe(spec), facts.known[spec.name]) for spec in facts.targets]
    return ["## Targets", "", _table(("name", "what it is", "images"), rows), ""]


def _rejects(facts: Facts) -> str:
    if not facts.rejects:
        return "Nothing that was looked at was left out."
    shown = list(facts.rejects.items())[:SHOWN_KINDS]
    rows = [(kind, f"{count:,}") for kind, count in shown]
    if rest := facts.rejected - sum(count for _, count in shown):
        rows.append(("other reasons", f"{rest:,}"))
    where = f"{facts.rejected:,} images or faces; `{printable(rejects_path(home_of(facts.path)).name)}` names each."
    return f"{where}\n\n{_table(('reason', 'count'), rows)}"


def _made(facts: Facts) -> str:
    if facts.manifest is None:
        return "Unknown: there is no manifest."
    settings = {key: value for key, value in facts.settings.items() if key not in ("sources", "licences")}
    rows = [(key, f"{value}") for key, value in settings.items()]
    rows += [(f"counted: {key}", f"{count:,}") for key, count in facts.manifest.counts.items()]
    rows += [("joined", joined(join)) for join in facts.manifest.joins]
    rows += [("writer", facts.manifest.writer), ("content hash", f"{facts.manifest.content_sha256}")]
    return _table(("setting", "value"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text as one cell of a table, whatever is in it."""
    return printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _draw(facts: Facts) -> bytes:
    """The histograms, as a PNG."""
    low, high = int(facts.sides.min()), int(facts.sides.max())
    step = max(1, -(-(high - low + 1) // 40))
    counts, edges = np.histogram(facts.sides, np.arange(low, high + step + 1, step) - 0.5)
    sizes = Histogram(
        title="Sizes", across="longer side in pixels", up="images", edges=edges, counts=counts, colour="#1f77b4"
    )
    if not len(facts.per_identity):
        return draw([sizes])
    most = int(facts.per_identity.max())
    counts, edges = np.histogram(facts.per_identity, _count_bins(most))
    people = Histogram(
        title=f"{len(facts.per_identity):,} identities",
        across="images of an identity",
        up="identities",
        edges=edges,
        counts=counts,
        colour="#ff7f0e",
        logarithmic=most > MOST_SINGLE_BINS,
    )
    return draw([sizes, people])


def _count_bins(most: int) -> np.ndarray:
    """Edges of bins for counts from 1 to ``most``: one a count while they are few, else evenly in their logarithm."""
    if most <= MOST_SINGLE_BINS:
        return np.arange(1, most + 2) - 0.5
    return np.unique(np.round(np.geomspace(1, most + 1, 40))) - 0.5
