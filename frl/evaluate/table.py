"""Results as people read them, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from frl.evaluate.few_labels import Trial, spread


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network with one number of labels.

    Attributes:
        network: what was judged.
        features: which of its features, such as ``pooled``; or how it was trained.
        labels: how many of the training data had labels, as it was asked for.
        trials: one for each seed, of each fold.
    """

    network: str
    features: str
    labels: str
    trials: Sequence[Trial]

    @property
    def faces(self) -> int:
        """The faces that had labels, the mean over the trials."""
        return round(sum(trial.faces for trial in self.trials) / len(self.trials))

    def to_json(self) -> dict[str, Any]:
        """Everything that is known of it, of what JSON knows; what is not defined is null."""
        names = self.trials[0].scores
        found = {
            "network": self.network,
            "features": self.features,
            "labels": self.labels,
            "faces": self.faces,
            "scores": {
                name: {**asdict(spread(self.trials, name)), "higher_is_better": score.higher_is_better}
                for name, score in names.items()
            },
            "trials": [
                {
                    "seed": trial.seed,
                    **({} if trial.fold is None else {"fold": trial.fold}),
                    "faces": trial.faces,
                    "setting": trial.setting,
                    "scores": {name: score.value for name, score in trial.scores.items()},
                    "details": dict(trial.details),
                }
                for trial in self.trials
            ],
        }
        return defined(found)


def joined(folds: Sequence[Sequence[Row]]) -> list[Row]:
    """The same rows of several folds as one each, whose trials know the fold; of one alone, as they are."""
    if len(folds) == 1:
        return list(folds[0])
    return [
        replace(
            rows[0],
            trials=[replace(trial, fold=fold) for fold, row in enumerate(rows) for trial in row.trials],
        )
        for rows in zip(*folds, strict=True)
    ]


def defined(content: Any) -> Any:
    """The same with None in the place of NaN, which JSON does not know."""
    if isinstance(content, Mapping):
        return {key: defined(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [defined(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def scores_table(rows: Sequence[Row]) -> str:
    """A line for each row, with the scores of everything."""
    names = [name for name in rows[0].trials[0].scores if "/" not in name]
    return _table(rows, names, names)


def parts_table(rows: Sequence[Row], headline: str) -> str:
    """A line for each row, with the headline of each part; empty where there are no parts."""
    prefix = f"{headline}/"
    names = [name for name in rows[0].trials[0].scores if name.startswith(prefix)]
    return _table(rows, names, [name.removeprefix(prefix) for name in names]) if names else ""


def _table(rows: Sequence[Row], names: Sequence[str], titles: Sequence[str]) -> str:
    head = ["network", "features", "labels", "faces", *titles]
    lines = [
        [row.network, row.features, row.labels, f"{row.faces:,}", *(spread(row.trials, name).text for name in names)]
        for row in rows
    ]
    return aligned([head, *lines], left=2)


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Lines of cells in columns, the first ``left`` of them flush left, the others flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
