"""The report as one HTML file: styles, script and pictures inside it, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np

from frl.objectives import Metric
from frl.report.charts import Curve, chart
from frl.report.content import Report
from frl.report.feature_map import METHODS, drawn, projected
from frl.report.figures import smoothed
from frl.report.judged import Judged, section
from frl.report.neighbours import Answer, nearest
from frl.report.pictures import data_uri

VERDICTS = {"same": "the same person", "other": "somebody else", "unknown": "unlabelled"}
QUESTIONS, ANSWERS = 8, 6


def render(report: Report) -> str:
    """The page."""
    sections = [
        _section("Health", _health(report)),
        _section("Curves", _curves(report)),
        *(_section(f"Task: {judged.task}", section(judged)) for judged in report.tasks),
        _section("Whose face is it?", _accuracy(report)),
        _section("Nearest neighbours", _neighbours(report)),
        _section("Map of the features", _map(report)),
        _section("What the network was shown", _crops(report)),
        _section("Configuration", _configuration(report)),
        _section("Environment", _environment(report)),
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report.notes)
    return page(report.title, _settings(report), _tiles(report) + notes + "\n".join(sections))


def page(title: str, header: str, content: str) -> str:
    """A whole page: ``header`` stands below the title."""
    style, script = (resources.files("frl.report").joinpath(name).read_text() for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>"
        f"<header><h1>{escape(title)}</h1>{header}</header>{content}"
        f"</main><script>{script}</script></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _settings(report: Report) -> str:
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in report.settings.items())
    return f"<dl>{items}</dl>" if items else ""


def _tiles(report: Report) -> str:
    """The figures that people ask for first."""
    tiles = [("final loss", f"{report.curve('loss')[1][-1]:.3f}", _line_of_the_loss(report))]
    if report.accuracy:
        name, result = next(iter(report.accuracy.items()))
        others = ", ".join(f"{other} {rival.accuracy:.1%}" for other, rival in report.accuracy.items() if other != name)
        tiles.append(("identity accuracy", f"{result.accuracy:.1%}", others))
    elif report.curve("knn_top1")[1]:
        tiles.append(("online k-NN", f"{report.curve('knn_top1')[1][-1]:.1%}", _online(report)))
    tiles += [_task_tile(judged) for judged in report.tasks]
    if ranks := report.curve("effective_rank")[1]:
        tiles.append(("effective rank", f"{ranks[-1]:.1f}", "directions that the features fill"))
    tiles.append(("images per second", f"{median(report.curve('images_per_s')[1]):,.0f}", "median"))
    if waits := report.curve("data_wait")[1]:
        tiles.append(("waiting for data", f"{median(waits):.0%}", "of the time, median"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(remark)}</small></div>'
        for label, value, remark in tiles
    ) + "</div>"  # fmt: skip


def _task_tile(judged: Judged) -> tuple[str, str, str]:
    """The headline of the row that is shown, and those of the rivals."""
    texts = [row.trials[0].scores[judged.headline].text for row in judged.rows]
    others = zip(judged.rows[judged.own :], texts[judged.own :], strict=True)
    rivals = ", ".join(f"{row.network.partition(' (')[0]} {text}" for row, text in others if row.features != "pooled")
    return f"{judged.task}: {judged.headline}", texts[judged.shown], rivals


def _online(report: Report) -> str:
    """What the figure of the run's own probe is of."""
    knn = report.configuration.get("knn") or {}
    judged = (
        f", k = {knn['neighbours']}, at most {knn['limit']:,} images" if {"neighbours", "limit"} <= set(knn) else ""
    )
    return f"identity, leave-one-out{judged}"


def _line_of_the_loss(report: Report) -> str:
    lines = [metric.line for metric in report.described if metric.name == "loss" and metric.line]
    return f"{lines[0][1]}: {lines[0][0]:.3f}" if lines else ""


def _health(report: Report) -> str:
    if not report.health:
        return ""
    kind = "good" if report.healthy else "bad"
    return f'<p class="verdict {kind}">{escape(report.health)}</p>'


def _curves(report: Report) -> str:
    charts = [_chart(report, list(metrics)) for _, metrics in groupby(report.described, key=lambda m: m.title)]
    return f'<div class="charts">{"".join(charts)}</div>'


