"""The report as Markdown; it expects its pictures beside it."""

from __future__ import annotations

from collections.abc import Sequence

from frl.evaluate.few_labels import spread
from frl.report.content import Report
from frl.report.judged import Judged, called


def render(report: Report) -> str:
    """The page, with links to ``training.png`` and, where there are any, ``crops.png`` and ``neighbours.png``."""
    lines = [
        f"# {report.title}",
        "",
        *_table(("", ""), [(f"**{name}**", value) for name, value in report.settings.items()]),
        *[line for note in report.notes for line in (f"> {note}", "")],
    ]
    for judged in report.tasks:
        lines += _task(judged)
    if report.accuracy:
        some = next(iter(report.accuracy.values()))
        lines += [
            "## Whose face is it?",
            "",
            f"Leave-one-out k-nearest neighbours (k = {some.neighbours}) on frozen features: {some.queries:,} images "
            f"of {some.identities:,} identities{report.seen}.",
            "",
            *_table(
                ("features", "identity accuracy"),
                [(name, f"{result.accuracy:.1%}") for name, result in report.accuracy.items()],
            ),
        ]
    if report.gallery is not None:
        lines += [
            "## Nearest neighbours",
            "",
            "The first face of each row is the question, the others are its nearest in feature space"
            + (": solid green the same person, dashed red somebody else." if report.accuracy else "."),
            "",
            "![Nearest neighbours](neighbours.png)",
            "",
        ]
    lines += ["## Training", "", "![Loss, learning rate and speed](training.png)", ""]
    if report.crops is not None:
        lines += ["## What the network was shown", "", "![Crops](crops.png)", ""]
    return "\n".join(lines)


def _task(judged: Judged) -> list[str]:
    names = judged.scores
    rows = [(called(row), *(spread(row.trials, name).text for name in names)) for row in judged.rows]
    said = f"Ridge regression on frozen features, {judged.sides}."
    return [f"## Task: {judged.task}", "", said, "", *_table(("network, features", *names), rows)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [header, [":--"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    heading, rule, *body = (" | ".join(line) for line in lines)
    return [f"| {heading} |", f"|{rule.replace(' ', '')}|", *(f"| {line} |" for line in body), ""]
