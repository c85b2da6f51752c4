"""Points of a face in three dimensions, judged in the image as AFLW2000-3D is, and by the pose of the head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.tasks.metrics.rotation import angles, between, frontal_mean, to_300wlp
from frl.tasks.points import Points
from frl.tasks.pose import ANGLES, angle_errors
from frl.tasks.scores import mean_and_parts, score, totals_first
from frl.tasks.task import Score, Truth, require_target

POSE = "pose"

YAWS = {"yaw 0-30": (0.0, 30.0), "yaw 30-60": (30.0, 60.0), "yaw 60-90": (60.0, np.inf)}
"""The bins of the benchmark, in degrees to either side: above the first number (or 0), up to the second."""


@dataclass(frozen=True, kw_only=True)
class Face3d(Points):
    """Points with depth. Errors in the image are divided by the square root of the area of the true points' box.

    The truth may be of an annotation in the image alone, such as AFLW2000-3D's second one: its depth is unknown.
    """

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "landmarks3d", **options: Any) -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there are no such points, or they have no depth.
        """
        fits = field in specs and specs[field].kind == Kind.POINTS and specs[field].shape[1] == 3
        require_target(specs, field, "face3d", "points (n, 3)", fits)
        return super().of(specs, field, **options)

    @property
    def name(self) -> str:
        return "face3d"

    def box(self, truth: Truth) -> None:
        """Always that of the true points."""

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """NME as the mean over the bins of yaw that have faces, that over all faces, and the error of the head's pose.

        Without a pose in the truth there is one bin, of all faces, and no error of the pose; of a head that learned no
        depth that error is NaN.
        """
        errors = self.errors(predicted, truth)
        bins = {name: _mean(errors[members]) for name, members in yaw_bins(truth).items()}
        found = mean_and_parts("nme", bins or {"all": _mean(errors)}, "{:.2%}", higher_is_better=False)
        found["nme_all"] = score(_mean(errors), "{:.2%}", higher_is_better=False)
        pose = self.pose(predicted, truth)
        if pose is not None:
            found |= angle_errors("pose_mae", pose, truth.values[POSE].astype(np.float64))
        return totals_first(found)

    def pose(self, predicted: NDArray[Any], truth: Truth) -> NDArray[np.float64] | None:
        """Yaw, pitch and roll ``(N, 3)`` of the predicted points, by the turn from a frontal shape (Procrustes).

        That shape is the mean of the true ones, each turned back by its pose. NaN of points without depth; None where
        the truth has no pose or no shape.
        """
        if POSE not in truth.specs or truth.specs[POSE].names != ANGLES:
            return None
        true = truth.values[self.field].astype(np.float64)
        pose = truth.values[POSE].astype(np.float64)
        whole = np.isfinite(true).all(axis=(1, 2)) & np.isfinite(pose).all(axis=1)
        if not whole.any():
            return None
        shapes = self.decode(predicted, truth.sides)
        solid = np.isfinite(shapes).all(axis=(1, 2))  # not of a head that learned no depth
        found = np.full((len(truth), 3), np.nan)
        if solid.any():
            found[solid] = angles(between(frontal_mean(true[whole], pose[whole]), shapes[solid]))
        return found

    def details(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Any]:
        """The cumulative curve, what the errors were divided by, and how many faces each bin of yaw has."""
        counts = {name: int(members.sum()) for name, members in yaw_bins(truth).items()}
        return {**super().details(predicted, truth), "faces": counts}


def yaw_bins(truth: Truth) -> dict[str, NDArray[np.bool_]]:
    """The members ``(N,)`` of each of `YAWS` that has any; empty where no pose is known.

    The yaw is that in the order of turns of 300W-LP, as the benchmark has it; where nothing but the yaw is known, it is
    taken for that.
    """
    if POSE not in truth.specs or truth.specs[POSE].names != ANGLES:
        return {}
    pose = truth.values[POSE].astype(np.float64)
    theirs = to_300wlp(pose)[:, 0]
    # Of float32 the rest is rounding, which would move a yaw of 30 degrees into the next bin.
    yaw = np.abs(np.where(np.isfinite(theirs), theirs, pose[:, 0])).round(4)
    members = {name: (yaw > low if low else yaw >= 0) & (yaw <= high) for name, (low, high) in YAWS.items()}
    return {name: found for name, found in members.items() if found.any()}


def _mean(errors: NDArray[np.float64]) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else np.nan