def _chart(report: Report, metrics: Sequence[Metric]) -> str:
    """The curves of the metrics that share a title; the loss is noisy, and drawn smoothed too."""
    curves, styles = [], ("main", "second", "faint")
    for metric, style in zip(metrics, styles, strict=False):
        steps, values = report.curve(metric.name)
        if metric.name == "loss":
            curves.append(Curve(name="logged", steps=steps, values=values, style="faint"))
            values = smoothed(np.array(values)).tolist()
        label = "smoothed" if metric.name == "loss" else metric.label or metric.name
        curves.append(Curve(name=label, steps=steps, values=values, style=style))
    first = metrics[0]
    form = "{:.1%}" if first.percent else "{:,.0f}" if first.whole else "{:.3g}"
    return chart(first.title, curves, note=note_of(first), lower=first.lower, line=first.line, form=form)


def note_of(metric: Metric) -> str:
    """What a chart's figures mean, and which way is up."""
    if metric.higher_is_better is None:
        return metric.note
    direction = f"{'higher' if metric.higher_is_better else 'lower'} is better"
    return f"{metric.note}; {direction}" if metric.note else direction


def _accuracy(report: Report) -> str:
    if not report.accuracy:
        return ""
    some = next(iter(report.accuracy.values()))
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="bar"><i style="width:{result.accuracy:.1%}"></i></td>'
        f"<td>{result.accuracy:.1%}</td></tr>"
        for name, result in report.accuracy.items()
    )
    return (
        f"<p>Leave-one-out k-nearest neighbours (k = {some.neighbours}) on frozen features: "
        f"{some.queries:,} images of {some.identities:,} "
        f'identities{report.seen}.</p><table class="bars">{rows}</table>'
    )


def _neighbours(report: Report) -> str:
    if report.gallery is None:
        return ""
    images = report.gallery.images

    def picture(index: int, kind: str, description: str) -> str:
        return f'<img class="{kind}" alt="{escape(description)}" src="{data_uri(images[index])}">'

    def answer(found: Answer) -> str:
        face = picture(found.image, found.verdict, VERDICTS[found.verdict])
        return f"<figure>{face}<figcaption>{found.similarity:.2f}</figcaption></figure>"

    rows = [
        f'<div class="row"><figure>{picture(question, "question", "question")}<figcaption>?</figcaption></figure>'
        + "".join(answer(found) for found in answers)
        + "</div>"
        for question, answers in nearest(report.gallery, QUESTIONS, ANSWERS)
    ]
    legend = "Each row asks about its first face; the others are the nearest to it, with the cosine of their features."
    if report.accuracy:
        legend += " Solid green: the same person. Dashed red: somebody else."
    return f'<p>{legend}</p><div class="neighbours">{"".join(rows)}</div>'


def _map(report: Report) -> str:
    """A point for each face of the gallery."""
    gallery = report.gallery
    if gallery is None or len(gallery.vectors) < 3:
        return ""
    maps = [(name, drawn(gallery, projected(gallery.vectors, name))) for name, known in METHODS.items() if known()]
    return "".join(f'<div class="map"><p>{escape(name)}: {escape(words)}</p>{svg}</div>' for name, (svg, words) in maps)


def _crops(report: Report) -> str:
    if report.crops is None:
        return ""
    return (
        "<p>Images of the data set, and the crops that the run made of them in its first epoch.</p>"
        f'<div class="sheet"><img alt="images and their crops" src="{data_uri(report.crops)}"></div>'
    )


def _configuration(report: Report) -> str:
    if not report.configuration:
        return ""
    options, defaults = flat(report.configuration), flat(report.defaults)
    rows = "".join(
        f"<tr{'' if defaults.get(name) == value else ' class=chosen'}>"
        f"<th>{escape(name)}</th><td>{escape(words(value))}</td></tr>"
        for name, value in options.items()
    )
    return f'<p>Options that differ from their default are bold.</p><div class="columns"><table>{rows}</table></div>'


def _environment(report: Report) -> str:
    starts = []
    for start in report.starts:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(words(value))}</td></tr>"
            for name, value in flat(start).items()
            if value is not None
        )
        heading = f"From step {start['step']:,}, {start['started']}"
        opened = " open" if start is report.starts[-1] else ""
        starts.append(f"<details{opened}><summary>{escape(heading)}</summary><table>{rows}</table></details>")
    return "".join(starts)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return leaves


def words(value: Any) -> str:
    """An option's value as it is read."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(map(words, value)) if value and isinstance(value[0], Mapping) else " ".join(map(words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
