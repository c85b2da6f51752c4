"""Which faces train, which are held out, and which have labels, so that nobody is on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from frl.errors import ConfigError
from frl.tasks.layouts.subjects import across_splits

Rows = NDArray[np.int64]

FOLDS = 5
ENOUGH = 1000
"""So many faces tell penalties apart on one fold; of fewer, every one is held out in turn."""


@dataclass(frozen=True)
class Labels:
    """How many faces of the training data have labels.

    Attributes:
        share: of all; None if ``count`` says it.
        count: or that many.
    """

    share: float | None = None
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``10%``, ``0.5%``, or a number of faces such as ``50``.

        Raises:
            ConfigError: it is neither.
        """
        remedy = "Use shares such as 1% 10% 100%, or numbers of faces such as 50."
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if not 0 < share <= 1:
                    raise ConfigError("--labels", f"{text} is no share above 0%, up to 100%", remedy)
                return cls(share=share)
            count = int(text)
        except ValueError:
            raise ConfigError("--labels", f"{text!r} is neither a share nor a number", remedy) from None
        if count < 2:
            raise ConfigError("--labels", f"{count} faces teach nothing", remedy)
        return cls(count=count)

    def of(self, total: int) -> int:
        """How many of ``total`` faces.

        Raises:
            ConfigError: fewer than 2, or more than there are.
        """
        count = self.count if self.share is None else round(self.share * total)
        assert count is not None
        if not 2 <= count <= total:
            cause = f"{self} of {total:,} training faces are {count:,}"
            raise ConfigError("--labels", cause, "Use a larger share, or no more faces than there are.")
        return count

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{100 * self.share:g}%"


def labelled(subjects: Rows, count: int, seed: int) -> Rows:
    """The faces that have labels: ``count`` or, so that the last subject is whole, a few more; ascending.

    Subjects are drawn in an order that the seed determines, so that of two counts the smaller's faces are among the
    larger's. A face of an unknown subject counts as one of its own.

    Args:
        subjects: ``(N,)`` of the training data, -1 where unknown.
        count: at most N.
        seed: of the order.
    """
    groups = groups_of(subjects)
    order = np.random.default_rng([seed, 11]).permutation(groups.max() + 1)
    sizes = np.bincount(groups)[order]
    taken = order[: np.searchsorted(np.cumsum(sizes), count) + 1]
    return np.flatnonzero(np.isin(groups, taken))


def folds(subjects: Rows, seed: int = 0) -> Iterator[tuple[Rows, Rows]]:
    """Faces to train on and faces to judge on, to choose a regulariser: by subject, where there are enough of them.

    Each of five parts is held out in turn, of a thousand faces or more one alone.

    Args:
        subjects: ``(N,)``, -1 where unknown; at least two faces.
        seed: of the parts.
    """
    groups = groups_of(subjects)
    if groups.max() == 0:
        groups = np.arange(len(subjects))  # one person alone: better than nothing
    parts = min(FOLDS, int(groups.max()) + 1)
    part = np.random.default_rng([seed, 13]).permutation(groups.max() + 1)[groups] % parts
    for held in range(1 if len(subjects) >= ENOUGH else parts):
        yield np.flatnonzero(part != held), np.flatnonzero(part == held)


def split_by_subject(subjects: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Faces to train on, and at least ``share`` of all to test on, no subject in both.

    Raises:
        ConfigError: there is one subject only.
    """
    groups = groups_of(subjects)
    if groups.max() == 0:
        cause = "its faces are of one subject, who would be in both splits"
        raise ConfigError("--data", cause, "Give --train and --test, or a file of several subjects.")
    test = labelled(subjects, max(1, round(share * len(subjects))), seed)
    train = np.setdiff1d(np.arange(len(subjects)), test)
    if not len(train):
        raise ConfigError("--test-share", "no subject is left to train on", "Use a smaller share.")
    return train, test


def cross_validation(subjects: Rows, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Faces to train on and faces to test on, ``count`` times: each face is tested on once, no subject is in both.

    Args:
        subjects: ``(N,)``, -1 where unknown.
        count: of the parts, which have as many faces as whole subjects allow.
        seed: of the parts.

    Raises:
        ConfigError: there are fewer subjects.
    """
    groups = groups_of(subjects)
    sizes = np.bincount(groups)
    if len(sizes) < count:
        cause = f"{count} parts of whole subjects cannot be made of {len(sizes):,}"
        raise ConfigError("--folds", cause, "Ask for fewer, or give --train and --test.")
    # Large subjects first, each to the part that is smallest so far; those of one size in the order of the seed.
    drawn = np.random.default_rng([seed, 17]).permutation(len(sizes))
    part, filled = np.empty(len(sizes), np.int64), np.zeros(count, np.int64)
    for group in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        part[group] = filled.argmin()
        filled[part[group]] += sizes[group]
    for held in range(count):
        yield np.flatnonzero(part[groups] != held), np.flatnonzero(part[groups] == held)


def groups_of(subjects: Rows) -> Rows:
    """Consecutive numbers ``(N,)`` of the subjects; every face of an unknown one has its own."""
    apart = np.where(subjects >= 0, subjects, -1 - np.arange(len(subjects)))
    return np.unique(apart, return_inverse=True)[1]


def namesakes(train: Sequence[str], test: Sequence[str]) -> str | None:
    """A remark on subjects of one name in two files that come from sources of different names; None if there are none.

    They may be the same people, whom a head would recognise, or others whom both sources number from 1.
    """
    first, second = ({across_splits(name).rpartition("/")[2] for name in names} for names in (train, test))
    if not (both := sorted(first & second)):
        return None
    return (
        f"{len(both):,} subjects have the same names in both files, such as {both[0]!r}, in sources that are called "
        "otherwise: if they are the same people, the figures say nothing of strangers; frl split divides one file"
    )


def require_no_shared_subject(train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse two files that show the same people, of whom a head would recognise the test's.

    Args:
        train: names of the subjects in training, as ``frl write`` gives them; the split of a benchmark in them counts
            for nothing.
        test: in the test.

    Raises:
        ConfigError: naming one.
    """
    if both := sorted(set(map(across_splits, train)) & set(map(across_splits, test))):
        cause = f"{len(both):,} subjects are in both files, such as {both[0]!r}"
        remedy = "Split by subject (frl split), or, if the benchmark is published so, say --shared-subjects."
        raise ConfigError("--test", cause, remedy)
