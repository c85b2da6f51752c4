"""Balanced assignments of samples to prototypes by the Sinkhorn-Knopp iteration."""

from __future__ import annotations

import torch
import torch.distributed as dist


def logsumexp_over_ranks(x: torch.Tensor, dim: int) -> torch.Tensor:
    """``x.logsumexp(dim, keepdim=True)`` as if ``x`` of every rank were concatenated along ``dim``.

    One collective: the ranks exchange their partial results, which no finite input overflows.
    """
    partial = x.logsumexp(dim, keepdim=True)
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return partial
    gathered = partial.new_empty((dist.get_world_size(), *partial.shape))
    dist.all_gather(list(gathered.unbind()), partial.contiguous())
    return gathered.logsumexp(0)


@torch.no_grad()
def sinkhorn(scores: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Assignments Q that solve SwAV's optimal-transport problem (Caron et al., 2020, eq. 3 and 5).

    Works on logarithms in float32, so neither large logits nor a small epsilon overflow. Dividing by the number of
    samples and of prototypes, as the paper writes it, cancels in the last normalisation and is left out.

    Args:
        scores: ``(..., B, K)`` similarities of this rank's samples to the prototypes, any floating dtype.
        epsilon: entropy regularisation; smaller is sharper.
        iterations: rounds of normalisation; each takes one collective over the ranks.

    Returns:
        ``(..., B, K)`` float32: each sample's distribution over the prototypes (rows sum to 1); over all ranks
        each prototype tends to the weight 1/K.
    """
    log_q = scores.float() / epsilon
    for _ in range(iterations):
        log_q = log_q - logsumexp_over_ranks(log_q, dim=-2)
        log_q = log_q - log_q.logsumexp(-1, keepdim=True)
    return log_q.exp()
