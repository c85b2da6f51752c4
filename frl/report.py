"""The report of a run: a Markdown page and its pictures, from figures and images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from PIL import Image

from frl.errors import ConfigError
from frl.evaluate.knn import KnnResult
from frl.files import atomic_write

INK, QUIET, BLUE, RIGHT, WRONG = "#1f2933", "#9aa5b1", "#1f6feb", "#1a9850", "#d73027"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images with what is known of them.

    Attributes:
        images: ``(N, H, W, 3)`` uint8.
        vectors: ``(N, D)`` features of the images, unit length.
        labels: ``(N,)`` int64, identities; -1 where unknown.
    """

    images: np.ndarray
    vectors: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report tells: the input of `write_report`.

    Attributes:
        title: headline.
        settings: rows of the first table, such as the command, the data and the time taken.
        metrics: lines of the run's ``metrics.jsonl``; those with a ``loss`` also hold ``step``, ``lr`` and
            ``images_per_s``.
        crops: ``(H, W, 3)`` uint8, images and the crops made of them.
        gallery: labelled images for the picture of nearest neighbours.
        accuracy: k-NN identity accuracy by the name of the features, the trained network's first.
    """

    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]]
    crops: np.ndarray
    gallery: Gallery
    accuracy: Mapping[str, KnnResult]


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.md`` and its pictures into ``folder``; returns the path of the page.

    Raises:
        ConfigError: if the metrics hold no loss, or the gallery no identity with two images.
    """
    _save(draw_training(report.metrics), folder / "training.png")
    with atomic_write(folder / "crops.png") as stream:
        Image.fromarray(report.crops).save(stream, format="PNG")
    _save(draw_neighbours(report.gallery), folder / "neighbours.png")
    page = folder / "report.md"
    with atomic_write(page) as stream:
        stream.write(render(report).encode())
    return page


def render(report: Report) -> str:
    """The Markdown page; it expects its pictures beside it."""
    some = next(iter(report.accuracy.values()))
    lines = [
        f"# {report.title}",
        "",
        *_table(("", ""), [(f"**{name}**", value) for name, value in report.settings.items()]),
        "## Whose face is it?",
        "",
        f"Leave-one-out k-nearest neighbours on frozen features: {some.queries:,} images of {some.identities:,} "
        f"identities, none of whose labels were seen in training.",
        "",
        *_table(
            ("features", "identity accuracy"),
            [(name, f"{result.accuracy:.1%}") for name, result in report.accuracy.items()],
        ),
        "## Nearest neighbours",
        "",
        "The first face of each row is the question, the others are its nearest in feature space: "
        "solid green the same person, dashed red somebody else.",
        "",
        "![Nearest neighbours](neighbours.png)",
        "",
        "## Training",
        "",
        "![Loss, learning rate and speed](training.png)",
        "",
        "## What the network was shown",
        "",
        "![Crops](crops.png)",
        "",
    ]
    return "\n".join(lines)


def _table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {header[0]} | {header[1]} |", "|:--|:--|", *(f"| {a} | {b} |" for a, b in cells), ""]


def draw_training(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, learning rate and speed over the steps.

    Raises:
        ConfigError: if no line holds a loss.
    """
    lines = [line for line in metrics if "loss" in line]
    if not lines:
        raise ConfigError("report", "the metrics hold no loss", "Train for at least one logging interval.")
    steps = [line["step"] for line in lines]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, rate, speed = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    values = np.array([line["loss"] for line in lines])
    loss.plot(steps, values, color=QUIET, linewidth=1, label="logged")
    loss.plot(steps, smoothed(values), color=BLUE, linewidth=2, label="smoothed")
    loss.legend(frameon=False)
    rate.plot(steps, [line["lr"] for line in lines], color=BLUE, linewidth=2)
    speed.plot(steps, [line["images_per_s"] for line in lines], color=BLUE, linewidth=1.5)
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


def nearest(gallery: Gallery, questions: int, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of images that have another of their identity, evenly spread, and of their nearest others.

    Returns:
        ``(Q,)`` and ``(Q, K)``, the nearest first; Q and K are smaller than asked where the gallery is.

    Raises:
        ConfigError: if no identity has two images.
    """
    labels = gallery.labels.cpu()
    known = torch.nonzero(labels >= 0).squeeze(1)
    _, identity, sizes = labels[known].unique(return_inverse=True, return_counts=True)
    askable = known[sizes[identity] > 1].numpy()
    if not len(askable):
        raise ConfigError("report", "no identity has two images", "Give it a labelled data set.")
    asked = askable[np.linspace(0, len(askable) - 1, min(questions, len(askable))).round().astype(int)]
    vectors = gallery.vectors[known].cpu()
    similarity = gallery.vectors[asked].cpu() @ vectors.T
    similarity[torch.from_numpy(asked)[:, None] == known] = -torch.inf
    others = similarity.topk(min(neighbours, len(known) - 1), dim=1).indices
    return asked, known[others].numpy()


def draw_neighbours(gallery: Gallery, questions: int = 8, neighbours: int = 5) -> Figure:
    """A row for each question: the image, then its nearest others, framed by whether the identity is the same."""
    asked, others = nearest(gallery, questions, neighbours)
    halves = 2 if len(asked) > 1 else 1
    rows, found = -(-len(asked) // halves), others.shape[1]
    figure = Figure(figsize=(halves * (found + 1.5), rows), layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    panels = figure.subfigures(1, halves, squeeze=False, wspace=0.02)[0]
    widths = (1, 0.1, *[1] * found)  # a gap parts the question from the answers
    grids = [panel.subplots(rows, len(widths), squeeze=False, width_ratios=widths) for panel in panels]
    for axes in np.ravel(grids):
        axes.axis("off")
    for row, question, answers in zip(np.concatenate(grids), asked, others, strict=False):
        _show(row[0], gallery.images[question], INK, "solid", 1)
        for axes, answer in zip(row[2:], answers, strict=True):
            same = bool(gallery.labels[answer] == gallery.labels[question])
            _show(axes, gallery.images[answer], RIGHT if same else WRONG, "solid" if same else "dashed", 3)
    return figure


def _show(axes: Axes, image: np.ndarray, colour: str, line: str, width: float) -> None:
    axes.imshow(image)
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linestyle=line, linewidth=width)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=100)
