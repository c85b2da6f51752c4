"""Folds by subject: nobody is in the training and in the test part of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def fold_splits(folds: int) -> tuple[str, ...]:
    """``fold1-train``, ``fold1-test`` and so on, and ``all``."""
    return (*(f"fold{fold}-{part}" for fold in range(1, folds + 1) for part in ("train", "test")), "all")


class Folds:
    """Which subject is in which split.

    Args:
        tested: by fold, the subjects of its test part; those of all others train.
    """

    def __init__(self, tested: Sequence[frozenset[str]]) -> None:
        self._tested = tested

    @property
    def splits(self) -> tuple[str, ...]:
        """See ``fold_splits``."""
        return fold_splits(len(self._tested))

    def has(self, split: str, subject: str) -> bool:
        """Whether a subject belongs to a split; one of no fold belongs to ``all`` alone."""
        if split == "all":
            return True
        fold, _, part = split.removeprefix("fold").partition("-")
        others = frozenset[str]().union(*self._tested)
        return subject in others and (subject in self._tested[int(fold) - 1]) == (part == "test")

    def knows(self, subject: str) -> bool:
        """Whether any fold has a subject."""
        return any(subject in part for part in self._tested)


def numbered_folds(subjects: Sequence[str], folds: int) -> Folds:
    """Every subject in turn, in the order of their names, into one of ``folds``."""
    ordered = sorted(subjects)
    return Folds([frozenset(ordered[fold::folds]) for fold in range(folds)])


def named_sets(sets: Mapping[str, frozenset[str]], split: str, subject: str) -> bool:
    """Whether a subject is in a split that is a list of subjects."""
    return subject in sets.get(split, frozenset())
