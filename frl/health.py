"""Recognising a collapsed representation while it can still be helped."""

from __future__ import annotations

import math
from dataclasses import dataclass

from frl.config import HealthConfig


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What one logging interval says about the representation.

    Attributes:
        loss: mean loss.
        prototypes_used: share of the prototypes that received more than a tenth of their fair mass.
        spread: standard deviation of the unit features over a batch, 1 when isotropic, 0 when collapsed.
    """

    loss: float
    prototypes_used: float
    spread: float


def diagnose(vitals: Vitals, prototypes: int, config: HealthConfig) -> str | None:
    """Name the collapse that ``vitals`` show and its remedy; None if they are healthy."""
    if not math.isfinite(vitals.loss):
        return f"the loss is {vitals.loss}: lower --optim.lr, lengthen --optim.warmup-epochs, or use --precision fp32"
    if vitals.spread < config.min_spread:
        return (
            f"the features of different images are alike (spread {vitals.spread:.3f}): "
            "lower --optim.lr, or check the data for duplicates"
        )
    if vitals.prototypes_used < config.min_prototypes_used:
        return (
            f"only {vitals.prototypes_used:.1%} of the prototypes are in use: "
            "lower --model.prototypes, or lower --swav.epsilon"
        )
    ceiling = math.log(prototypes)
    if vitals.loss > config.max_loss * ceiling:
        return (
            f"the loss {vitals.loss:.3f} stays at ln K = {ceiling:.3f}, the value of guessing: check the data for "
            "duplicates, lower --swav.epsilon, enlarge the batch or use the queue (--swav.queue-length)"
        )
    return None


class CollapseAlarm:
    """Raises the alarm when every interval of ``config.patience_steps`` steps was sick, for the same run of steps."""

    def __init__(self, prototypes: int, config: HealthConfig, first_step: int) -> None:
        self.prototypes = prototypes
        self.config = config
        self.sick_since: int | None = None
        self.first_step = first_step

    def observe(self, step: int, vitals: Vitals) -> str | None:
        """The diagnosis if it has lasted for the patience, else None. Steps before ``first_step`` do not count."""
        diagnosis = diagnose(vitals, self.prototypes, self.config)
        if diagnosis is None or step < self.first_step:
            self.sick_since = None
            return None
        if self.sick_since is None:
            self.sick_since = step
        return diagnosis if step - self.sick_since >= self.config.patience_steps else None
