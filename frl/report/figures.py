"""The pictures of the Markdown report."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from frl.evaluate.gallery import Gallery
from frl.report.content import Report
from frl.report.neighbours import nearest

INK, QUIET, BLUE, RIGHT, WRONG = "#1f2933", "#9aa5b1", "#1f6feb", "#1a9850", "#d73027"
FRAMES = {"same": (RIGHT, "solid"), "other": (WRONG, "dashed"), "unknown": (QUIET, "solid")}


def draw_training(report: Report) -> Figure:
    """Loss, learning rate and speed over the steps."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, rate, speed = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    steps, values = report.curve("loss")
    loss.plot(steps, values, color=QUIET, linewidth=1, label="logged")
    loss.plot(steps, smoothed(np.array(values)), color=BLUE, linewidth=2, label="smoothed")
    loss.legend(frameon=False)
    rate.plot(*report.curve("lr"), color=BLUE, linewidth=2)
    speed.plot(*report.curve("images_per_s"), color=BLUE, linewidth=1.5)
    speed.set_ylim(bottom=0)
    for axes, title in ((loss, "loss"), (rate, "learning rate"), (speed, "images per second")):
        _style(axes, title)
    return figure


def smoothed(values: np.ndarray) -> np.ndarray:
    """Centred moving average over about a tenth of ``values``; at the ends over what there is."""
    reach = max(len(values) // 20, 1)
    return np.array([values[max(i - reach, 0) : i + reach + 1].mean() for i in range(len(values))])


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    axes.set_xlabel("step", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=QUIET, alpha=0.3)
    axes.tick_params(colors=INK)


def draw_neighbours(gallery: Gallery, questions: int = 8, neighbours: int = 5) -> Figure:
    """A row for each question: the image, then its nearest others, framed by whether the identity is the same."""
    found = nearest(gallery, questions, neighbours)
    halves = 2 if len(found) > 1 else 1
    rows, answers = -(-len(found) // halves), len(found[0][1])
    figure = Figure(figsize=(halves * (answers + 1.5), rows), layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    panels = figure.subfigures(1, halves, squeeze=False, wspace=0.02)[0]
    widths = (1, 0.1, *[1] * answers)  # a gap parts the question from the answers
    grids = [panel.subplots(rows, len(widths), squeeze=False, width_ratios=widths) for panel in panels]
    for axes in np.ravel(grids):
        axes.axis("off")
    for row, (question, others) in zip(np.concatenate(grids), found, strict=False):
        _show(row[0], gallery.images[question], INK, "solid", 1)
        for axes, answer in zip(row[2:], others, strict=True):
            _show(axes, gallery.images[answer.image], *FRAMES[answer.verdict], 3)
    return figure


def _show(axes: Axes, image: np.ndarray, colour: str, line: str, width: float) -> None:
    axes.imshow(image)
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linestyle=line, linewidth=width)
