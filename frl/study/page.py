"""The page of a study: a chart with error bars for each thing measured, and the table; one file, nothing fetched."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from html import escape
from importlib import resources

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from frl.study.figures import Spread
from frl.study.grid import Study
from frl.study.perform import Failure
from frl.study.table import (
    Table,
    axes_of,
    baseline_of,
    baseline_rows,
    difference_rows,
    differences_in_words,
    trained_rows,
)

DASHES = ((0, (1, 1)), (0, (4, 2)), (0, (6, 2, 1, 2)), (0, (2, 2)), (0, (8, 2)))


def to_html(study: Study, table: Table, failures: Sequence[Failure]) -> str:
    """The page."""
    style = resources.files("frl.report").joinpath("page.css").read_text()
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}: {', '.join(map(str, study.seeds))}"
    charts = "".join(f"<figure>{_chart(table, column)}</figure>" for column in table.columns)
    failed = "".join(f"<li>{escape(f.step.stage)} {escape(f.step.key)}: {escape(f.reason)}</li>" for f in failures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(study.title)}</title><style>{style}</style></head>\n<body><main>"
        f"<header><h1>{escape(study.title)}</h1></header><p>{escape(study.text)}</p>"
        f'<p class="note">{escape(seeds)}. Points: means; bars: standard deviations over the seeds. '
        "Lines across: baselines on the same data.</p>"
        f"{charts}{_tables(table)}"
        + (f"<section><h2>What failed</h2><ul>{failed}</ul></section>" if failed else "")
        + "</main></body></html>\n"
    )


def _chart(table: Table, column: str) -> str:
    """The first axis from left to right; a line for each combination of the others."""
    drawing = Drawing(figsize=(7, 3.6), layout="constrained")
    axes: Axes = drawing.subplots()
    places = list(dict.fromkeys(choices[0] if choices else "" for choices in table.trained))
    lines: dict[tuple[str, ...], dict[str, Spread]] = {}
    for choices, found in table.trained.items():
        if column in found and found[column].count:
            lines.setdefault(choices[1:], {})[choices[0] if choices else ""] = found[column]
    for number, (others, spreads) in enumerate(lines.items()):
        at = [places.index(place) + 0.06 * (number - (len(lines) - 1) / 2) for place in spreads]
        means = [spread.mean for spread in spreads.values()]
        bars = [0.0 if math.isnan(spread.deviation) else spread.deviation for spread in spreads.values()]
        axes.errorbar(at, means, yerr=bars, marker="o", capsize=3, label=", ".join(others) or "trained")
    for dashes, (name, baseline) in zip(DASHES, table.baselines.items(), strict=False):
        if (spread := baseline_of(table, baseline, column)) is not None and spread.count:
            axes.axhline(spread.mean, color="grey", linestyle=dashes, linewidth=1, label=name)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlabel(table.axes[0] if table.axes else "")
    axes.set_title(f"{column} ({'higher' if table.directions[column] else 'lower'} is better)", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):  # words as words: found by a search, and half the page
        drawing.savefig(stream, format="svg")
    return stream.getvalue()[stream.getvalue().index("<svg") :]


def _tables(table: Table) -> str:
    figures = f"<h2>Figures</h2>{_rows(table, [*trained_rows(table), *baseline_rows(table)])}"
    if not table.differences:
        return f"<section>{figures}</section>"
    differences = f"<p>{escape(differences_in_words(table))}</p>{_rows(table, difference_rows(table))}"
    return f"<section>{figures}<h2>Differences</h2>{differences}</section>"


def _rows(table: Table, rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (*axes_of(table), *table.columns))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
