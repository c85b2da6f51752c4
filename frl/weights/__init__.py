"""Weights that come with frl: wherever weights are asked for, ``released:NAME`` stands for their file.

What they were trained on, and what they are worth: docs/released_weights.md.
"""

from __future__ import annotations

import os
from pathlib import Path

from frl.errors import CheckpointError

PREFIX = "released:"
FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of all released weights, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def released(name: str) -> Path:
    """The safetensors file of released weights.

    Raises:
        CheckpointError: if there are none of that name; the message lists them.
    """
    if name not in names():
        known = ", ".join(PREFIX + known for known in names())
        raise CheckpointError(PREFIX + name, "no weights of that name come with frl", f"There are: {known or 'none'}.")
    return FOLDER / f"{name}.safetensors"


def file_of(weights: str | os.PathLike[str]) -> Path:
    """The path of weights that a user gave: ``released:NAME`` is the file of that name, all else a path already.

    Raises:
        CheckpointError: if there are no released weights of that name.
    """
    given = os.fspath(weights)
    return released(given.removeprefix(PREFIX)) if given.startswith(PREFIX) else Path(weights)
