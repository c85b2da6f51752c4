"""The expression of a face, as one of several classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from frl.beton.targets import TargetSpec
from frl.tasks.classes import Classes


@dataclass(frozen=True, kw_only=True)
class Expression(Classes):
    """The target called ``expression``."""

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "expression") -> Self:
        """The task on a file with these targets; raises like ``Classes.of``."""
        return super().of(specs, field)

    @property
    def name(self) -> str:
        return "expression"
