"""Classification over many classes: margins, and weights that the ranks share out (Partial FC, An et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frl.objectives import across_ranks

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
INITIAL_STD = 0.01  # of the class weights
DEVIATIONS = 6  # above the expected number of sampled classes for which there is room
SMALLEST = 1e-12  # squared sine, below which the slope of the angle is cut off

Margin = Callable[[Tensor], Tensor]


def cosface(cosine: Tensor, margin: float) -> Tensor:
    """The cosine of the right class less the margin (Wang et al., 2018, eq. 4)."""
    return cosine - margin


def arcface(cosine: Tensor, margin: float) -> Tensor:
    """``cos(theta + margin)``, where theta + margin is at most pi; beyond, ``cos(theta) - margin * sin(margin)``.

    Deng et al. (2019), eq. 3; the second form, of their code, goes on falling where the first would rise again.
    """
    sine = (1 - cosine.square()).clamp_min(SMALLEST).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > math.cos(math.pi - margin), turned, cosine - margin * math.sin(margin))


class Judged(NamedTuple):
    """What a classification says of N samples; all but ``losses`` is without gradient.

    Attributes:
        losses: ``(N,)``, cross-entropy with the margin.
        plain: ``(N,)``, cross-entropy without it.
        right: ``(N,)`` bool, whether no class is nearer than the right one.
    """

    losses: Tensor
    plain: Tensor
    right: Tensor


class Classes(nn.Module):
    """The weights of all classes, or of this rank's share: rank r has S classes from ``r * S`` on, S the same on all.

    Args:
        count: of classes, C.
        width: of what is classified, D.
        bias: whether each class has a bias.
        rank, ranks: this rank's share and the number of shares; 0 and 1 for all classes.
        sample: share of the wrong classes that take part in a step.
        seed: of the sampling.

    Attributes:
        weight: ``(S, D)``; rows beyond the last class are 0 and take no part.
        bias: ``(S,)`` or None.
    """

    bias: nn.Parameter | None

    def __init__(
        self, count: int, width: int, *, bias: bool, rank: int = 0, ranks: int = 1, sample: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.count, self.ranks, self.sample, self.seed = count, ranks, sample, seed
        whole = torch.randn(count, width) * INITIAL_STD  # of all, so that their values do not depend on the ranks
        self.weight = nn.Parameter(rows_of(whole, rank, ranks))
        self.bias = nn.Parameter(torch.zeros(len(self.weight))) if bias else None
        self.first = rank * len(self.weight)

    def judge(self, features: Tensor, labels: Tensor, scale: float, margin: Margin | None, step: int) -> Judged:
        """Classify the samples of this rank, or, where the classes are shared out, of all ranks.

        Args:
            features: ``(N, D)``, float32 at least; the same on all ranks that share the classes out.
            labels: ``(N,)`` int64, -1 where unknown: such samples have a loss without meaning.
            scale: by which the scores are multiplied.
            margin: makes of the right class's cosine what is to be learnt; None: scores are products, not cosines.
            step: that draws the classes, if they are sampled.
        """
        share = len(self.weight)
        of_share = labels - self.first
        mine = (labels >= 0) & (of_share >= 0) & (of_share < share)
        place = of_share.clamp(0, share - 1)
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        taking_part = self._exist(labels.device)
        if self.sample < 1:
            chosen, taking_part = self._drawn(place, mine, step)
            place = torch.searchsorted(chosen, place).clamp_max(len(chosen) - 1)
            weight, bias = weight[chosen], None if bias is None else bias[chosen]
        if margin is not None:
            weight = nn.functional.normalize(weight, dim=1)
        plain = nn.functional.linear(features, weight, bias)
        if self.sample < 1 or share * self.ranks > self.count:
            plain = plain.masked_fill(~taking_part, -torch.inf)
        right = plain.gather(1, place[:, None])
        wanted = right if margin is None else margin(right.where(mine[:, None], 0)).where(mine[:, None], right)
        logits = scale * plain.scatter(1, place[:, None], wanted)
        with torch.no_grad():
            best, of_right = scale * plain.amax(1), (scale * right[:, 0]).where(mine, 0)
        return Judged(*_CrossEntropy.apply(logits, place, mine, best, of_right, self.ranks))

    def _exist(self, device: torch.device) -> Tensor:
        return torch.arange(self.first, self.first + len(self.weight), device=device) < self.count

    def _drawn(self, place: Tensor, mine: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The rows that a step computes, ascending, and which of them take part: the right ones and a sample of others.

        Whether a class is in the sample depends on the seed, the step and the class alone. The number of rows is
        always the same, so that the host need not know how many were drawn.
        """
        share, device = len(self.weight), place.device
        right = torch.zeros(share, dtype=torch.int32, device=device).index_add_(0, place, mine.int()) > 0
        draw = uniform(self.seed, step, torch.arange(self.first, self.first + share, device=device))
        draw = draw.where(self._exist(device), 2.0)
        expected = self.sample * share + DEVIATIONS * math.sqrt(self.sample * (1 - self.sample) * share)
        room = min(share, math.ceil(expected) + len(place))
        chosen = draw.where(~right, -1.0).topk(room, largest=False).indices.sort().values
        return chosen, (right | (draw < self.sample))[chosen]


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy over the classes of all ranks, of this rank's logits; one gathering of five numbers a sample."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, place: Tensor, mine: Tensor, best: Tensor, of_right: Tensor, ranks: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = logits.gather(1, place[:, None])[:, 0].where(mine, 0)
        parts = torch.stack([logits.logsumexp(1), wanted, of_right, best])
        parts = (across_ranks.gather(parts) if ranks > 1 else parts).unflatten(0, (ranks, len(parts)))
        whole, wanted, of_right = parts[:, 0].logsumexp(0), parts[:, 1].sum(0), parts[:, 2].sum(0)
        highest = torch.maximum(whole, of_right)
        others = ((whole - highest).exp() - (wanted - highest).exp()).clamp_min(0)
        plain = (others + (of_right - highest).exp()).log() + highest - of_right
        right = of_right >= parts[:, 3].amax(0)
        ctx.save_for_backward(logits, whole, place, mine)
        ctx.mark_non_differentiable(plain, right)
        return whole - wanted, plain, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        logits, whole, place, mine = ctx.saved_tensors
        slope = (logits - whole[:, None]).exp()
        slope.scatter_add_(1, place[:, None], -mine[:, None].to(slope.dtype))
        return slope.mul_(grad[:, None]), None, None, None, None, None


