"""Draw the vitals of a healthy and of a collapsed run: ``draw_health.py HEALTHY COLLAPSED --out x.png``."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from frl import console
from frl.config import upgraded
from frl.files import atomic_write
from frl.monitoring.logbook import read_metrics

PANELS = {
    "loss": "loss",
    "knn_top1": "online k-NN accuracy",
    "effective_rank": "effective rank (RankMe)",
    "feature_std": "feature standard deviation",
    "assignment_entropy": "entropy of an image's assignment",
    "prototype_entropy": "entropy of the prototypes' use",
}
COLOURS = {"healthy": "#1f6feb", "collapsed": "#d73027"}


@dataclass(frozen=True)
class Options:
    """Draw the vitals of two runs."""

    healthy: tyro.conf.Positional[Path]
    """Folder of a healthy run."""
    collapsed: tyro.conf.Positional[Path]
    """Folder of a collapsed one."""
    out: Path = Path("docs/health.png")
    """Picture to write."""


def draw(runs: dict[str, Path]) -> Figure:
    """A panel for each of the vitals, its axis from 0, with a line for each run; the dotted line is ln K."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 3, sharex=True).flat, PANELS.items(), strict=True):
        for label, folder in runs.items():
            lines = [line for line in read_metrics(folder / "metrics.jsonl") if name in line]
            steps, values = [line["step"] for line in lines], [line[name] for line in lines]
            style = "-" if label == "healthy" else "--"
            axes.plot(steps, values, style, color=COLOURS[label], linewidth=2, label=label)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("step")
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    for folder in runs.values():
        prototypes = upgraded(json.loads((folder / "config.json").read_bytes()))["objective"]["prototypes"]
        figure.axes[0].axhline(math.log(prototypes), color="grey", linestyle=":", zorder=0)
    figure.axes[0].legend(frameon=False, loc="lower left")
    return figure


def main() -> None:
    """Draw and say where."""
    options = tyro.cli(Options)
    with atomic_write(options.out) as stream:
        draw({"healthy": options.healthy, "collapsed": options.collapsed}).savefig(stream, format="png", dpi=90)
    print(options.out)


if __name__ == "__main__":
    sys.exit(console.run("bench health", main))
