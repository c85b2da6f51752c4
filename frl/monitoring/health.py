"""How alive the representation is, and recognising a collapse while it can still be helped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from frl.config import RunConfig

IN_USE = 0.1  # of the fair share 1/K: a prototype with less counts as unused


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What one logging interval says about the representation.

    Attributes:
        loss: mean loss.
        spread: standard deviation of the unit features over a batch, 1 when isotropic, 0 when collapsed.
        rank: effective rank of the features, from 1 (all on one line) to their width.
        prototypes_used: share of the prototypes that received more than a tenth of their fair mass.
        prototype_entropy: entropy of the prototypes' use, 1 when all are used alike, 0 when only one is.
        assignment_entropy: mean entropy of an image's assignment, 0 when it has one prototype, 1 when it has all.
    """

    loss: float
    spread: float
    rank: float
    prototypes_used: float
    prototype_entropy: float
    assignment_entropy: float


def effective_rank(second_moment: torch.Tensor) -> torch.Tensor:
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


def relative_entropy(use: torch.Tensor) -> torch.Tensor:
    """Entropy of the distribution ``use`` ``(K,)`` as a share of the largest possible, ln K."""
    return torch.special.entr(use).sum() / math.log(len(use))


def diagnose(vitals: Vitals, config: RunConfig) -> str | None:
    """Name the collapse that ``vitals`` show and what to change, with the reason; None if they are healthy."""
    limits, ceiling = config.health, math.log(config.model.prototypes)
    remedy = Remedies(config)
    if not math.isfinite(vitals.loss):
        return f"the loss is {vitals.loss}: lower --optim.lr, lengthen --optim.warmup-epochs, or use --precision fp32"
    if vitals.spread < limits.min_spread:
        sign = f"the features of different images are alike (spread {vitals.spread:.3f} of 1)"
        remedies = [remedy.check_data, remedy.lower_rate, remedy.freeze]
    elif vitals.rank < limits.min_rank:
        sign = f"the features fill {vitals.rank:.1f} of {config.model.feature_dim} directions (RankMe)"
        remedies = [remedy.freeze, remedy.sharpen, remedy.lower_rate]
    elif vitals.prototypes_used < limits.min_prototypes_used:
        sign = f"only {vitals.prototypes_used:.1%} of the prototypes are in use"
        remedies = [remedy.balance, remedy.more_features, "lower --model.prototypes"]
    elif vitals.loss > limits.max_loss * ceiling:
        sign = f"the loss {vitals.loss:.3f} stays at ln K = {ceiling:.3f}, the value of guessing"
        remedies = [remedy.sharpen, remedy.freeze, remedy.more_features, remedy.check_data]
    else:
        return None
    return f"{sign}. Try, in this order: " + "; ".join(f"({i}) {text}" for i, text in enumerate(remedies, 1))


@dataclass(frozen=True)
class Remedies:
    """What helps against a collapse, in the words of the options of ``config``, each with its reason."""

    config: RunConfig

    @property
    def sharpen(self) -> str:
        """A smaller epsilon."""
        epsilon = self.config.swav.epsilon
        return f"lower --swav.epsilon from {epsilon:g} to {0.6 * epsilon:.2g}: sharper assignments tell images apart"

    @property
    def balance(self) -> str:
        """More Sinkhorn iterations."""
        iterations = self.config.swav.sinkhorn_iterations
        return (
            f"raise --swav.sinkhorn-iterations from {iterations} to {2 * iterations + 2}, or --swav.epsilon: "
            "the assignments are not yet shared out evenly"
        )

    @property
    def freeze(self) -> str:
        """Prototypes that stand still for longer."""
        return (
            "freeze the prototypes for longer (--swav.freeze-prototypes-steps): "
            "the features must spread out before the prototypes follow them"
        )

    @property
    def more_features(self) -> str:
        """More features in each assignment: a queue, or a larger batch where there is one."""
        batch, prototypes = self.config.optim.batch_size, self.config.model.prototypes
        if self.config.swav.queue_length == 0 and batch < prototypes:
            length = batch * max(1, round(3840 / batch))
            return (
                f"use a queue (--swav.queue-length {length}): a batch of {batch} cannot be shared out over "
                f"{prototypes} prototypes"
            )
        return f"enlarge --optim.batch-size beyond {batch}: more images share out the prototypes better"

    @property
    def check_data(self) -> str:
        """A look at the images."""
        return "look at the data (frl preview): duplicates, or crops that show nothing of a face, cannot be told apart"

    @property
    def lower_rate(self) -> str:
        """A lower learning rate."""
        rate = self.config.optim.lr
        return f"lower --optim.lr from {rate:g} to {rate / 2:g}: too large a step throws the features together"


class CollapseAlarm:
    """Raises the alarm when every interval of ``config.health.patience_steps`` steps was sick."""

    def __init__(self, config: RunConfig, first_step: int) -> None:
        self.config = config
        self.sick_since: int | None = None
        self.first_step = first_step

    def observe(self, step: int, vitals: Vitals) -> str | None:
        """The diagnosis if it has lasted for the patience, else None. Steps before ``first_step`` do not count."""
        diagnosis = diagnose(vitals, self.config)
        if diagnosis is None or step < self.first_step:
            self.sick_since = None
            return None
        if self.sick_since is None:
            self.sick_since = step
        if step - self.sick_since < self.config.health.patience_steps:
            return None
        self.sick_since = step  # the next alarm has patience again
        return diagnosis
