"""Frames of videos as image files, whose names end in the number of the frame."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from frl.tasks.layouts.files import files

NUMBERED = re.compile(r"(\d+)$")


class Frames(NamedTuple):
    """The images of a video.

    Attributes:
        images: by the number of their frame, in ascending order.
        faults: why other files are the image of no frame, by their name.
        disputed: the frames of which there are several images.
    """

    images: dict[int, str]
    faults: dict[str, str]
    disputed: frozenset[int]


def frames(folder: str) -> Frames:
    """The images in a folder, none if there is no such folder; where two are called by one frame, it is neither's."""
    found: dict[int, list[str]] = {}
    faults: dict[str, str] = {}
    for file in files(folder):
        if match := NUMBERED.search(os.path.splitext(file)[0]):
            found.setdefault(int(match[1]), []).append(file)
        else:
            faults[file] = "its name does not end in the number of a frame"
    images = {number: names[0] for number, names in sorted(found.items()) if len(names) == 1}
    disputed = found.keys() - images.keys()
    for number in disputed:
        listed = ", ".join(found[number][:3])
        faults |= dict.fromkeys(found[number], f"frame {number} has {len(found[number])} images: {listed}")
    return Frames(images, dict(sorted(faults.items())), frozenset(disputed))
