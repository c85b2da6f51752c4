"""What ``frl report`` shows of downstream tasks: the figures of ``frl evaluate``, with faces."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.beton import Beton
from frl.cli.evaluate.extraction import Extraction
from frl.cli.evaluate.parts import Part
from frl.cli.evaluate.supervised import AnyTarget
from frl.config import AugmentConfig, EngineName, ProbeConfig
from frl.evaluate.downstream import Examination
from frl.evaluate.few_labels import Answer
from frl.evaluate.images import decoded
from frl.evaluate.splits import Labels, Rows
from frl.evaluate.table import Row
from frl.evaluate.truths import encode
from frl.report.judged import Face, Judged
from frl.tasks.registry import Classes, Numbers, Points, SupervisedTask

FACES = 12  # that are shown of a test


class Trained(NamedTuple):
    """A network that the report is about.

    Attributes:
        name: what the table calls it.
        weights: of the network.
        size: side of the images that it is shown.
        augment: its mean and standard deviation normalise them.
        engine: what decodes them.
    """

    name: str
    weights: Path
    size: int
    augment: AugmentConfig
    engine: EngineName


def judged_tasks(asked: ProbeConfig, trained: Sequence[Trained]) -> list[Judged]:
    """Every task on every network, beside the baselines of the first one, as ``frl evaluate --how frozen`` judges them.

    Raises:
        FrlError: whatever is wrong with the weights, the files or the tasks.
    """
    with tempfile.TemporaryDirectory(prefix="frl-report-") as folder:  # features are computed once for all tasks
        return [_judged(task, asked, trained, Path(folder)) for task in asked.tasks]


def _judged(name: str, asked: ProbeConfig, trained: Sequence[Trained], cache: Path) -> Judged:
    own: list[Row] = []
    rivals: list[Row] = []
    answers: list[Answer] = []
    for each in trained:
        options = _options(name, asked, each, cache, baselines=each is trained[0])
        options.check()
        train, test, task = options.opened()
        examination = Examination(
            task=task, train=train.truth, test=test.truth, labels=[Labels(share=1.0)], seeds=[asked.seed]
        )
        extract = Extraction(options)
        for index, (called, network) in enumerate(options.networks().items()):
            is_own = index == 0  # the weights come before their baselines
            label = f"{each.name} ({called.rpartition('(')[2]}" if is_own else called
            for kind, features in extract(network).of(train, test).items():
                answer = examination.answering(features)(np.arange(len(train.truth)), asked.seed)
                row = examination.row(label, kind, examination.labels[0], partial(_known, answer))
                (own if is_own else rivals).append(row)
                if is_own:
                    answers.append(answer)
    rows = [*own, *rivals, examination.constant()]
    # Points are read off the map; for the rest, what a network gives is what it is asked for.
    wanted = "unpooled" if isinstance(task, Points) else "pooled"
    shown = next((index for index, row in enumerate(own) if row.features == wanted), 0)
    return Judged(
        task=task.name,
        headline=task.headline,
        sides=f"trained on {_in_words(train)}; judged on {_in_words(test)}",
        rows=rows,
        own=len(own),
        shown=shown,
        faces=faces_of(task, answers[shown].predictions, test),
    )


def _in_words(part: Part) -> str:
    """The faces of a side, and their file by its name alone: pages travel."""
    return str(replace(part, path=Path(part.path.name)))


def _known(answer: Answer, rows: Rows, seed: int) -> Answer:
    """The answer, which was computed already."""
    return answer


def _options(name: str, asked: ProbeConfig, trained: Trained, cache: Path, *, baselines: bool) -> AnyTarget:
    """The task as ``frl evaluate`` takes it."""
    # The share is of one file, and what is shared of two: those of a run's probe may not be those that are given here.
    sides: dict[str, Any] = (
        {"train": asked.train, "test": asked.test, "shared_subjects": asked.shared_subjects}
        if asked.data is None
        else {"data": asked.data, "test_share": asked.test_share}
    )
    return AnyTarget(
        target=name,
        weights=trained.weights,
        **sides,
        seed=asked.seed,
        limit=asked.limit,
        features=asked.features,
        stage=asked.stage,
        size=trained.size,
        mean=trained.augment.mean,
        std=trained.augment.std,
        engine=trained.engine,
        baselines=baselines,
        cache=cache,
    )


def faces_of(task: SupervisedTask, predicted: NDArray[np.float64], test: Part, count: int = FACES) -> list[Face]:
    """A few faces of a test with what was said of them: by their errors, or evenly spread.

    Args:
        task: what was learned.
        predicted: ``(M, K)`` of the faces of the test.
        test: these faces.
        count: faces at most.
    """
    truth = test.truth
    order = np.arange(len(truth))
    said = true = None
    if isinstance(task, Points):
        errors = task.errors(predicted, truth)
        order = np.argsort(errors)[: int(np.isfinite(errors).sum())]
        said = task.decode(predicted, truth.sides)[..., :2]
        true = truth.values[task.field].astype(np.float64)[..., :2]
        words = [f"error {error:.2%}" for error in errors]
    elif isinstance(task, Classes):
        known = truth.values[task.field].astype(int)
        named = np.asarray(predicted).argmax(axis=1)
        order = order[known >= 0]
        words = [_class_in_words(task.classes, *pair) for pair in zip(named.tolist(), known.tolist(), strict=True)]
    elif isinstance(task, Numbers):
        pairs = zip(task.decode(predicted), task.decode(encode(task, truth).numpy()), strict=True)
        words = [
            ", ".join(f"{name} {x:.2f} (true: {y:.2f})" for name, x, y in zip(task.entries, *pair, strict=True))
            for pair in pairs
        ]
    else:
        return []
    if not len(order):
        return []
    picked = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    with Beton(test.path) as beton:
        return [
            Face(
                image=_image(beton, int(test.rows[index])),
                words=words[index],
                said=None if said is None else said[index],
                true=None if true is None else true[index],
            )
            for index in picked
        ]


def _class_in_words(classes: Sequence[str], said: int, true: int) -> str:
    return classes[said] if said == true else f"{classes[said]} (true: {classes[true]})"


def _image(beton: Beton, sample: int) -> NDArray[np.uint8]:
    """A sample's picture, ``(H, W, 3)`` uint8."""
    encoded = beton.encoded(sample)
    if beton.modes[sample]:  # raw pixels
        return encoded.reshape(int(beton.heights[sample]), int(beton.widths[sample]), 3)
    return np.asarray(decoded(encoded.tobytes()))
