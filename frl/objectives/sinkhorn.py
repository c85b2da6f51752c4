"""Balanced assignments of samples to prototypes by the Sinkhorn-Knopp iteration."""

from __future__ import annotations

import torch
import torch.distributed as dist

from frl.runtime.precision import widened

SMALLEST = torch.finfo(torch.float64).tiny
LOWEST = torch.finfo(torch.float32).min


def logsumexp_over_ranks(x: torch.Tensor, dim: int, ceiling: float) -> torch.Tensor:
    """``x.logsumexp(dim, keepdim=True)`` as if ``x`` of every rank were concatenated along ``dim``.

    One all-reduce, whose bytes do not grow with the number of ranks: every rank shifts by the same ``ceiling``, and
    the reduced sums are float64, whose exponents reach 708 below it. A smaller sum counts as that smallest one.

    Args:
        x: float32 or float64.
        dim: what to sum over.
        ceiling: no element of ``x`` on any rank is (much) above it.
    """
    partial = x.logsumexp(dim, keepdim=True)
    sums = (partial.double() - ceiling).exp()
    dist.all_reduce(sums)
    return (sums.clamp_min(SMALLEST).log() + ceiling).to(x.dtype)


@torch.no_grad()
def sinkhorn(scores: torch.Tensor, epsilon: float, iterations: int, *, over_ranks: bool = False) -> torch.Tensor:
    """Logarithms of the assignments Q that solve SwAV's optimal-transport problem (Caron et al., 2020, eq. 3 and 5).

    Works on logarithms in float32 at least, so neither large logits nor a small epsilon overflow. Dividing by the
    number of samples and of prototypes, as the paper writes it, cancels in the last normalisation and is left out; so
    does the division by the sum of all entries before the first iteration, and with it a collective.

    Args:
        scores: ``(..., B, K)`` cosine similarities of this rank's samples to the prototypes, any floating dtype. A
            sample all of whose scores are minus infinity takes no part.
        epsilon: entropy regularisation; smaller is sharper.
        iterations: rounds of normalisation.
        over_ranks: balance the samples of all ranks together; each iteration then takes one collective, for all
            leading dimensions.

    Returns:
        ``(..., B, K)`` float32 at least, log Q. The rows of Q are each sample's distribution over the prototypes and
        sum to 1; over all ranks each prototype tends to the weight 1/K.
    """
    log_q = widened(scores) / epsilon
    ceiling = 1 / epsilon  # of a cosine; after the first round, of the logarithm of a probability
    for _ in range(iterations):
        if over_ranks:
            log_q = log_q - logsumexp_over_ranks(log_q, dim=-2, ceiling=ceiling)
        else:
            log_q = log_q - log_q.logsumexp(-2, keepdim=True)
        log_q = log_q - log_q.logsumexp(-1, keepdim=True).clamp_min(LOWEST)
        ceiling = 0.0
    return log_q
