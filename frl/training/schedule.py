"""Schedules of the learning rate and of the weight decay, as pure functions of the step."""

from __future__ import annotations

import math

from frl.config import OptimConfig


def warmup_cosine(step: int, *, total: int, warmup: int, start: float, peak: float, final: float) -> float:
    """Linear from ``start`` at step 0 to ``peak`` at the last warm-up step, then a half cosine to ``final``.

    ``peak`` is reached at step ``warmup - 1`` and again at ``warmup``, where the cosine begins; step ``total``, the
    first that is not taken any more, would have ``final``. These are the tables of SwAV's code, which the paper adopts.

    Args:
        step: from 0.
        total: steps of the run.
        warmup: steps of the linear part; may be 0.
    """
    if step < warmup:
        return start + (peak - start) * step / max(warmup - 1, 1) if warmup > 1 else peak
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))


def learning_rate(step: int, steps_per_epoch: int, optim: OptimConfig) -> float:
    """The learning rate of ``step`` under a run's configuration, which states it for a reference batch size."""
    return warmup_cosine(
        step,
        total=steps_per_epoch * optim.epochs,
        warmup=round(steps_per_epoch * optim.warmup_epochs),
        start=optim.start_lr * optim.lr_scale,
        peak=optim.lr * optim.lr_scale,
        final=optim.final_lr * optim.lr_scale,
    )


def weight_decay(step: int, steps_per_epoch: int, optim: OptimConfig) -> float:
    """The weight decay of ``step``: constant, or along a half cosine (Caron et al., 2021, DINO) to its final value.

    Step ``total``, the first that is not taken any more, would have the final value.
    """
    if optim.final_weight_decay is None:
        return optim.weight_decay
    return warmup_cosine(
        step,
        total=steps_per_epoch * optim.epochs,
        warmup=0,
        start=optim.weight_decay,
        peak=optim.weight_decay,
        final=optim.final_weight_decay,
    )
