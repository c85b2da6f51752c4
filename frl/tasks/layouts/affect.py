"""What benchmarks of affect have in common: the names of the expressions, and valence and arousal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec

VALENCE_AROUSAL = TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal"))
"""Each from -1 to 1."""

NOT_ANNOTATED = -2
"""What AffectNet writes where there is no valence or arousal."""


def expressions(names: Sequence[str]) -> TargetSpec:
    """The target of a benchmark's expressions, in its own order."""
    return TargetSpec(name="expression", kind=Kind.CLASS, names=tuple(names))


def valence_arousal(valence: str | float, arousal: str | float) -> NDArray[np.float64]:
    """Both, (2,), NaN where not annotated.

    Raises:
        ValueError: one is no number, or not between -1 and 1.
    """
    found = []
    for name, said in (("valence", valence), ("arousal", arousal)):
        try:
            number = float(said)
        except ValueError:
            raise ValueError(f"its {name} {said!r} is no number") from None
        if number != NOT_ANNOTATED and not -1 <= number <= 1:
            raise ValueError(f"its {name} is {number:g}, not between -1 and 1")
        found.append(math.nan if number == NOT_ANNOTATED else number)
    return np.array(found)


def class_index(said: str | float, count: int, first: int = 0) -> int:
    """The index from 0 of a class that a benchmark counts from ``first``.

    Raises:
        ValueError: it is none of ``count``.
    """
    try:
        number = float(said)
    except ValueError:
        raise ValueError(f"its expression {said!r} is no number") from None
    if not number.is_integer() or not first <= number < first + count:
        raise ValueError(f"its expression is {number:g}, not one of {first} to {first + count - 1}")
    return int(number) - first
