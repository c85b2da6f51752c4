"""What a ``.beton`` knows of its faces, as tasks take it; and whether a task can be learned from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frl.beton import Beton
from frl.beton.samples import identity_name
from frl.errors import ConfigError
from frl.evaluate.splits import Rows
from frl.tasks.classes import Classes
from frl.tasks.task import SupervisedTask, Truth


def read_truth(beton: Beton) -> Truth:
    """All targets of all faces of an open file. No image is read."""
    rows = np.arange(len(beton))
    return Truth(
        values={spec.name: beton.target(spec.name, rows) for spec in beton.targets},
        specs={spec.name: spec for spec in beton.targets},
        subjects=beton.labels.astype(np.int64),
        sides=np.stack([beton.widths, beton.heights], axis=1).astype(np.float64),
    )


def names_of_subjects(beton: Beton) -> list[str]:
    """Who is in an open file; nobody where its writer left no names, for numbers mean nothing in another file."""
    if beton.manifest is None or beton.manifest.identities is None:
        return []
    return [identity_name(beton, int(label)) or "" for label in np.unique(beton.labels[beton.labels >= 0])]


def encode(task: SupervisedTask, truth: Truth) -> Tensor:
    """What a head is to say of each face, ``(N, K)`` float32, NaN where unknown."""
    targets = {name: torch.from_numpy(np.ascontiguousarray(truth.values[name])) for name in task.fields}
    return task.encode(targets, torch.from_numpy(truth.sides))


def known_rows(task: SupervisedTask, truth: Truth, what: str) -> Rows:
    """The faces of which any number of the task is known.

    Args:
        task: says what it needs.
        truth: of a file.
        what: which file, for the error.

    Raises:
        ConfigError: fewer than two are left.
    """
    rows = np.flatnonzero((~encode(task, truth).isnan()).any(dim=1).numpy())
    if len(rows) < 2:
        cause = f"of its {len(truth):,} faces, {len(rows)} have a known {' and '.join(task.fields)}"
        raise ConfigError(what, cause, "Use a file in which more is known (frl info says what is).")
    return rows


def require_every_class(task: SupervisedTask, train: Truth, test: Truth) -> None:
    """Refuse a class that is tested and has no face to learn it from.

    Raises:
        ConfigError: naming the classes.
    """
    if not isinstance(task, Classes):
        return
    learned, asked = (set(truth.values[task.field].tolist()) - {-1} for truth in (train, test))
    if missing := sorted(asked - learned):
        names = ", ".join(task.classes[index] if index < len(task.classes) else str(index) for index in missing)
        cause = f"has no face of {names}, of which there are in the test"
        raise ConfigError("the training data", cause, "Give training data with every class.")


def require_numbers_that_vary(task: SupervisedTask, train: Truth) -> None:
    """Refuse training data in which all faces are alike: there is nothing to learn.

    Raises:
        ConfigError: so it is.
    """
    encoded = encode(task, train)
    spread = encoded.nan_to_num(-torch.inf).amax(0) - encoded.nan_to_num(torch.inf).amin(0)
    if not (spread > 0).any():
        cause = f"has the same {' and '.join(task.fields)} in all of its {len(train):,} faces"
        raise ConfigError("the training data", cause, "Give training data that differ.")
