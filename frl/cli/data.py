"""What a path of a command names: a ``.beton``, or images where they are."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from frl.beton import Beton
from frl.printable import printable

if TYPE_CHECKING:
    from writers.in_place import InPlace


def open_images(path: Path) -> Beton | InPlace:
    """Open what ``--data`` names: a ``.beton``; or a folder, tars, a list, as ``frl write`` takes them.

    Raises:
        BetonError: if a ``.beton`` is missing or broken.
        SourceError: if a source holds no usable image, or can only be read from front to back.
    """
    return Beton(path) if _is_plainly_a_beton(path) or not _is_source(path) else _listed(str(path))


def _is_plainly_a_beton(path: Path) -> bool:
    """Whether a path means a ``.beton`` for certain: told without importing the writers, which few runs need."""
    return path.suffix == ".beton" and ":" not in str(path) and path.is_file()


def _is_source(path: Path) -> bool:
    from writers.sources import is_source

    return is_source(path)


@functools.cache
def _listed(text: str) -> InPlace:
    """The images of a source: listed once a process, however often they are opened. Says what is made of them."""
    from writers.in_place import InPlace

    images = InPlace(text)
    if os.environ.get("RANK", "0") != "0":  # every process lists for itself, and one of them tells
        return images
    if images.central:
        cause = "without --detect, a photograph without annotated faces becomes its central square"
        print(f"{printable(text)}: {images.central:,} images are not square: {cause} (frl write)", file=sys.stderr)
    for remark in images.remarks:
        print(printable(remark), file=sys.stderr)
    if images.rejects:
        print(printable(f"{text}: left out: {images.left_out}"), file=sys.stderr)
    return images


def what_writing_would_win(parts: Iterable[Beton | InPlace]) -> Iterator[str]:
    """A line for each part of a data set that is read where it is."""
    for part in parts:
        if not isinstance(part, Beton):
            path = printable(part.path)
            yield (
                f"{path}: read where it is: square JPEGs of up to 256 pixels as fast as from a .beton, photographs at "
                "1 to 6 ms of a core more for each, every time (docs/loader_benchmark.md). A .beton starts without "
                f"opening every image, drops copies and keeps checksums: frl write {path} --out faces.beton"
            )
