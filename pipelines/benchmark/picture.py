"""The figures as bars."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from pipelines.benchmark.contestants import ENTRIES
from pipelines.benchmark.report import number, stage_costs
from pipelines.benchmark.results import CROPS, FULL, Results

COLOURS = {"ours": "#1f6f8b", "peer": "#9aa5b1", "floor": "#d9b44a"}


def draw(results: Results, path: Path) -> None:
    """Write the picture."""
    figure = picture(results)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def picture(results: Results) -> Figure:
    """Images per second with everything on, with crops alone, and where the time of our pipeline goes."""
    stages = stage_costs(results)
    figure, axes = plt.subplots(1, 3 if stages else 2, figsize=(16 if stages else 11, 4), layout="constrained")
    rate_bars(axes[0], results, FULL)
    rate_bars(axes[1], results, CROPS)
    if stages:
        bars = axes[2].barh(list(stages)[::-1], list(stages.values())[::-1], color=COLOURS["ours"])
        axes[2].bar_label(bars, fmt="{:.3f}", padding=3)
        axes[2].set_xlim(0, 1.25 * max(stages.values()) or 1)
        axes[2].set_title("CPU-ms an image:\nfrl, engine threads")  # the layout makes room for lines, not for long ones
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def rate_bars(axis: plt.Axes, results: Results, recipe: str) -> None:
    """One bar a contestant, the fastest on top."""
    shown = [r for r in results.all if r.recipe == recipe and ENTRIES[r.name].kind in COLOURS and r.rounds]
    shown.sort(key=lambda r: r.images_per_s)
    bars = axis.barh(
        [r.label for r in shown],
        [r.images_per_s for r in shown],
        color=[COLOURS[ENTRIES[r.name].kind] for r in shown],
    )
    axis.bar_label(bars, [number(r.images_per_s) for r in shown], padding=3)
    axis.set_title(f"images/s:\n{recipe}")
    if shown:
        axis.set_xlim(0, 1.15 * math.ceil(shown[-1].images_per_s))
