"""What a downstream task is: something to say of an image, and how to judge what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton.mirror import exchanged_entries
from frl.beton.targets import TargetSpec, describe
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure that a task gives.

    Attributes:
        value: of the metric; NaN where it is not defined, as a correlation with what never varies.
        higher_is_better: the direction of the metric.
        text: how people read it, with its spread where it has one.
        pattern: how a bare number of this kind is written.
    """

    value: float
    higher_is_better: bool
    text: str
    pattern: str = "{:.4f}"

    def say(self, value: float) -> str:
        """Another figure of this kind, such as a mean of several, as people read it."""
        return self.pattern.format(value)


class Task(Protocol):
    """Judges features of images that it names itself; whoever has a network computes them.

    Attributes:
        name: on the command line and in tables.
        names: of the images whose features are wanted, each once.
    """

    @property
    def name(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    def read(self, row: int) -> bytes:
        """The encoded image of a row of ``names``."""
        ...

    def score(self, features: np.ndarray) -> Mapping[str, Score]:
        """What features ``(N, D)``, one row for each of ``names``, are worth; the first score is the task's own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is known of N faces, as a ``.beton`` stores it.

    Attributes:
        values: the targets by name, each ``(N, *shape)``.
        specs: what they mean, by name.
        subjects: ``(N,)`` int64, whose face it is; -1 where unknown.
        sides: ``(N, 2)`` float64, width and height of the stored image in pixels.
    """

    values: Mapping[str, NDArray[Any]]
    specs: Mapping[str, TargetSpec]
    subjects: NDArray[np.int64]
    sides: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.subjects)

    def rows(self, wanted: NDArray[Any]) -> Truth:
        """The same of some faces, by their indices or a mask."""
        return Truth(
            values={name: values[wanted] for name, values in self.values.items()},
            specs=self.specs,
            subjects=self.subjects[wanted],
            sides=self.sides[wanted],
        )


class SupervisedTask(Protocol):
    """Something that a head on a network is to say of a face, K numbers, and how to judge it.

    A head's numbers have about the size of 1 and do not depend on the size of the image: they are *encoded*.

    Attributes:
        name: on the command line and in tables.
        fields: the targets without which it cannot run.
        headline: the score by which regularisers, epochs and the like are chosen.
        outputs: K, the numbers that a head gives for a face.
        bounded: whether they lie in [-1, 1], so that a head may end in a hyperbolic tangent.
    """

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def headline(self) -> str: ...

    @property
    def outputs(self) -> int: ...

    @property
    def bounded(self) -> bool: ...

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec]) -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: if one is missing or is not of the kind that the task needs.
        """
        ...

    def encode(self, targets: Mapping[str, torch.Tensor], sides: torch.Tensor) -> torch.Tensor:
        """What a head is to say: ``(B, K)`` float32, NaN where unknown.

        Args:
            targets: as a batch has them, each ``(B, *shape)``; points in pixels of the stored image.
            sides: ``(B, 2)``, width and height of the stored image in pixels.
        """
        ...

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """What to minimise: a scalar, the mean over all that is known; 0 where nothing is.

        Args:
            predicted: ``(B, K)``, of a head.
            encoded: ``(B, K)``, as ``encode`` gives it.
        """
        ...

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """What predictions ``(N, K)`` are worth, the headline first.

        A score of a part, as of one angle or of one subset of the benchmark, is called ``SCORE/PART``. Which scores
        there are depends on the truth alone; one that a prediction does not define is NaN.
        """
        ...

    def details(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Any]:
        """What a report draws beside the scores, such as a curve or a confusion matrix: numbers, texts, lists."""
        ...

    def constant(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """The best prediction ``(K,)`` for every face alike, after ``(N, K)`` of training: what must be beaten."""
        ...

    def mirror(self, predicted: torch.Tensor) -> torch.Tensor:
        """What a head that says ``(B, K)`` of some images should say of their mirror images; its own inverse."""
        ...


def require_target(specs: Mapping[str, TargetSpec], name: str, task: str, wanted: str, fits: bool = True) -> TargetSpec:
    """The target of this name, of which ``fits`` holds.

    Args:
        specs: of the file.
        name: the target's.
        task: which task asks for it.
        wanted: what it must be, in words, such as "points (68, 3)".
        fits: whether it is that; looked at only where there is such a target.

    Raises:
        ConfigError: there is none, or it is another thing.
    """
    if name not in specs:
        there = ", ".join(specs) or "none"
        cause = f"needs the target {name!r} ({wanted}), which the file lacks (its targets: {there})"
        remedy = f"Write the .beton from a source with {name} (docs/sources.md), or choose another task."
        raise ConfigError(f"the task {task}", cause, remedy)
    if not fits:
        cause = f"needs {name!r} to be {wanted}; in the file it is {describe(specs[name])}"
        raise ConfigError(f"the task {task}", cause, "Write the .beton with that target, or choose another task.")
    return specs[name]


def require_same_target(train: Truth, test: Truth, fields: Sequence[str]) -> None:
    """Refuse two files in which a target means two things.

    Raises:
        ConfigError: naming the target.
    """
    for name in fields:
        first, second = train.specs[name], test.specs.get(name)
        if second != first:
            cause = f"is {describe(first)} in the training file and {describe(second) if second else 'not'} in the test"
            raise ConfigError(f"the target {name!r}", cause, "Write both files from the same kind of source.")


def require_sides(field: str, entries: Sequence[str]) -> tuple[int, ...]:
    """For each entry of a target the one that takes its place in a mirror.

    Raises:
        ConfigError: nobody knows; see ``exchanged_entries``.
    """
    places = exchanged_entries(field, entries)
    if places is None:
        cause = f"says a side whose counterpart it lacks ({', '.join(entries[:8])}): nobody knows what a mirror shows"
        raise ConfigError(f"the target {field!r}", cause, "Write it with names for both sides, or leave out --flip.")
    return places
