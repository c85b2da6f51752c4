"""The table of a study, for people (Markdown) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frl.study.figures import TRAINED, Difference, Figure, Spread
from frl.study.grid import Study


@dataclass(frozen=True)
class Table:
    """Figures by row and column; each cell is the spread over the seeds.

    Attributes:
        axes: names of the axes.
        columns: what was measured.
        trained: a row for each combination of choices.
        differences: a row for each combination but the first: how far it lies from the first, seed by seed.
        baselines: a row for each baseline, over the seeds; what the cells of one seed measure again counts once.
        apart: the same of baselines that differ from choice to choice, as that of another network does: by name and
            choices.
        directions: of each column, whether higher is better.
        plain: of each column, the one without its features; see ``Figure``.
    """

    axes: tuple[str, ...]
    columns: tuple[str, ...]
    trained: Mapping[tuple[str, ...], Mapping[str, Spread]]
    differences: Mapping[tuple[str, ...], Mapping[str, Difference]]
    baselines: Mapping[str, Mapping[str, Spread]]
    apart: Mapping[tuple[str, ...], Mapping[str, Spread]]
    directions: Mapping[str, bool]
    plain: Mapping[str, str]


def tabulate(study: Study, figures: Sequence[Figure]) -> Table:
    """Bring figures into the order of the study."""
    by_baseline: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.network != TRAINED:
            by_baseline.setdefault(figure.network, []).append(figure)
    of_trained = [figure for figure in figures if figure.network == TRAINED]
    first, *others = dict.fromkeys(tuple(cell.choices.values()) for cell in study.cells())
    columns = tuple(dict.fromkeys(figure.column for figure in of_trained))
    return Table(
        axes=tuple(study.axes),
        columns=columns,
        trained={
            choices: _by_column([figure for figure in of_trained if figure.choices == choices])
            for choices in (first, *others)
        },
        differences={
            choices: {
                column: Difference.of(_by_seed(of_trained, choices, column), _by_seed(of_trained, first, column))
                for column in columns
            }
            for choices in others
        },
        baselines={name: _of_all_cells(found) for name, found in by_baseline.items() if _agree(found)},
        apart={
            (name, *choices): _by_column([figure for figure in found if figure.choices == choices])
            for name, found in by_baseline.items()
            if not _agree(found)
            for choices in dict.fromkeys(figure.choices for figure in found)
        },
        directions={figure.column: figure.higher_is_better for figure in figures},
        plain={figure.column: figure.plain for figure in figures},
    )


def to_markdown(table: Table) -> str:
    """Mean ± standard deviation over the seeds, baselines below; then the differences, where there are several rows."""
    baselines = [[f"*{name}*", *cells] for name, *cells in baseline_rows(table)]
    figures = _markdown(table, [*trained_rows(table), *baselines])
    if not table.differences:
        return figures
    return f"{figures}\n\n{differences_in_words(table)}\n\n{_markdown(table, difference_rows(table))}"


def _markdown(table: Table, rows: Sequence[Sequence[str]]) -> str:
    heads = [*axes_of(table), *(f"{column} {'↑' if table.directions[column] else '↓'}" for column in table.columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def axes_of(table: Table) -> tuple[str, ...]:
    """The heads of the first columns, which say what a row is of."""
    return table.axes or ("network",)


def trained_rows(table: Table) -> list[list[str]]:
    """The cells of each combination of choices."""
    return [
        [*(choices or (TRAINED,)), *(str(found.get(column, "")) for column in table.columns)]
        for choices, found in table.trained.items()
    ]


def differences_in_words(table: Table) -> str:
    """What the second table shows."""
    first = ", ".join(next(iter(table.trained)))
    return f"Less {first}, seed by seed: mean ± standard error."


def difference_rows(table: Table) -> list[list[str]]:
    """The cells of each combination of choices but the first."""
    return [
        [*choices, *(str(found[column]) for column in table.columns)] for choices, found in table.differences.items()
    ]


def baseline_rows(table: Table) -> list[list[str]]:
    """The cells of each baseline, its name first."""
    blank = [""] * (len(axes_of(table)) - 1)
    return [
        [name, *blank, *(str(baseline_of(table, found, column) or "") for column in table.columns)]
        for name, found in table.baselines.items()
    ] + [
        [
            f"{name}: {choices[0]}",
            *choices[1:],
            *(str(baseline_of(table, found, column) or "") for column in table.columns),
        ]
        for (name, *choices), found in table.apart.items()
    ]


def baseline_of(table: Table, found: Mapping[str, Spread], column: str) -> Spread | None:
    """What a baseline has for a column: one of hand-made features is not parted into pooled and unpooled ones."""
    return found.get(column) or found.get(table.plain[column])


def to_csv(study: Study, figures: Sequence[Figure]) -> str:
    """A line for each figure, with its seed."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*study.axes, "seed", "network", "measured", "value", "higher_is_better"])
    for figure in figures:
        writer.writerow(
            [*figure.choices, figure.seed, figure.network, figure.column, figure.value, figure.higher_is_better]
        )
    return stream.getvalue()


def _by_seed(figures: Sequence[Figure], choices: tuple[str, ...], column: str) -> dict[int, float]:
    return {figure.seed: figure.value for figure in figures if (figure.choices, figure.column) == (choices, column)}


def _by_column(figures: Sequence[Figure]) -> dict[str, Spread]:
    columns = dict.fromkeys(figure.column for figure in figures)
    return {column: Spread.of(f.value for f in figures if f.column == column) for column in columns}


def _agree(figures: Sequence[Figure]) -> bool:
    """Whether all cells of a seed found the same of a baseline, but for what computing it again changes."""
    found: dict[tuple[str, int], list[float]] = {}
    for figure in figures:
        if not math.isnan(figure.value):
            found.setdefault((figure.column, figure.seed), []).append(figure.value)
    return all(math.isclose(min(values), max(values), rel_tol=1e-3, abs_tol=1e-4) for values in found.values())


def _of_all_cells(figures: Sequence[Figure]) -> dict[str, Spread]:
    """By column the spread over the seeds; of one seed the mean over the cells, which have measured the same again."""
    found: dict[str, dict[int, list[float]]] = {}
    for figure in figures:
        found.setdefault(figure.column, {}).setdefault(figure.seed, []).append(figure.value)
    return {
        column: Spread.of(Spread.of(values).mean for values in by_seed.values()) for column, by_seed in found.items()
    }
