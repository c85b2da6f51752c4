"""What was measured: the figures of every contestant, where they come from, and their file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frl import machine as facts
from frl.errors import ConfigError
from frl.files import atomic_write
from pipelines.benchmark.contestants import ENTRIES, Kind
from pipelines.benchmark.process import Round

Machine = dict[str, str | int | float]
FULL, CROPS = "everything on", "crops and flip"


@dataclass(kw_only=True)
class Result:
    """What one contestant did.

    Attributes:
        name: key of ``ENTRIES``.
        recipe: ``FULL`` or ``CROPS``.
        first_batch_s: time to the first batch, in seconds.
        peak_mb: peak memory.
        rounds: its turns.
        skipped: why it did not take part, or dropped out.
    """

    name: str
    recipe: str
    first_batch_s: float = math.nan
    peak_mb: float = math.nan
    rounds: list[Round] = field(default_factory=list)
    skipped: str = ""

    @property
    def images_per_s(self) -> float:
        """Median over the rounds; NaN without any."""
        return statistics.median([turn.images_per_s for turn in self.rounds] or [math.nan])

    @property
    def cpu_ms(self) -> float:
        """Processor time of one image in milliseconds, median over the rounds; NaN without any."""
        return statistics.median([turn.cpu_ms_per_image for turn in self.rounds] or [math.nan])

    @property
    def label(self) -> str:
        """In tables."""
        return ENTRIES[self.name].label


class Results:
    """All results, to look up by contestant and recipe.

    Attributes:
        machine: as ``machine`` describes it.
    """

    def __init__(self, results: Sequence[Result], machine: Machine) -> None:
        self.all = list(results)
        self.machine = machine

    def rate(self, name: str, recipe: str) -> float:
        """Images per second; NaN where not measured."""
        return next((r.images_per_s for r in self.all if (r.name, r.recipe) == (name, recipe)), math.nan)

    def best(self) -> Result | None:
        """The one of ours that costs least, with everything on."""
        return self._cheapest("ours")

    def best_peer(self) -> Result | None:
        """The one of the others that costs least, with everything on."""
        return self._cheapest("peer")

    def _cheapest(self, kind: Kind) -> Result | None:
        found = [r for r in self.all if ENTRIES[r.name].kind == kind and r.recipe == FULL and r.rounds]
        return min(found, key=lambda r: r.cpu_ms, default=None)


def save(results: Results, path: Path) -> None:
    """Write the figures as JSON, which ``load`` reads."""
    rows = [
        {**dataclasses.asdict(r), "label": r.label, "images_per_s": r.images_per_s, "cpu_ms": r.cpu_ms}
        for r in results.all
    ]
    rows = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(json.dumps({"machine": results.machine, "results": rows}, indent=1).encode())


def load(path: Path) -> Results:
    """The figures of an earlier run, from its ``results.json``.

    Raises:
        ConfigError: if it holds no such figures.
    """
    try:
        return _parse(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        cause = f"it holds no figures of this benchmark ({type(error).__name__}: {error})"
        raise ConfigError(path, cause, "Name the results.json that frl bench loader wrote.") from error


def _parse(content: dict[str, Any]) -> Results:
    results = []
    for row in content["results"]:
        known = {name: math.nan if row[name] is None else row[name] for name in ("first_batch_s", "peak_mb")}
        rounds = [Round(**turn) for turn in row["rounds"]]
        results.append(Result(name=row["name"], recipe=row["recipe"], rounds=rounds, skipped=row["skipped"], **known))
    return Results([result for result in results if result.name in ENTRIES], content["machine"])


def machine() -> Machine:
    """Where and with what is measured, and the load at this moment."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": facts.processor(),
        "vectors": f"{facts.vector_bits()}-bit vectors",
        "cores": facts.cores(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": facts.python(),
        **facts.versions(),
    }
