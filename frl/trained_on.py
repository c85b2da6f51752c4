"""Whether the file that a run names is still the one that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frl.beton import Beton
from frl.config import RunConfig
from frl.errors import FrlError


def is_another(run: RunConfig, saved: Mapping[str, Any]) -> bool:
    """Whether another file lies where a run's single ``.beton`` was, by what a checkpoint holds of its content.

    False where nobody can tell: of several files, of images in a folder, of a file that is not there.
    """
    known = (saved.get("data") or {}).get("fingerprint")
    if known is None or len(run.data.data) != 1:
        return False
    try:
        with Beton(run.data.data[0]) as beton:
            return beton.fingerprint != known.partition("/")[0]
    except (FrlError, OSError):
        return False
