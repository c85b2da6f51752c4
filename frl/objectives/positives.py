"""Which samples of a batch show one person: the part of identity labels in an objective."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from frl.errors import ConfigError
from frl.objectives import across_ranks
from frl.objectives.objective import Setting


def require_positives(positives: str, setting: Setting) -> None:
    """Refuse positives of identities where the data has fewer than two.

    Raises:
        ConfigError: with the remedy.
    """
    if positives == "identity":
        require_identities(setting, "--objective.positives", "Use --objective.positives image, or ")


def known(labels: Tensor | None) -> Tensor:
    """The labels of a batch, which an objective that needs identities has been promised."""
    assert labels is not None, "the loader gives no labels"
    return labels


def require_identities(setting: Setting, option: str, remedy: str) -> None:
    """Refuse an option that needs identities where the data has fewer than two.

    Raises:
        ConfigError: with the remedy.
    """
    if setting.identities < 2:
        known = "no identity labels" if not setting.identities else "labels of a single identity"
        way = "write the .beton from a source that names its identities or tracks (one folder each)"
        raise ConfigError(option, f"it needs the identities of the images, and the data has {known}", f"{remedy}{way}.")


def same_identity(labels: Tensor, others: Tensor, first: int = 0) -> Tensor:
    """Which of N samples show the identity of each of B, ``(B, N)`` bool; a sample always shows its own.

    Args:
        labels: ``(B,)`` int64, -1 where unknown: such a sample is like itself alone.
        others: ``(N,)`` int64, of which ``others[first : first + B]`` are ``labels``.
        first: place of the B samples among the N.
    """
    alike = (labels[:, None] == others) & (labels >= 0)[:, None]
    itself = torch.arange(first, first + len(labels), device=labels.device)[:, None]
    return alike | (itself == torch.arange(len(others), device=labels.device))


@torch.no_grad()
def mean_of_identity(values: Tensor, labels: Tensor, ranks: int) -> Tensor:
    """The mean of ``values`` ``(A, B, K)`` over the samples of all ranks that show a sample's identity, constants.

    Two collectives where there are several ranks.

    Args:
        values: of this rank's B samples.
        labels: ``(B,)`` int64, -1 where unknown.
        ranks: processes that train together.
    """
    everybody, others, first = values, labels, 0
    if ranks > 1:
        everybody = across_ranks.gather(values.transpose(0, 1)).transpose(0, 1)
        others, first = across_ranks.gather(labels), dist.get_rank() * len(labels)
    alike = same_identity(labels, others, first).to(values.dtype)
    with torch.autocast(values.device.type, enabled=False):
        return (alike / alike.sum(1, keepdim=True)) @ everybody
