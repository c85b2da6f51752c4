"""What a report tells of a downstream task: the table, curves, the confusion matrix, and faces with what was said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.evaluate.few_labels import spread
from frl.evaluate.table import Row
from frl.report.charts import STYLES, Curve, chart
from frl.report.pictures import data_uri


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face that a head was judged on.

    Attributes:
        image: ``(H, W, 3)`` uint8, as it is stored.
        words: what was said of it, and how right that is.
        said: ``(n, 2)`` points in pixels of the image; None where the task is of no points.
        true: ``(n, 2)``, NaN where unknown.
    """

    image: NDArray[np.uint8]
    words: str
    said: NDArray[np.float64] | None = None
    true: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A task on frozen features.

    Attributes:
        task: its name.
        headline: its first score.
        sides: what the heads learned from and were judged on, in words.
        rows: the table; the networks that the report is about come first, all with the same scores.
        own: how many rows are of these networks.
        shown: which of the rows the confusion matrix and the faces are of.
        faces: a few of the faces of the test.
    """

    task: str
    headline: str
    sides: str
    rows: Sequence[Row]
    own: int
    shown: int = 0
    faces: Sequence[Face] = ()

    @property
    def scores(self) -> list[str]:
        """Names of the scores of everything, not of parts."""
        return [name for name in self.rows[0].trials[0].scores if "/" not in name]

    def best(self, name: str) -> float:
        """The best figure of a score among all rows; NaN where none is better than another."""
        values = [value for row in self.rows if math.isfinite(value := spread(row.trials, name).mean)]
        if len(set(values)) < 2:
            return math.nan
        return max(values) if self.rows[0].trials[0].scores[name].higher_is_better else min(values)


def called(row: Row) -> str:
    """A row in words."""
    return f"{row.network}, {row.features}" if row.features else row.network


def section(judged: Judged) -> str:
    """The task as HTML."""
    return (
        f"<p>Ridge regression on frozen features, {escape(judged.sides)}.</p>{_table(judged)}"
        f"{_cumulative(judged)}{_confusion(judged)}{_faces(judged)}"
    )


def _table(judged: Judged) -> str:
    names = judged.scores
    head = "".join(f"<th>{escape(name)} {_direction(judged.rows[0], name)}</th>" for name in names)
    body = []
    for index, row in enumerate(judged.rows):
        cells = []
        for name in names:
            found = spread(row.trials, name)
            kind = " class=best" if found.mean == judged.best(name) else ""
            cells.append(f"<td{kind}>{escape(found.text)}</td>")
        kind = " class=own" if index < judged.own else ""
        body.append(f"<tr{kind}><th>{escape(called(row))}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="figures"><table><thead><tr><th>network, features</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _direction(row: Row, name: str) -> str:
    return "↑" if row.trials[0].scores[name].higher_is_better else "↓"


def _cumulative(judged: Judged) -> str:
    """The cumulative curves of errors over each other, of as many rows as there are styles, those shown first."""
    order = sorted(range(len(judged.rows)), key=lambda index: index != judged.shown)
    curves: list[Curve] = []
    for index in order:
        row, details = judged.rows[index], judged.rows[index].trials[0].details
        if "cumulative" in details and len(curves) < len(STYLES):
            found = details["cumulative"]["all"]
            curves.append(
                Curve(name=called(row), steps=found["error"], values=found["share"], style=STYLES[len(curves)])
            )
    if not curves:
        return ""
    over = judged.rows[judged.shown].trials[0].details.get("normaliser", "")
    note = f"share of faces with at most this error, over the {over}"
    figure = chart("Cumulative errors", curves, note=note, form="{:.1%}", lower=0, upper=1, along="error {:.2%}")
    return f'<div class="charts">{figure}</div>'


def _confusion(judged: Judged) -> str:
    """Faces by true and said class; the darker a cell, the larger its share of the row."""
    row = judged.rows[judged.shown]
    details: Any = row.trials[0].details
    if "confusion" not in details:
        return ""
    names, counts = details["classes"], details["confusion"]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for number, (name, line) in enumerate(zip(names, counts, strict=True)):
        total = sum(line)
        cells = "".join(
            f'<td{" class=right" if column == number else ""} style="--share:{count / max(1, total):.3f}">{count:,}'
            f" <small>{count / total:.0%}</small></td>"
            if total
            else "<td>-</td>"
            for column, count in enumerate(line)
        )
        lines.append(f"<tr><th>{escape(name)} ({total:,})</th>{cells}</tr>")
    return (
        f"<p>Confusion of {escape(called(row))}: rows are what is true, with the number of faces, columns what was "
        "said; shares are of the row, and what was said rightly is framed.</p>"
        f'<div class="figures confusion"><table><thead><tr><th>true \\ said</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _faces(judged: Judged) -> str:
    if not judged.faces:
        return ""
    legend = f"What {called(judged.rows[judged.shown])} says of faces of the test, from the least error to the largest."
    keys = ""
    if judged.faces[0].said is not None:
        keys = '<p class="legend"><span class="key said">● said</span> <span class="key true">● true</span></p>'
    else:
        legend = f"What {called(judged.rows[judged.shown])} says of faces of the test, evenly spread over them."
    return f'<p>{escape(legend)}</p>{keys}<div class="faces">{"".join(map(_face, judged.faces))}</div>'


def _face(face: Face) -> str:
    """The picture, with dots in its own pixels: the centre of the first one is (0, 0)."""
    height, width = face.image.shape[:2]
    radius = max(width, height) / 110
    dots = "".join(
        f'<circle class="{kind}" r="{radius:.2f}" cx="{x:.2f}" cy="{y:.2f}"/>'
        for kind, points in (("true", face.true), ("said", face.said))
        if points is not None
        for x, y in points
        if math.isfinite(x) and math.isfinite(y)
    )
    return (
        f'<figure><svg viewBox="-0.5 -0.5 {width} {height}" role="img" aria-label="{escape(face.words)}">'
        f'<image x="-0.5" y="-0.5" width="{width}" height="{height}" href="{data_uri(face.image)}"/>{dots}</svg>'
        f"<figcaption>{escape(face.words)}</figcaption></figure>"
    )
