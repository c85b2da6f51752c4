"""A teacher that follows its student: the exponential moving average (EMA) of the student's weights."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def teacher_of(student: M) -> M:
    """A copy that does not learn by gradients."""
    # Tensors are copied as such: those without content, by which memory is estimated, cannot be copied with the module.
    copies: dict[int, object] = {
        id(own): nn.Parameter(own.detach().clone(), requires_grad=False) for own in student.parameters()
    }
    copies |= {id(own): own.clone() for own in student.buffers()}
    return copy.deepcopy(student, copies)


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
