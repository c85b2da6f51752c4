"""The result of a benchmark: a table, a JSON file, a picture, and what follows from them."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frl import machine
from frl.files import atomic_write
from pipelines.benchmark.contestants import ENTRIES
from pipelines.benchmark.process import Round

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
    """All results, to look up by contestant and recipe."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.all = list(results)

    def rate(self, name: str, recipe: str) -> float:
        """Images per second; NaN where not measured."""
        return next((r.images_per_s for r in self.all if (r.name, r.recipe) == (name, recipe)), math.nan)

    def best(self) -> Result | None:
        """The fastest of ours, with everything on."""
        ours = [r for r in self.all if ENTRIES[r.name].kind == "ours" and r.recipe == FULL and r.rounds]
        return max(ours, key=lambda r: r.images_per_s, default=None)


def table(results: Results) -> str:
    """The table, in Markdown."""
    head = [
        "pipeline", "images/s", "CPU-ms an image", "x the paper's", "share of the floor",
        "crops and flip only", "to the first batch", "peak memory",
    ]  # fmt: skip
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    floor = results.rate("floor-resize", CROPS)
    for name, entry in ENTRIES.items():
        mine = {r.recipe: r for r in results.all if r.name == name}
        if not mine or entry.kind == "stage":
            continue
        main = mine.get(FULL, mine.get(CROPS))
        assert main is not None
        full = results.rate(name, FULL)
        rows.append(
            [
                entry.label if not main.skipped else f"{entry.label}: {main.skipped}",
                number(full),
                number(main.cpu_ms if entry.everything or entry.kind == "floor" else math.nan, 2),
                number(full / results.rate("paper", FULL), 1),
                number(100 * full / floor, 0, " %"),
                number(results.rate(name, CROPS)),
                number(main.first_batch_s, 1, " s"),
                number(main.peak_mb, 0, " MB"),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def number(value: float, digits: int = 0, unit: str = "") -> str:
    """A figure, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}{unit}"


def text(results: Results, gpu_images_per_s: float, cores: int) -> str:
    """The table, the stages, the bottleneck, and the cores that a GPU needs."""
    parts = [table(results)]
    stages = stage_costs(results)
    if stages:
        parts.append(stage_table(stages))
    best = results.best()
    if best is not None:
        parts.append(verdict(best, stages, gpu_images_per_s, cores))
    return "\n\n".join(parts)


def stage_costs(results: Results) -> dict[str, float]:
    """CPU-ms an image of each stage: what the pipeline cut short after it costs, less what it costs before it."""
    costs, before = {}, 0.0
    for result in results.all:
        entry = ENTRIES[result.name]
        if entry.kind == "stage" and result.rounds:
            costs[entry.label] = max(0.0, result.cpu_ms - before)
            before = result.cpu_ms
    return costs


def stage_table(stages: dict[str, float]) -> str:
    """The stages of our pipeline, in Markdown."""
    total = sum(stages.values())
    rows = [f"| {name} | {ms:.3f} | {ms / total:.0%} |" for name, ms in stages.items()]
    return "\n".join(["| stage of frl's ffcv engine | CPU-ms an image | share |", "|---|---:|---:|", *rows])


def verdict(best: Result, stages: dict[str, float], gpu_images_per_s: float, cores: int) -> str:
    """What limits us, and how many cores feed a GPU."""
    words = []
    if stages:
        worst = max(stages, key=lambda name: stages[name])
        words.append(f"The bottleneck is {worst}: {stages[worst] / sum(stages.values()):.0%} of the processor's time.")
    needed = math.ceil(gpu_images_per_s * best.cpu_ms / 1000)
    words.append(
        f"{best.label} costs {best.cpu_ms:.2f} CPU-ms an image: a GPU that trains on {gpu_images_per_s:,.0f} images/s "
        f"needs {needed} core{'s' * (needed != 1)} for the crops; "
        f"the {cores} here feed {1000 * cores / best.cpu_ms:,.0f}."
    )
    return " ".join(words)


def save(results: Results, words: str, folder: Path) -> None:
    """Write ``results.json`` and ``table.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for result in results.all:
        row = {**dataclasses.asdict(result), "label": result.label, "images_per_s": result.images_per_s}
        rows.append({key: None if value != value else value for key, value in {**row, "cpu_ms": result.cpu_ms}.items()})
    content = {"machine": where(), "results": rows}
    with atomic_write(folder / "results.json") as stream:
        stream.write(json.dumps(content, indent=1).encode())
    with atomic_write(folder / "table.md") as stream:
        stream.write(f"{words}\n\n{describe(where())}\n".encode())


def where() -> dict[str, str | int]:
    """Where and with what this was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": machine.processor(),
        "vector_bits": machine.vector_bits(),
        "cores": machine.cores(),
        "python": machine.python(),
        **machine.versions(),
    }


def describe(about: dict[str, str | int]) -> str:
    """``where()`` in a line."""
    versions = ", ".join(
        f"{name} {value}" for name, value in about.items() if name not in ("date", "processor", "vector_bits", "cores")
    )
    processor = f"{about['processor']} ({about['vector_bits']}-bit vectors)"
    return f"Measured on {about['date']}, {about['cores']} cores of {processor}; {versions}."
