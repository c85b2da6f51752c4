"""A teacher that follows its student: the exponential moving average (EMA) of the student's weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def teacher_of(student: nn.Module) -> nn.Module:
    """A copy that does not learn by gradients."""
    # Tensors without content, of which memory is estimated, can be cloned but not deep-copied.
    weights = {
        id(weight): nn.Parameter(weight.detach().clone(), requires_grad=False) for weight in student.parameters()
    }
    buffers = {id(buffer): buffer.clone() for buffer in student.buffers()}
    return copy.deepcopy(student, {**weights, **buffers})


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float, finite: Tensor) -> None:
    """Move the teacher's weights: ``t <- m * t + (1 - m) * s``; not at all after a step that did not count.

    Buffers, such as the running statistics of BatchNorm, are the teacher's own and stay.

    Args:
        teacher, student: of the same architecture.
        momentum: m, from 0, the student's weights, to 1, no move.
        finite: bool scalar on the device, whether the step counted.
    """
    theirs: list[Tensor] = list(teacher.parameters())
    ours: list[Tensor] = list(student.parameters())
    moves = torch._foreach_sub(ours, theirs)
    torch._foreach_mul_(moves, (1 - momentum) * finite.to(theirs[0].dtype))
    torch._foreach_add_(theirs, moves)


def momentum_at(step: int, total: int, start: float, end: float = 1.0) -> float:
    """From ``start`` at step 0 along a half cosine to ``end`` at step ``total`` (Grill et al., 2020, section 3.3)."""
    return end - (end - start) * (math.cos(math.pi * min(step / max(total, 1), 1.0)) + 1) / 2
