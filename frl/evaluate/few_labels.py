"""A head with all labels, and with few: nested parts of the training data, several of each size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.evaluate.splits import Labels, Rows, labelled
from frl.tasks.scores import MISSING
from frl.tasks.task import Score, SupervisedTask, Truth


class Answer(NamedTuple):
    """What was predicted of the test faces, and how.

    Attributes:
        predictions: ``(M, K)``.
        setting: what was chosen on held-out training data, in words.
    """

    predictions: NDArray[Any]
    setting: str


Answering = Callable[[Rows, int], Answer]
"""Trains on some rows of the training data, with a seed, and predicts all test faces."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One head, judged.

    Attributes:
        seed: drew the faces that had labels.
        faces: how many these were.
        setting: what was chosen on held-out training data, in words.
        scores: by name, the headline first.
        details: see ``SupervisedTask.details``.
        fold: the part of the data that it was judged on, of several that are in turn; None: there is one.
    """

    seed: int
    faces: int
    setting: str
    scores: Mapping[str, Score]
    details: Mapping[str, Any]
    fold: int | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A score over the trials.

    Attributes:
        mean: of the trials of which it is defined; NaN if of none.
        deviation: their sample standard deviation; NaN of one.
        error: the standard error of the mean; NaN of one.
        trials: how many they are.
        text: the mean as people read it, with the deviation where there is one, and of how many trials it is where that
            is not all.
    """

    mean: float
    deviation: float
    error: float
    trials: int
    text: str


def trials(
    task: SupervisedTask,
    answer: Answering,
    train: Truth,
    test: Truth,
    labels: Labels,
    seeds: Sequence[int],
    *,
    random: bool = False,
) -> Iterator[Trial]:
    """Judge heads that had a part of the labels, one for each seed.

    Args:
        task: what is learned.
        answer: what is judged.
        train: what is known of the training data.
        test: what is known of the test faces.
        labels: how many faces of the training data have labels.
        seeds: of the draws.
        random: whether ``answer`` depends on the seed by itself; if not, all labels need one trial only.
    """
    count = labels.of(len(train))
    for seed in seeds if count < len(train) or random else seeds[:1]:
        rows = labelled(train.subjects, count, seed)
        found = answer(rows, seed)
        yield Trial(
            seed=seed,
            faces=len(rows),
            setting=found.setting,
            scores=task.score(found.predictions, test),
            details=task.details(found.predictions, test),
        )


def spread(trials: Sequence[Trial], name: str) -> Spread:
    """A score over some trials; one that is defined in none of them, or that they lack, is n/a."""
    scores = [trial.scores[name] for trial in trials if name in trial.scores]
    defined = [score for score in scores if np.isfinite(score.value)]
    values = np.array([score.value for score in defined])
    if not defined:
        return Spread(mean=np.nan, deviation=np.nan, error=np.nan, trials=0, text=MISSING)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    text = defined[0].text
    if len(values) > 1:
        text = f"{defined[0].say(float(values.mean()))} +- {defined[0].say(deviation)}"
    if len(values) < len(trials):
        text += f" ({len(values)} of {len(trials)})"
    return Spread(
        mean=float(values.mean()),
        deviation=deviation,
        error=deviation / np.sqrt(len(values)),
        trials=len(values),
        text=text,
    )
