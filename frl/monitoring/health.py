"""How alive the representation is, and recognising a collapse while it can still be helped."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from frl.config import RunConfig
from frl.objectives import Diagnosis, Objective, Vitals
from frl.objectives.diagnosis import LOOK_AT_THE_DATA


def effective_rank(second_moment: Tensor) -> Tensor:
    """RankMe (Garrido et al., 2023, eq. 2): the exponential of the entropy of the features' singular values.

    The singular values of N features are the roots of the eigenvalues of their second moment, so nothing of size N is
    ever held.

    Args:
        second_moment: ``(D, D)`` float64, the mean of ``z z^T`` over features ``z``; its scale does not matter.

    Returns:
        Scalar in [1, D], on the same device.
    """
    singular = torch.linalg.eigvalsh(second_moment).clamp_min(0).sqrt()
    return torch.special.entr(singular / singular.sum()).sum().exp()


def feature_std(features: Tensor) -> Tensor:
    """Standard deviation of ``(B, D)`` unit features over the batch, times sqrt(D): 1 isotropic, 0 all alike."""
    return (features.var(0).mean() * features.shape[-1]).sqrt()


def diagnose(vitals: Vitals, objective: Objective, run: RunConfig, highest_rank: float = 0.0) -> Diagnosis | None:
    """Name the collapse that ``vitals`` show and what to change, with the reason; None if they are healthy.

    Args:
        vitals: of an interval.
        objective: adds what only it can know.
        run: whose limits count, and whose options the remedies name.
        highest_rank: the highest effective rank that the run has had.
    """
    limits, rate = run.health, run.optim.lr
    lower_rate = f"lower --optim.lr from {rate:g} to {rate / 2:g}: too large a step throws the features together"
    if not math.isfinite(vitals.loss):
        ways = ("lower --optim.lr", "lengthen --optim.warmup-epochs", "use --precision fp32")
        return Diagnosis(f"the loss is {vitals.loss}", ways)
    if vitals.feature_std < limits.min_feature_std:
        sign = f"the features of different images are alike (standard deviation {vitals.feature_std:.3f} of 1)"
        return Diagnosis(sign, (LOOK_AT_THE_DATA, lower_rate, *objective.remedies(run)))
    if vitals.effective_rank < limits.min_rank:
        sign = f"the features fill {vitals.effective_rank:.1f} of {vitals.width} directions (RankMe)"
        return Diagnosis(sign, (*objective.remedies(run), lower_rate))
    if vitals.effective_rank < limits.min_rank_kept * highest_rank:
        fallen = f"the features fill {vitals.effective_rank:.1f} directions (RankMe), where they filled"
        sign = f"{fallen} {highest_rank:.1f} of {vitals.width}: a collapse to a few dimensions"
        return Diagnosis(sign, (*objective.remedies(run), lower_rate))
    return objective.diagnose(vitals, run)


class CollapseAlarm:
    """Raises the alarm when every interval of ``run.health.patience_steps`` steps was sick.

    Attributes:
        sick_since: the step of the first interval that was, of those up to the last one; None if that was healthy.
        signs: what is wrong with the last interval, whether or not it has lasted.
    """

    def __init__(self, run: RunConfig, objective: Objective) -> None:
        self.run = run
        self.objective = objective
        self.sick_since: int | None = None
        self.signs: Diagnosis | None = None
        self.highest_rank = 0.0

    def observe(self, step: int, vitals: Vitals) -> Diagnosis | None:
        """The diagnosis if it has lasted for the patience, else None; ``step`` ends the interval."""
        if math.isfinite(vitals.effective_rank):
            self.highest_rank = max(self.highest_rank, vitals.effective_rank)
        diagnosis = diagnose(vitals, self.objective, self.run, self.highest_rank)
        self.signs = diagnosis if step >= self.objective.watched_from else None
        if self.signs is None:
            self.sick_since = None
            return None
        if self.sick_since is None:
            self.sick_since = step
        if step - self.sick_since < self.run.health.patience_steps:
            return None
        self.sick_since = step  # the next alarm has patience again
        return self.signs
