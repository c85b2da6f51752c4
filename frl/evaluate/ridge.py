"""Ridge regression in closed form, for many targets of which some may be unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PENALTIES = tuple(10.0**k for k in range(-6, 2))
"""What is tried, as shares of the mean squared length of a centred feature."""

ROWS_AT_ONCE = 4096
"""Of features that are turned into double precision together."""


@dataclass(frozen=True)
class Linear:
    """``features @ weight + bias``.

    Attributes:
        weight: ``(D, K)`` float64.
        bias: ``(K,)`` float64.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features ``(N, D)`` to ``(N, K)`` float64."""
        return features.double() @ self.weight + self.bias


class Ridge:
    """Least squares with a penalty on the weights (Hoerl and Kennard, 1970), solved exactly.

    The products of all features are computed once, between features or between faces, whichever are fewer; every fit,
    with any penalty and on any faces, is then one Cholesky factor.

    Args:
        features: ``(N, D)`` float32.
        targets: ``(N, K)``, NaN where unknown. Unknown numbers are left out, each column for itself.
    """

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self.features, self.targets = features, targets.double().to(features.device)
        self.known = ~self.targets.isnan()
        self.mean = features.mean(dim=0, dtype=torch.float64)
        self.between_faces = len(features) <= features.shape[1]
        self.products = self._products_of_faces() if self.between_faces else self._products_of_features(slice(None))
        # Of a network that collapsed to a point there is nothing to penalise: any unit gives the mean of the targets.
        self.unit = float(self.products.diagonal().sum()) / len(features) or 1.0

    def _centred(self, rows: Tensor | slice) -> Tensor:
        return self.features[rows].double() - self.mean

    def _products_of_faces(self) -> Tensor:
        centred = self._centred(slice(None))
        return centred @ centred.T

    def _products_of_features(self, rows: Tensor | slice) -> Tensor:
        width = self.features.shape[1]
        total = torch.zeros(width, width, dtype=torch.float64, device=self.features.device)
        wanted = torch.arange(len(self.features), device=self.features.device)[rows]
        for part in wanted.split(ROWS_AT_ONCE):
            centred = self._centred(part)
            total += centred.T @ centred
        return total

    def predictions(self, train: Tensor, test: Tensor, penalties: Sequence[float]) -> Iterator[Tensor]:
        """For each penalty what fits to some of the faces say of others, ``(len(test), K)``.

        Args:
            train: indices.
            test: indices of others.
            penalties: see `PENALTIES`.
        """
        found = [torch.full((len(test), self.targets.shape[1]), torch.nan).to(self.targets) for _ in penalties]
        for rows, columns in self._groups(train):
            mean = self.targets[rows][:, columns].mean(dim=0)
            residual = self.targets[rows][:, columns] - mean
            if self.between_faces:
                own, other = self.products[rows][:, rows], self.products[test][:, rows]
                near = own.mean(dim=0)  # products with the mean of these faces' features
                matrix = own - near - near[:, None] + near.mean()
                left, right = other - other.mean(dim=1, keepdim=True) - near + near.mean(), residual
            else:
                centre = self._centred(rows).mean(dim=0)
                matrix, left = self._matrix(rows, centre), self._centred(test) - centre
                right = self._centred(rows).T @ residual
            for said, penalty in zip(found, penalties, strict=True):
                said[:, columns] = left @ self._solve(matrix, right, penalty * len(rows)) + mean
        yield from found

    def fit(self, rows: Tensor, penalty: float) -> Linear:
        """The fit to some of the faces, by their indices. A column of which nothing is known there is NaN."""
        width, count = self.features.shape[1], self.targets.shape[1]
        weight = torch.full((width, count), torch.nan).to(self.targets)
        bias = torch.full((count,), torch.nan).to(self.targets)
        for known, columns in self._groups(rows):
            mean = self.targets[known][:, columns].mean(dim=0)
            residual, features = self.targets[known][:, columns] - mean, self._centred(known)
            centre = features.mean(dim=0)
            if self.between_faces:
                centred = features - centre
                solution = self._solve(centred @ centred.T, residual, penalty * len(known))
                weight[:, columns] = centred.T @ solution
            else:
                right = features.T @ residual
                weight[:, columns] = self._solve(self._matrix(known, centre), right, penalty * len(known))
            bias[columns] = mean - (self.mean + centre) @ weight[:, columns]
        return Linear(weight, bias)

    def _groups(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The columns that are known of the same faces among ``rows``: these faces, and the columns."""
        patterns, group = self.known[rows].T.unique(dim=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            if pattern.any():
                yield rows[pattern], (group == index).nonzero().squeeze(1)

    def _matrix(self, rows: Tensor, centre: Tensor) -> Tensor:
        """Products of centred features over some faces: those over all less those over others, if these are fewer."""
        others = torch.ones(len(self.features), dtype=torch.bool, device=self.features.device)
        others[rows] = False
        if int(others.sum()) < len(rows):
            found = self.products - self._products_of_features(others)
        else:
            found = self._products_of_features(rows)
        return found - len(rows) * torch.outer(centre, centre)

    def _solve(self, matrix: Tensor, right: Tensor, weight: float) -> Tensor:
        penalised = matrix + weight * self.unit * torch.eye(len(matrix)).to(matrix)
        return torch.cholesky_solve(right, torch.linalg.cholesky(penalised))
