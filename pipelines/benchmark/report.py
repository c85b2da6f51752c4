"""Results in words: a table, the stages of our pipeline, and what follows from them."""

from __future__ import annotations

import math

from pipelines.benchmark.contestants import ENTRIES
from pipelines.benchmark.results import CROPS, FULL, Machine, Result, Results


def table(results: Results) -> str:
    """The table, in Markdown."""
    head = [
        "pipeline", "images/s", "CPU-ms an image", "x the paper's", "CPU-ms, to frl's best",
        "crops and flip only", "to the first batch", "peak memory",
    ]  # fmt: skip
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    best = results.best()
    least = math.nan if best is None else best.cpu_ms
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
                number(main.cpu_ms / least if entry.everything else math.nan, 1),
                number(results.rate(name, CROPS)),
                number(main.first_batch_s, 1, " s"),
                number(main.peak_mb, 0, " MB"),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def number(value: float, digits: int = 0, unit: str = "") -> str:
    """A figure, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}{unit}"


def text(results: Results, gpu_images_per_s: float) -> str:
    """The table, the stages, the bottleneck, and the cores that a GPU needs."""
    parts = [table(results)]
    stages = stage_costs(results)
    if stages:
        parts.append(stage_table(stages))
    best = results.best()
    if best is not None:
        parts.append(verdict(best, results.best_peer(), stages, gpu_images_per_s, int(results.machine["cores"])))
    parts.append(describe(results.machine))
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
    return "\n".join(["| stage of frl's threaded engine | CPU-ms an image | share |", "|---|---:|---:|", *rows])


def verdict(best: Result, peer: Result | None, stages: dict[str, float], gpu_images_per_s: float, cores: int) -> str:
    """How far the best of the others is behind, what limits us, and how many cores feed a GPU."""
    words = []
    if peer is not None:
        words.append(
            f"The best of the others, {peer.label}, costs {peer.cpu_ms:.2f} CPU-ms an image, "
            f"{peer.cpu_ms / best.cpu_ms:.1f} times as much as {best.label}."
        )
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


def describe(about: Machine) -> str:
    """``machine()`` in words."""
    own = ("date", "processor", "vectors", "cores", "load_before", "load_after", "workers", "rounds")
    packages = ", ".join(f"{name} {value}" for name, value in about.items() if name not in own)
    return (
        f"Measured on {about['date']}, {about['cores']} cores of {about['processor']} ({about['vectors']}), "
        f"{about.get('workers', '?')} thread(s) or process(es) each; load {about['load_before']} before, "
        f"{about.get('load_after', '?')} after (of the machine, this benchmark included); {packages}."
    )
