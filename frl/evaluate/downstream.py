"""A task on frozen features: with all labels and with few, beside the constant that must be beaten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frl.evaluate.few_labels import Answer, Answering, trials
from frl.evaluate.frozen import HEADS, Head
from frl.evaluate.splits import Labels, Rows
from frl.evaluate.table import Row
from frl.evaluate.truths import encode
from frl.tasks.task import SupervisedTask, Truth

CONSTANT = "constant"
"""What the table calls the best prediction that does not look."""


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """Features of a network, of the faces of both splits.

    Attributes:
        train: ``(N, D)`` float32.
        test: ``(M, D)`` float32.
        mirrored: those of the mirrored test images; None: predictions are of the images alone.
    """

    train: Tensor
    test: Tensor
    mirrored: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A task on two splits, with so many labels, and so often.

    Attributes:
        task: what is learned.
        train: what is known of the training data, ``N`` faces.
        test: what is known of the test's, ``M`` faces.
        labels: how many of the training data have labels.
        seeds: of the draws.
    """

    task: SupervisedTask
    train: Truth
    test: Truth
    labels: Sequence[Labels]
    seeds: Sequence[int]

    def frozen(self, network: str, features: Mapping[str, FrozenFeatures], how: str = "frozen") -> list[Row]:
        """A row for each kind of a network's features and each number of labels.

        Args:
            network: what the table calls it.
            features: by what the table calls them, such as ``pooled``.
            how: one of ``frl.evaluate.frozen.HEADS``.
        """
        rows = []
        for kind, found in features.items():
            answer = self.answering(found, how)
            rows += [self.row(network, kind, labels, answer) for labels in self.labels]
        return rows

    def answering(self, features: FrozenFeatures, how: str = "frozen") -> Answering:
        """What a head on a network's features says; ``how`` as above."""
        head = HEADS[how](self.task, features.train, encode(self.task, self.train))
        asked = [features.test] if features.mirrored is None else [features.test, features.mirrored]
        return self._answering(head, asked)

    def constant(self) -> Row:
        """The best prediction that does not look at the images, after all of the training data."""
        encoded = encode(self.task, self.train).numpy()

        def answer(rows: Rows, seed: int) -> Answer:
            said = self.task.constant(encoded[rows])
            return Answer(np.broadcast_to(said, (len(self.test), len(said))), "")

        return self.row(CONSTANT, "", Labels(share=1.0), answer)

    def _answering(self, head: Head, asked: Sequence[Tensor]) -> Answering:
        """Predictions after some of the labels: of the images, or the mean with, mirrored back, their mirror images."""

        def answer(rows: Rows, seed: int) -> Answer:
            plain, *mirrored = head.fit(rows, self.train, asked)
            said = plain.predictions
            for other in mirrored:
                said = (said + self.task.mirror(torch.from_numpy(other.predictions)).numpy()) / 2
            return Answer(said, plain.setting)

        return answer

    def row(self, network: str, features: str, labels: Labels, answer: Answering) -> Row:
        """One network with a number of labels, judged."""
        found = tuple(trials(self.task, answer, self.train, self.test, labels, self.seeds))
        return Row(network=network, features=features, labels=str(labels), trials=found)
