"""Points on a face: a head says where in the image each lies, as shares of its width and height."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError
from frl.tasks.losses import known_mean, means_of_known, smooth_l1, wing
from frl.tasks.metrics.points import (
    OUTER_CORNERS,
    PUPILS,
    Normaliser,
    area_under,
    cumulative_errors,
    failure_rate,
    lengths,
    normalised_errors,
)
from frl.tasks.scores import score
from frl.tasks.subsets import by_subset, subsets
from frl.tasks.task import Score, Truth, require_target

FACE_BOX = "face_box"
"""The target with the box that a benchmark's normaliser uses."""

LOSSES = {"wing": wing, "smooth-l1": smooth_l1}

CURVE_SHOWN = 20
"""Every so many steps of the cumulative curve are kept for reports."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of any target: the normalised mean error (NME).

    Attributes:
        field: the target.
        count: n, its points.
        axes: 2, or 3 with depth.
        permutation: for each point, the index of the one that takes its place in a mirror; None where nobody knows.
        normaliser: what the errors of a face are divided by.
        failure: a face with a larger error counts as a failure; also where the area under the curve ends.
        criterion: the loss of a number.
        unknown: which of the numbers that a head gives training knew nothing of. No head learns them: they are said to
            be NaN.
    """

    field: str
    count: int
    axes: int
    permutation: tuple[int, ...] | None = None
    normaliser: Normaliser = "box"
    failure: float = 0.10
    criterion: Literal["wing", "smooth-l1"] = "wing"
    # Not in the text by which a checkpoint knows its task: it follows from the data, and older ones have none.
    unknown: tuple[int, ...] = dataclasses.field(default=(), repr=False)

    headline: ClassVar[str] = "nme"
    bounded: ClassVar[bool] = False

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "landmarks", **options: Any) -> Self:
        """The task on a file with these targets.

        Args:
            specs: of the file.
            field: which target.
            options: other attributes.

        Raises:
            ConfigError: there is no such target, it is no points, or the normaliser does not know so many points.
        """
        fits = field in specs and specs[field].kind == Kind.POINTS
        spec = require_target(specs, field, f"points:{field}", "points", fits)
        return cls(field=field, count=spec.shape[0], axes=spec.shape[1], permutation=spec.permutation, **options)

    def __post_init__(self) -> None:
        counts = {"inter-ocular": tuple(OUTER_CORNERS), "inter-pupil": tuple(PUPILS)}.get(self.normaliser)
        if counts is not None and self.count not in counts:
            cause = f"{self.normaliser} is not known of {self.count} points, only of {', '.join(map(str, counts))}"
            raise ConfigError("--normaliser", cause, "Use box or diag.")

    def learned_from(self, train: Truth) -> Self:
        """The same, saying nothing of what training knows of no face, such as the depth of points in the image."""
        lacking = np.isnan(train.values[self.field]).all(axis=0)
        return replace(self, unknown=tuple(np.flatnonzero(lacking).tolist()))

    @property
    def name(self) -> str:
        return f"points:{self.field}"

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    @property
    def outputs(self) -> int:
        return self.count * self.axes

    def encode(self, targets: Mapping[str, torch.Tensor], sides: torch.Tensor) -> torch.Tensor:
        """Of each point x and y, from -1/2 to 1/2 across the image, and depth in widths of the image."""
        points = targets[self.field].float()
        scale = sides.float()[:, None]  # (B, 1, 2)
        shares = [(points[..., :2] + 0.5) / scale - 0.5, points[..., 2:] / scale[..., :1]]
        return torch.cat(shares, dim=2).flatten(1)

    def decode(self, predicted: NDArray[Any], sides: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of ``encode``: ``(N, K)`` to points ``(N, n, 2 or 3)`` in pixels of the stored image; NaN of what
        training knew nothing of."""
        said = np.array(predicted, np.float64)
        said[:, list(self.unknown)] = np.nan
        shares = said.reshape(-1, self.count, self.axes)
        scale = sides[:, None]
        return np.concatenate([(shares[..., :2] + 0.5) * scale - 0.5, shares[..., 2:] * scale[..., :1]], axis=2)

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return known_mean(LOSSES[self.criterion], predicted, encoded)

    def errors(self, predicted: NDArray[Any], truth: Truth) -> NDArray[np.float64]:
        """The normalised error of each face, ``(N,)``; NaN where its points or its length are unknown."""
        points = truth.values[self.field].astype(np.float64)
        length = lengths(points, self.normaliser, self.box(truth))
        return normalised_errors(self.decode(predicted, truth.sides), points, length)

    def box(self, truth: Truth) -> NDArray[np.float64] | None:
        """The faces' boxes ``(N, 2, 2)`` for the normaliser; None: those of the true points."""
        return truth.values[FACE_BOX].astype(np.float64) if FACE_BOX in truth.values else None

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """NME, the share of failures and the area under the cumulative curve, of all faces and of each subset."""
        errors = self.errors(predicted, truth)
        return self._scores(errors) | by_subset(truth, lambda members: self._scores(errors[members]))

    def _scores(self, errors: NDArray[np.float64]) -> dict[str, Score]:
        known, end = errors[np.isfinite(errors)], f"{round(100 * self.failure)}"
        nme = float(known.mean()) if len(known) else float("nan")
        failures, area = failure_rate(errors, self.failure), area_under(errors, self.failure)
        return {
            "nme": score(nme, "{:.2%}", higher_is_better=False),
            f"fr{end}": score(failures, "{:.2%}", higher_is_better=False),
            f"auc{end}": score(area, "{:.4f}", higher_is_better=True),
        }

    def details(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Any]:
        """The cumulative curve of all faces and of each subset, and what the errors were divided by."""
        errors = self.errors(predicted, truth)
        parts = {"all": np.ones(len(truth), bool), **dict(subsets(truth))}
        curves = {name: cumulative_errors(errors[members], self.failure) for name, members in parts.items()}
        return {
            "normaliser": self.divisor(truth),
            "cumulative": {
                name: {"error": along[::CURVE_SHOWN].tolist(), "share": share[::CURVE_SHOWN].tolist()}
                for name, (along, share) in curves.items()
            },
        }

    def divisor(self, truth: Truth) -> str:
        """What the errors were divided by, in words."""
        if self.normaliser in ("box", "diag"):
            return f"{self.normaliser} of {'the true points' if self.box(truth) is None else FACE_BOX}"
        return f"{self.normaliser} distance"

    def constant(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """The mean shape."""
        return means_of_known(encoded)

    def mirror(self, predicted: torch.Tensor) -> torch.Tensor:
        """Points on the other side, under each other's names.

        Raises:
            ConfigError: nobody knows which point becomes which.
        """
        if self.permutation is None:
            cause = f"nobody knows which of the {self.count} points of {self.field!r} becomes which in a mirror"
            raise ConfigError(
                f"the target {self.field!r}", cause, "Give it a mirror in its description (docs/sources.md)."
            )
        points = predicted.unflatten(1, (self.count, self.axes))[:, list(self.permutation)]
        signs = points.new_tensor([-1, 1, 1])[: self.axes]
        return (points * signs).flatten(1)
