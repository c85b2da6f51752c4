"""What is read is not written over, whatever ``--overwrite`` says: the images would be lost before they are kept."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from frl import store
from frl.beton.card import card_path, picture_path
from frl.beton.manifest import manifest_path, rejects_path, samples_path
from frl.errors import ConfigError
from writers.config import WriteConfig
from writers.sources import KINDS
from writers.sources.addresses import LAYOUTS, Address
from writers.sources.files import is_file
from writers.sources.patterns import expand_braces


def refuse_inputs(config: WriteConfig) -> None:
    """Refuse a target that is a source, a table, or a file of a source's folder; and one beside which such a file lies
    under the name of one that will be written.

    Raises:
        ConfigError: naming the file.
        SourceError: if a pattern means more files than there can be.
    """
    target, remedy = config.out, "Give another name."
    beside = (f(target) for f in (manifest_path, samples_path, rejects_path, card_path, picture_path))
    written, out = {_place(path) for path in (target, *beside)}, _place(target)
    for text in config.sources:
        for place in _places(text):
            if place in written:
                raise ConfigError("--out", f"{place} is read as a source, and would be written over", remedy)
            if not out.endswith(".beton") and out.startswith(f"{place.rstrip('/')}/") and is_file(out):
                raise ConfigError("--out", f"{out} is a file of the source {text}, and would be written over", remedy)
    if config.boxes is not None and (boxes := _place(config.boxes)) in written:
        raise ConfigError("--out", f"{boxes} is read as --boxes, and would be written over", remedy)


def _place(path: str | Path) -> str:
    """One name of each file, here or in an object store."""
    return store.address(path) or os.path.realpath(path)


def _places(text: str) -> Iterator[str]:
    """The files and folders that a source means, there or not."""
    kind, colon, path = text.partition(":")
    if not colon or kind not in KINDS:
        path = text
    elif kind in LAYOUTS:
        path = Address.parse(path).location
    for expanded in [path] if os.path.exists(path) else expand_braces(path):
        matches = glob.glob(expanded) if glob.has_magic(expanded) else []
        yield from map(_place, matches or [expanded])
