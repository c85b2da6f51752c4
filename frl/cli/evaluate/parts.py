"""The two sides of an evaluation: the faces that a head learns from, and those that it is judged on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from frl.beton import Beton
from frl.config.check import require
from frl.evaluate.splits import Rows, cross_validation, namesakes, require_no_shared_subject, split_by_subject
from frl.evaluate.truths import (
    known_rows,
    names_of_subjects,
    read_truth,
    require_every_class,
    require_numbers_that_vary,
)
from frl.printable import printable
from frl.tasks.registry import task_of
from frl.tasks.task import SupervisedTask, Truth, require_same_target


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some faces of a file.

    Attributes:
        path: the file.
        content: the hash of what it holds.
        faces: how many it holds.
        rows: which of them.
        truth: what is known of these.
        sources: where the file came from: as each source was given to its writer, by name.
        names: of the people in the file; empty where it does not say.
        unknown: faces that were left out because nothing is known of them.
    """

    path: Path
    content: str
    faces: int
    rows: Rows
    truth: Truth
    sources: dict[str, str]
    names: tuple[str, ...]
    unknown: int = 0

    @classmethod
    def of(cls, path: Path) -> Part:
        """All faces of a file. No image is read.

        Raises:
            BetonError: the file is missing or broken.
        """
        with Beton(path) as beton:
            truth, names = read_truth(beton), tuple(names_of_subjects(beton))
            manifest, faces, content = beton.manifest, len(beton), beton.fingerprint
        sources: Any = {} if manifest is None else manifest.settings.get("sources", {})
        return cls(
            path=path,
            content=content if manifest is None or manifest.content_sha256 is None else manifest.content_sha256,
            faces=faces,
            rows=np.arange(faces),
            truth=truth,
            sources=sources if isinstance(sources, dict) else {},
            names=names,
        )

    def kept(self, wanted: Rows) -> Part:
        """Some of these faces, by their place among them."""
        return replace(self, rows=self.rows[wanted], truth=self.truth.rows(wanted))

    def first(self, limit: int | None) -> Part:
        """Those among the first ``limit`` of the file; None: all."""
        return self if limit is None else self.kept(np.flatnonzero(self.rows < limit))

    def known(self, task: SupervisedTask) -> Part:
        """Those of which the task knows anything; raises like ``known_rows``."""
        rows = known_rows(task, self.truth, str(self.path))
        return replace(self.kept(rows), unknown=len(self.rows) - len(rows))

    @property
    def subjects(self) -> int:
        """Different people among them, as far as they are known."""
        return len(np.unique(self.truth.subjects[self.truth.subjects >= 0]))

    def to_json(self) -> dict[str, Any]:
        """What it is, for results."""
        return {
            "file": str(self.path),
            "content": self.content,
            "faces": len(self.rows),
            "unknown": self.unknown,
            "subjects": self.subjects,
        }

    def __str__(self) -> str:
        people = f" of {self.subjects:,} subjects" if self.subjects else ", subjects unknown"
        left_out = f" (left out: {self.unknown:,} of which nothing is known)" if self.unknown else ""
        return f"{len(self.rows):,} faces{people}, of {self.path}{left_out}"


def two_files(train: Path, test: Path, *, shared_subjects: bool, limit: int | None = None) -> tuple[Part, Part]:
    """The faces of two files, of each the first ``limit``.

    Args:
        train: to learn from.
        test: to be judged on.
        shared_subjects: whether somebody may be in both.
        limit: None: all.

    Raises:
        BetonError: a file is missing or broken.
        ConfigError: somebody is in both, or they hold the same.
    """
    first, second = Part.of(train), Part.of(test)
    if not shared_subjects:
        require_no_shared_subject(first.names, second.names)
        remedy = "Name another, or --data FILE, which is split."
        require(first.content != second.content, "test", f"{test} holds the very faces of {train}", remedy)
        if remark := namesakes(first.names, second.names):
            print(printable(f"note: {remark}"), file=sys.stderr)
    return first.first(limit), second.first(limit)


def asked(name: str, train: Part, test: Part, **options: Any) -> tuple[Part, Part, SupervisedTask]:
    """A task and the faces of both sides of which it knows anything.

    Args:
        name: as ``task_of`` knows it.
        train: to learn from.
        test: to be judged on.
        options: of the task.

    Raises:
        ConfigError: whatever makes the sides unfit for the task or for each other.
    """
    task = task_of(name, train.truth, **options)
    require_same_target(train.truth, test.truth, task.fields)
    require_every_class(task, train.truth, test.truth)
    train, test = train.known(task), test.known(task)
    require_numbers_that_vary(task, train.truth)
    return train, test, task


def one_file(data: Path, share: float, seed: int, limit: int | None = None) -> tuple[Part, Part]:
    """The faces of one file, the first ``limit`` of them, split by subject, or by face where nobody is known.

    Raises:
        BetonError: the file is missing or broken.
        ConfigError: it cannot be split.
    """
    whole = Part.of(data).first(limit)
    train, test = split_by_subject(whole.truth.subjects, share, seed)
    return whole.kept(train), whole.kept(test)


def in_folds(data: Path, count: int, seed: int, limit: int | None = None) -> list[tuple[Part, Part]]:
    """The faces of one file, the first ``limit`` of them, divided ``count`` times, so that each is judged on once.

    Raises:
        BetonError: the file is missing or broken.
        ConfigError: it cannot be divided.
    """
    whole = Part.of(data).first(limit)
    divided = cross_validation(whole.truth.subjects, count, seed)
    return [(whole.kept(train), whole.kept(test)) for train, test in divided]
