"""What the evaluations of a study say, as figures that can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from frl.errors import ConfigError
from frl.results import baseline_of
from frl.study.grid import Cell, Study

TRAINED = "trained"
ERRORS = {"eer"}
UNCERTAINTIES = {"standard_error"}
"""Of what tasks without heads give: what is better when it is lower, and what is no score."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One score of one network.

    Attributes:
        column: what was measured: the evaluation, and which features or how many labels where there are several.
        plain: the column without the features: that of a baseline whose features are of one kind.
        network: ``trained``, or which baseline.
        choices: of the axes.
        seed: of the cell.
        value: of the score; NaN where it is not defined.
        higher_is_better: its direction.
    """

    column: str
    plain: str
    network: str
    choices: tuple[str, ...]
    seed: int
    value: float
    higher_is_better: bool


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of some figures; the latter is NaN of one alone."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of values, of which NaN are left out."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return cls(math.nan, math.nan, 0)
        return cls(mean(known), stdev(known) if len(known) > 1 else math.nan, len(known))

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN of one value alone."""
        return self.deviation / math.sqrt(self.count) if self.count else math.nan

    def __str__(self) -> str:
        return _with_spread(self.mean, self.deviation)


@dataclass(frozen=True)
class Difference:
    """How far some figures lie from others, seed by seed: what a seed does to both is no part of it.

    Attributes:
        spread: of the differences.
    """

    spread: Spread

    @classmethod
    def of(cls, values: Mapping[int, float], others: Mapping[int, float]) -> Difference:
        """Of values by seed, less others; seeds that both have."""
        return cls(Spread.of(value - others[seed] for seed, value in values.items() if seed in others))

    def __str__(self) -> str:
        return _with_spread(self.spread.mean, self.spread.error, sign="+")


def _with_spread(middle: float, spread: float, sign: str = "") -> str:
    """A number and what it may be off by, which has two digits that count; a hyphen of none."""
    if math.isnan(middle):
        return "-"
    if math.isnan(spread):
        return f"{middle:{sign}.4g}"
    if spread <= 1e-9 * abs(middle):  # of equal numbers, but for how they are rounded
        return f"{middle:{sign}.4g} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{middle:{sign}.{decimals}f} ± {spread:.{decimals}f}"


def collect(study: Study, cells: Iterable[Cell], out: Path) -> list[Figure]:
    """The figures of all evaluations that are done.

    Raises:
        ConfigError: if a score is asked for that an evaluation does not give.
    """
    figures = []
    for cell in cells:
        for name, step in cell.evaluations.items():
            if step.is_done(out):
                content = json.loads(step.product(out).read_bytes())
                figures += list(_figures(name, study.scores.get(name), content, cell))
    return figures


def _figures(name: str, score: str | None, content: Mapping[str, Any], cell: Cell) -> Iterator[Figure]:
    for network, column, plain, scores in _scores(name, content):
        if score is not None and score not in scores:
            known = ", ".join(scores)
            raise ConfigError(f"evaluate, {name!r}", f"gives no score {score!r}", f"Name one of: {known}.")
        value, higher_is_better = scores[score or next(iter(scores))]
        yield Figure(
            column=column,
            plain=plain,
            network=baseline_of(network) or TRAINED,
            choices=tuple(cell.choices.values()),
            seed=cell.seed,
            value=math.nan if value is None else float(value),
            higher_is_better=higher_is_better,
        )


def _scores(name: str, content: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, tuple[Any, bool]]]]:
    """Network, column, plain column and scores of each row of a result, of a task with heads or of one without."""
    if "rows" not in content:
        for network, found in content.items():
            yield network, name, name, dict(_numbers(found))
        return
    labels = {row["labels"] for row in content["rows"]}
    for row in content["rows"]:
        share = row["labels"] if len(labels) > 1 else ""
        column, plain = (", ".join(filter(None, parts)) for parts in ((name, row["features"], share), (name, share)))
        numbers = {key: (found["mean"], found["higher_is_better"]) for key, found in row["scores"].items()}
        yield row["network"], column, plain, numbers


def _numbers(found: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """The scores of a task without heads, and whether higher is better; of several rates as ``tar_at_far/0.1``."""
    for key, value in found.items():
        if isinstance(value, float) and key not in UNCERTAINTIES:
            yield key, (value, key not in ERRORS)
        elif isinstance(value, Mapping):
            yield from ((f"{key}/{rate}", (number, True)) for rate, number in value.items())
