"""The report as one HTML file: styles, script and pictures inside it, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from html import escape
from importlib import resources
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from frl.report.charts import Curve, chart
from frl.report.content import Report
from frl.report.figures import smoothed
from frl.report.neighbours import Answer, nearest

VERDICTS = {"same": "the same person", "other": "somebody else", "unknown": "unlabelled"}
QUESTIONS, ANSWERS = 8, 6


def render(report: Report) -> str:
    """The page."""
    sections = [
        _section("Health", _health(report)),
        _section("Curves", _curves(report)),
        _section("Whose face is it?", _accuracy(report)),
        _section("Nearest neighbours", _neighbours(report)),
        _section("What the network was shown", _crops(report)),
        _section("Configuration", _configuration(report)),
        _section("Environment", _environment(report)),
    ]
    style, script = (resources.files("frl.report").joinpath(name).read_text() for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{style}</style></head>\n<body><main>"
        f"<header><h1>{escape(report.title)}</h1>{_settings(report)}</header>{_tiles(report)}"
        + "".join(f'<p class="note">{escape(note)}</p>' for note in report.notes)
        + "\n".join(sections)
        + f"</main><script>{script}</script></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _settings(report: Report) -> str:
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in report.settings.items())
    return f"<dl>{items}</dl>" if items else ""


def _tiles(report: Report) -> str:
    """The figures that people ask for first."""
    tiles = [("final loss", f"{report.curve('loss')[1][-1]:.3f}", _ceiling_words(report))]
    if report.accuracy:
        name, result = next(iter(report.accuracy.items()))
        others = ", ".join(f"{other} {rival.accuracy:.1%}" for other, rival in report.accuracy.items() if other != name)
        tiles.append(("identity accuracy", f"{result.accuracy:.1%}", others))
    elif report.curve("knn_top1")[1]:
        tiles.append(("online k-NN", f"{report.curve('knn_top1')[1][-1]:.1%}", "identity, leave-one-out"))
    if ranks := report.curve("rank")[1]:
        tiles.append(("effective rank", f"{ranks[-1]:.1f}", _width_words(report)))
    tiles.append(("images per second", f"{median(report.curve('images_per_s')[1]):,.0f}", "median"))
    if waits := report.curve("data_wait")[1]:
        tiles.append(("waiting for data", f"{median(waits):.0%}", "of the time, median"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(remark)}</small></div>'
        for label, value, remark in tiles
    ) + "</div>"  # fmt: skip


def _ceiling(report: Report) -> float | None:
    prototypes = report.configuration.get("model", {}).get("prototypes")
    return math.log(prototypes) if prototypes else None


def _ceiling_words(report: Report) -> str:
    ceiling = _ceiling(report)
    return f"guessing: ln K = {ceiling:.3f}" if ceiling else ""


def _width_words(report: Report) -> str:
    width = report.configuration.get("model", {}).get("feature_dim")
    return f"of {width} directions" if width else ""


def _health(report: Report) -> str:
    if not report.health:
        return ""
    kind = "good" if report.health.startswith("No sign") else "bad"
    return f'<p class="verdict {kind}">{escape(report.health)}</p>'


def _curves(report: Report) -> str:
    def one(name: str, label: str = "", style: str = "main") -> Curve:
        steps, values = report.curve(name)
        return Curve(name=label or name, steps=steps, values=values, style=style)

    loss = one("loss", "logged", "faint")
    smooth = Curve(name="smoothed", steps=loss.steps, values=smoothed(np.array(loss.values)).tolist())
    ceiling = _ceiling(report)
    guessing = (ceiling, "guessing, ln K") if ceiling else None
    percent, whole = "{:.1%}", "{:,.0f}"
    return '<div class="charts">' + "".join(
        [
            chart("Loss", [loss, smooth], note="swapped prediction", line=guessing),
            chart("Online k-NN", [one("knn_top1", "top-1")], note="identity accuracy, leave-one-out", form=percent),
            chart("Effective rank", [one("rank", "RankMe")], note="directions that the features fill", floor=1),
            chart("Spread", [one("spread")], note="1: isotropic, 0: every image alike", floor=0),
            chart(
                "Entropies",
                [one("prototype_entropy", "of the use"), one("assignment_entropy", "of an image", "second")],
                note="of prototypes, as a share of ln K",
                floor=0,
            ),
            chart("Prototypes in use", [one("prototypes_used", "used")], floor=0, form=percent),
            chart("Learning rate", [one("lr", "rate")], floor=0),
            chart("Speed", [one("images_per_s", "images/s")], floor=0, form=whole),
            chart("Waiting for data", [one("data_wait", "share")], note="share of the time", floor=0, form=percent),
            chart("Memory", [one("memory_gib", "GiB")], note="most held so far", floor=0),
        ]
    ) + "</div>"  # fmt: skip


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
        f"<p>Leave-one-out k-nearest neighbours on frozen features: {some.queries:,} images of {some.identities:,} "
        f'identities, none of whose labels were seen in training.</p><table class="bars">{rows}</table>'
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
        f"<th>{escape(name)}</th><td>{escape(_words(value))}</td></tr>"
        for name, value in options.items()
    )
    return f'<p>Options that differ from their default are bold.</p><div class="columns"><table>{rows}</table></div>'


def _environment(report: Report) -> str:
    starts = []
    for start in report.starts:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(_words(value))}</td></tr>"
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


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return (
            "; ".join(map(_words, value)) if value and isinstance(value[0], Mapping) else " ".join(map(_words, value))
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def data_uri(picture: np.ndarray) -> str:
    """An RGB ``(H, W, 3)`` uint8 picture as a JPEG inside a URI."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
