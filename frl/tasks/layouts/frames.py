"""Frames of videos as image files, whose names end in the number of the frame."""

from __future__ import annotations

import os
import re

from frl.tasks.layouts.files import files

NUMBERED = re.compile(r"(\d+)$")


def frames(folder: str) -> dict[int, str]:
    """The image of each frame by its number, in ascending order; empty if there is no such folder."""
    found: dict[int, str] = {}
    for file in files(folder):
        if match := NUMBERED.search(os.path.splitext(file)[0]):
            found.setdefault(int(match[1]), file)
    return dict(sorted(found.items()))
