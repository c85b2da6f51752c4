"""Several runs on one page: curves over each other, what they ended with, and in which options they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from frl.errors import ConfigError
from frl.objectives import Metric
from frl.report import html
from frl.report.charts import STYLES, Curve, chart
from frl.report.figures import smoothed
from frl.report.judged import Judged, section


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of several runs.

    Attributes:
        name: of the run, another for each.
        settings: such as the network and how far it came.
        metrics: lines of its ``metrics.jsonl``.
        described: how its figures are drawn.
        configuration: of the run, as its ``config.json``.
    """

    name: str
    settings: Mapping[str, str]
    metrics: Sequence[Mapping[str, Any]]
    described: Sequence[Metric]
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of a figure; empty where it was never logged."""
        lines = [line for line in self.metrics if name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]


def require_few(runs: Sequence[Any]) -> None:
    """Refuse more runs than a chart can tell apart.

    Raises:
        ConfigError: so many.
    """
    if len(runs) > len(STYLES):
        cause = f"{len(runs)} runs, and a chart tells {len(STYLES)} curves apart"
        raise ConfigError("RUN", cause, "Compare fewer, or use frl study for grids.")


def render(runs: Sequence[Compared], tasks: Sequence[Judged] = (), notes: Sequence[str] = ()) -> str:
    """The page.

    Raises:
        ConfigError: more runs than can be told apart.
    """
    require_few(runs)
    title = " · ".join(run.name for run in runs)
    parts = [
        "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        _titled("What they ended with", _finals(runs)),
        *(_titled(f"Task: {judged.task}", section(judged)) for judged in tasks),
        _titled("Curves", f'<div class="charts">{"".join(_charts(runs))}</div>'),
        _titled("In which options they differ", _differences(runs)),
    ]
    return html.page(title, "", "\n".join(filter(None, parts)))


def finals(runs: Sequence[Compared]) -> Iterator[tuple[Metric, list[float]]]:
    """Each figure that was logged, with the last value of each run; NaN where one never logged it."""
    for metric in _metrics(runs):
        last = [values[-1] if (values := run.curve(metric.name)[1]) else math.nan for run in runs]
        if any(map(math.isfinite, last)):
            yield metric, last


def form_of(metric: Metric) -> str:
    """How a value of a figure is written."""
    return "{:.1%}" if metric.percent else "{:,.0f}" if metric.whole else "{:.4g}"


def called(metric: Metric) -> str:
    """A figure in words."""
    return f"{metric.title}, {metric.label}" if metric.label else metric.title


def _metrics(runs: Sequence[Compared]) -> list[Metric]:
    found: dict[str, Metric] = {}
    for run in runs:
        for metric in run.described:
            found.setdefault(metric.name, metric)
    return list(found.values())


def _titled(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _finals(runs: Sequence[Compared]) -> str:
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    rows = [
        [escape(name), *(f"<td>{escape(run.settings.get(name, ''))}</td>" for run in runs)]
        for name in dict.fromkeys(name for run in runs for name in run.settings)
    ]
    for metric, values in finals(runs):
        known = [value for value in values if math.isfinite(value)]
        best = None
        if metric.higher_is_better is not None and len(set(known)) > 1:
            best = max(known) if metric.higher_is_better else min(known)
        form = form_of(metric)
        cells = [
            f"<td{' class=best' if value == best else ''}>{form.format(value) if math.isfinite(value) else ''}</td>"
            for value in values
        ]
        direction = {None: "", True: " ↑", False: " ↓"}[metric.higher_is_better]
        rows.append([escape(called(metric)) + direction, *cells])
    body = "".join(f"<tr><th>{name}</th>{''.join(cells)}</tr>" for name, *cells in rows)
    return f'<div class="figures"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _charts(runs: Sequence[Compared]) -> Iterator[str]:
    """A chart for each figure, a curve for each run; losses are noisy and drawn smoothed."""
    for metric in _metrics(runs):
        curves = []
        for run, style in zip(runs, STYLES, strict=False):
            steps, values = run.curve(metric.name)
            if metric.name == "loss" and values:
                values = smoothed(np.array(values)).tolist()
            curves.append(Curve(name=run.name, steps=steps, values=values, style=style))
        lines = {own.line for run in runs for own in run.described if own.name == metric.name and own.line}
        shared = lines.pop() if len(lines) == 1 else None  # a bound of one run alone is none of the others'
        note = html.note_of(metric) + (" (smoothed)" if metric.name == "loss" else "")
        yield chart(called(metric), curves, note=note, lower=metric.lower, line=shared, form=form_of(metric))


def _differences(runs: Sequence[Compared]) -> str:
    """Options that are not the same in all runs, but for the folder."""
    options = [html.flat(run.configuration) for run in runs]
    names = [name for name in dict.fromkeys(name for each in options for name in each) if name != "out"]
    rows = []
    for name in names:
        values = [html.words(each[name]) if name in each else "" for each in options]
        if len(set(values)) > 1:
            cells = "".join(f"<td>{escape(value)}</td>" for value in values)
            rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    if not rows:
        return ""
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    body = "".join(rows)
    return f'<div class="figures"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
