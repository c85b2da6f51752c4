"""Lists whose paths lead nowhere as they are written: what they probably mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from frl import store
from frl.errors import SourceError
from frl.images.names import IMAGE_SUFFIXES

FIRST = 20
"""Images of a list that are looked for before it is believed: on a slow disk, all of a million take minutes."""


def refuse_wrong_paths(location: str, paths: Sequence[str]) -> None:
    """Refuse a list none of whose images is there, if files are that it probably means.

    Args:
        location: the list.
        paths: of some of its images, as it names them.

    Raises:
        SourceError: naming a path and the file that it probably means.
    """
    local = [path for path in paths if path and not store.address(path)]
    if store.address(location) or not local:
        return
    folder = os.path.dirname(location)
    if any(os.path.exists(os.path.join(folder, path)) for path in local):
        return
    for path in local:
        for meant in meanings(path):
            if os.path.isfile(os.path.join(folder, meant)):
                cause = f"none of the first {len(local)} images that it names is there, {path} for one; {meant} is"
                raise SourceError(location, cause, "Name files as they are, from the folder of the list on, with /.")


def meanings(path: str) -> Iterator[str]:
    """What a path may mean, the likeliest first: with other slashes, without its first folders, of another suffix."""
    rest = path.replace("\\", "/")
    while True:
        yield rest
        stem, dot, suffix = rest.rpartition(".")
        plain = stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else rest
        for other in sorted(IMAGE_SUFFIXES):
            yield f"{plain}{other}"
            yield f"{plain}{other.upper()}"
        _, slash, rest = rest.partition("/")
        if not slash or not rest:
            return
