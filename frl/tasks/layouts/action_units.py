"""What benchmarks of facial action units have in common: targets, and the values that mean "not coded"."""

from __future__ import annotations

import math
from collections.abc import Sequence

from frl.beton.targets import Kind, TargetSpec

NOT_CODED = (9, 999)
"""What BP4D, and lists made of it, write for an action unit that nobody coded in a frame."""

STRONGEST = 5
"""FACS grades A to E (Ekman, Friesen and Hager, 2002), as 1 to 5; 0 is absent."""


def intensities(units: Sequence[int]) -> TargetSpec:
    """How strong each action unit is, from 0 to 5."""
    return TargetSpec(name="action_units", kind=Kind.VECTOR, shape=(len(units),), names=_names(units))


def occurrences(units: Sequence[int]) -> TargetSpec:
    """Whether each action unit is there."""
    return TargetSpec(name="au_present", kind=Kind.CLASS, shape=(len(units),), names=_names(units))


def intensity(said: str) -> float:
    """An intensity from 0 to 5; NaN where not coded.

    Raises:
        ValueError: it is none.
    """
    number = _number(said)
    if number in NOT_CODED:
        return math.nan
    if not 0 <= number <= STRONGEST:
        raise ValueError(f"an intensity of {number:g}, not between 0 and {STRONGEST}")
    return number


def occurrence(said: str) -> int:
    """1 where it is there, 0 where not, -1 where not coded.

    Raises:
        ValueError: it is none of these.
    """
    number = _number(said)
    if number in NOT_CODED:
        return -1
    if number not in (0, 1):
        raise ValueError(f"an occurrence of {number:g}, neither 0 nor 1")
    return int(number)


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        raise ValueError(f"{said.strip()[:40]!r} is no number") from None


def _names(units: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"AU{unit}" for unit in units)