def rows_of(whole: Tensor, rank: int, ranks: int) -> Tensor:
    """The rows that are rank ``rank``'s share of ``whole``: as many for every rank, filled up with 0 after the last."""
    share = -(-len(whole) // ranks)
    rows = whole[rank * share : (rank + 1) * share]
    if len(rows) == share:
        return rows.clone()
    return torch.cat([rows, whole.new_zeros(share - len(rows), *whole.shape[1:])])


def uniform(seed: int, step: int, counters: Tensor) -> Tensor:
    """Float64 numbers in [0, 1), one for each of ``counters`` (int64), a pure function of all three.

    SplitMix64 (Steele, Lea and Flood, 2014), seeded with its output number ``step`` under ``seed``.
    """
    key = _mixed((seed + (step + 1) * GOLDEN) % 2**64)
    bits = _mixed_tensor((counters + 1) * _signed(GOLDEN) + _signed(key))
    return _shifted(bits, 11).double() * 2.0**-53


def _mixed(z: int) -> int:
    z = (z ^ z >> 30) * MIX_1 % 2**64
    z = (z ^ z >> 27) * MIX_2 % 2**64
    return z ^ z >> 31


def _mixed_tensor(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(MIX_1)
    z = (z ^ _shifted(z, 27)) * _signed(MIX_2)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of numbers that int64 holds."""
    return (z >> bits) & ((1 << 64 - bits) - 1)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
