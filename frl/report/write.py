"""Writing a report's files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from frl.files import atomic_write
from frl.report import html, markdown
from frl.report.content import Report
from frl.report.figures import draw_neighbours, draw_training


def write_report(report: Report, folder: str | PathLike[str]) -> Path:
    """Write ``report.html``, and ``report.md`` with its pictures, into ``folder``; returns the path of the former."""
    folder = Path(folder)
    _save(draw_training(report), folder / "training.png")
    if report.crops is not None:
        with atomic_write(folder / "crops.png") as stream:
            Image.fromarray(report.crops).save(stream, format="PNG")
    if report.gallery is not None:
        _save(draw_neighbours(report.gallery), folder / "neighbours.png")
    for name, page in (("report.md", markdown.render(report)), ("report.html", html.render(report))):
        with atomic_write(folder / name) as stream:
            stream.write(page.encode(errors="backslashreplace"))  # it may name a file whose name is not UTF-8
    return folder / "report.html"


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=100)
