"""A sample that does not decode: what is said of it, and which takes its place. One rule for every engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from frl.errors import LoaderError
from frl.printable import printable
from pipelines.engines.engine import Request
from pipelines.sampling.beton_set import EncodedImages, is_written

OnBroken = Literal["raise", "replace"]

log = logging.getLogger("frl.pipelines")


class Undecodable(Exception):
    """An image that a decoder refuses; the message says why."""


def check_size(found: tuple[int, int], height: int, width: int) -> None:
    """Compare the height and width in a JPEG's header with those in the metadata.

    Raises:
        Undecodable: if they differ.
    """
    if found != (height, width):
        raise Undecodable(f"its JPEG is {found[1]} x {found[0]} pixels, its metadata says {width} x {height}")


def stand_in(
    beton: EncodedImages,
    request: Request,
    position: int,
    error: Undecodable,
    on_broken: OnBroken,
    attempt: Callable[[int], object],
) -> int:
    """The next sample of the step that ``attempt`` does not refuse, for the broken one at ``position`` of ``wanted``.

    Raises:
        LoaderError: naming the broken sample, if it is not to be replaced; or if no sample of the step decodes.
    """
    broken = beton.name(int(request.wanted[position]))
    if on_broken == "raise":
        check = f"Check {beton.path} with frl verify --deep" if is_written(beton) else "Mend or remove it"
        remedy = f"{check}, or go on without such samples: --on-broken replace."
        raise LoaderError(broken, str(error), remedy) from error
    for candidate in request.successors(position):
        try:
            attempt(candidate)
        except Undecodable:
            continue
        log.warning("%s: %s; replaced by %s", printable(broken), error, printable(beton.name(candidate)))
        return candidate
    remedy = "Check the file with frl verify --deep, or write it again."
    raise LoaderError(beton.path, "no sample of a whole step decodes", remedy) from error
