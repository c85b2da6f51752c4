"""What a head learns on features that stay as they are, in closed form: ridge regression, or nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from frl.evaluate.ridge import PENALTIES, Ridge
from frl.evaluate.splits import Rows, folds
from frl.tasks.task import SupervisedTask, Truth

NEIGHBOURS = (1, 3, 10, 30, 100)
TEMPERATURE = 0.07
"""Of the weights of the neighbours' votes, as in ``frl.evaluate.knn``."""


class Chosen(NamedTuple):
    """A head that was chosen on held-out training data.

    Attributes:
        predictions: of the test faces, ``(M, K)`` float64.
        setting: what was chosen, in words.
        value: of the setting.
        at_the_end: whether it is the first or the last of those that were tried.
    """

    predictions: NDArray[np.float64]
    setting: str
    value: float
    at_the_end: bool


class Head(Protocol):
    """Predicts the faces' encoded targets from their features, after some of the training data."""

    def fit(self, rows: Rows, truth: Truth, test: Sequence[Tensor]) -> list[Chosen]:
        """Train on some of the training faces and predict others.

        Args:
            rows: of the training data.
            truth: of the whole training data.
            test: features ``(M, D)`` of others, such as the test's, and those of their mirror images.
        """
        ...


class RidgeHead:
    """A linear layer by ridge regression; its penalty is chosen by the task's headline on held-out subjects.

    Classes are regressed as ones and zeros. On the features of faces that were tried this was as good as logistic
    regression or better (docs/tasks.md), in a fraction of the time.

    Args:
        task: what is learned.
        features: ``(N, D)`` float32, of the training data.
        encoded: ``(N, K)``, what is to be predicted.
    """

    def __init__(self, task: SupervisedTask, features: Tensor, encoded: Tensor) -> None:
        self.task, self.ridge = task, Ridge(features, encoded)

    def fit(self, rows: Rows, truth: Truth, test: Sequence[Tensor]) -> list[Chosen]:
        device = self.ridge.features.device

        def tried(train: Rows, held: Rows) -> Iterator[Tensor]:
            return self.ridge.predictions(_tensor(train, device), _tensor(held, device), PENALTIES)

        best = choose(self.task, rows, truth, tried, len(PENALTIES))
        head = self.ridge.fit(_tensor(rows, device), PENALTIES[best])
        end = best in (0, len(PENALTIES) - 1)
        said = [head(features.to(device)).cpu().numpy() for features in test]
        return [Chosen(each, f"penalty {PENALTIES[best]:g}", PENALTIES[best], end) for each in said]


class NeighbourHead:
    """The mean of the nearest training faces by cosine similarity; their number is chosen as by `RidgeHead`.

    Args:
        task: what is learned.
        features: ``(N, D)`` float32, of the training data.
        encoded: ``(N, K)``, what is to be predicted.
    """

    def __init__(self, task: SupervisedTask, features: Tensor, encoded: Tensor) -> None:
        self.task, self.encoded = task, encoded.double().to(features.device)
        self.mean = features.mean(dim=0)
        self.vectors = self._unit(features)

    def _unit(self, features: Tensor) -> Tensor:
        return F.normalize(features - self.mean, dim=1)

    def fit(self, rows: Rows, truth: Truth, test: Sequence[Tensor]) -> list[Chosen]:
        device = self.vectors.device

        def tried(train: Rows, held: Rows) -> Iterator[Tensor]:
            there, asked = _tensor(train, device), self.vectors[_tensor(held, device)]
            return (self._say(there, asked, count) for count in NEIGHBOURS)

        best = choose(self.task, rows, truth, tried, len(NEIGHBOURS))
        count, there = NEIGHBOURS[best], _tensor(rows, device)
        said = [self._say(there, self._unit(features.to(device)), count).cpu().numpy() for features in test]
        end = best in (0, len(NEIGHBOURS) - 1)
        return [Chosen(each, f"{min(count, len(rows))} neighbours", count, end) for each in said]

    def _say(self, rows: Tensor, asked: Tensor, count: int) -> Tensor:
        """The weighted mean of the known numbers of the ``count`` nearest of some faces, ``(len(asked), K)``."""
        said = []
        for part in asked.split(1024):
            cosine, nearest = (part @ self.vectors[rows].T).topk(min(count, len(rows)), dim=1)
            weight = torch.exp((cosine - cosine[:, :1]).double() / TEMPERATURE)[..., None]
            numbers = self.encoded[rows[nearest]]  # (B, count, K)
            known = ~numbers.isnan()
            total = (weight * known).sum(dim=1)
            mean = (weight * numbers.nan_to_num()).sum(dim=1) / total
            # Where no neighbour is known, as all faces together say.
            said.append(torch.where(total > 0, mean, self.encoded[rows].nanmean(dim=0)))
        return torch.cat(said)


HEADS: dict[str, Callable[[SupervisedTask, Tensor, Tensor], Head]] = {"frozen": RidgeHead, "knn": NeighbourHead}
"""By the name on the command line."""


def choose(
    task: SupervisedTask, rows: Rows, truth: Truth, tried: Callable[[Rows, Rows], Iterator[Tensor]], count: int
) -> int:
    """Which of ``count`` settings has the best headline on held-out faces of the training data; the first of equals.

    Args:
        task: judges.
        rows: the training faces that have labels.
        truth: of the whole training data.
        tried: for faces to train on and others to judge on, the predictions of each setting.
        count: of the settings.
    """
    predictions: list[list[NDArray[np.float64]]] = [[] for _ in range(count)]
    judged = []
    for train, held in folds(truth.subjects[rows]):
        judged.append(rows[held])
        for said, one in zip(predictions, tried(rows[train], rows[held]), strict=True):
            said.append(one.cpu().numpy())
    there = truth.rows(np.concatenate(judged))
    scores = [task.score(np.concatenate(said), there)[task.headline] for said in predictions]
    values = np.array([score.value if score.higher_is_better else -score.value for score in scores])
    # A figure that is not defined, as a correlation of what never varies, is the worst.
    return int(np.where(np.isfinite(values), values, -np.inf).argmax())


def _tensor(rows: Rows, device: torch.device) -> Tensor:
    return torch.from_numpy(rows).to(device)
