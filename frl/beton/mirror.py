"""What a mirror does to targets that are no points: left and right change places, yaw and roll change their signs.

All that is known of such a target is what it and its entries are called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from frl.beton.targets import Kind, TargetSpec

MIRRORED_ANGLES = ("yaw", "roll")
"""Numbers that change their sign in a mirror; of a JSON key such as ``pose.yaw`` the last part counts."""

OTHER = {"left": "right", "right": "left"}
SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])")
"""A side as a word of its own, as in ``left_eye``, and not as in ``bright``."""


def entries_of(spec: TargetSpec) -> tuple[str, ...]:
    """What the numbers or the classes of a target are called: one number as the target is; empty where nobody says."""
    single = spec.kind == Kind.VECTOR and math.prod(spec.shape) == 1
    return spec.names or ((spec.name,) if single else ())


def exchanged_entries(name: str, entries: Sequence[str]) -> tuple[int, ...] | None:
    """For each entry the index of the one that takes its place in a mirror; None where nobody knows.

    That is so of a target or of an entry that names one side of which the other is missing.

    Args:
        name: of the target.
        entries: what its numbers or its classes are called.
    """
    plain = [entry.lower() for entry in entries]
    others = [SIDE.sub(lambda found: OTHER[found[1]], entry) for entry in plain]
    if SIDE.search(name.lower()) or not set(others) <= set(plain):
        return None
    found = tuple(i if other == plain[i] else plain.index(other) for i, other in enumerate(others))
    return found if all(found[found[i]] == i for i in range(len(found))) else None


def signs_of(entries: Sequence[str]) -> tuple[float, ...]:
    """-1 for each entry that changes its sign in a mirror, 1 for the others."""
    return tuple(-1.0 if angle_of(entry) in MIRRORED_ANGLES else 1.0 for entry in entries)


def angle_of(entry: str) -> str:
    """The name of an angle in what an entry is called: ``yaw`` of ``pose.Yaw``."""
    return entry.lower().rpartition(".")[2]
