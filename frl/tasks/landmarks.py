"""Landmarks of a face in the image, judged as their benchmark judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from frl.beton.targets import Kind, TargetSpec
from frl.tasks.metrics.points import Normaliser
from frl.tasks.points import Points
from frl.tasks.task import require_target

NORMALISERS: dict[int, Normaliser] = {68: "inter-ocular", 98: "inter-ocular", 29: "inter-ocular", 5: "inter-ocular"}
"""By the number of points, of 300-W, WFLW and COFW; others, such as AFLW's 19, are divided by the face's box."""

AFLW = 19
"""Points of AFLW, whose curve is drawn up to 7 % of the box."""


@dataclass(frozen=True, kw_only=True)
class Landmarks(Points):
    """The points called ``landmarks``, with the normaliser of the benchmark that has so many."""

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "landmarks", **options: Any) -> Self:
        """The task on a file with these targets; raises like ``Points.of``."""
        fits = field in specs and specs[field].kind == Kind.POINTS
        count = require_target(specs, field, "landmarks", "points (n, 2)", fits).shape[0]
        usual = {"normaliser": NORMALISERS.get(count, "box"), "failure": 0.07 if count == AFLW else 0.10}
        given = {name: value for name, value in options.items() if value is not None}
        return super().of(specs, field, **usual | given)

    @property
    def name(self) -> str:
        return "landmarks"
