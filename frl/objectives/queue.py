"""Keys of earlier steps, the newest in the place of the oldest; the device alone knows where it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """A ring of unit vectors, the same on every rank; at the start they are random.

    Args:
        length: K, how many it holds.
        width: D, of a vector.

    Attributes:
        keys: ``(K, D)``; after n pushed keys, the next takes row ``n % K``.
        labels: ``(K,)`` int64, whom each key shows; -1 where unknown, and of the random ones.
        pushed: int64 scalar, n.
    """

    keys: Tensor
    labels: Tensor
    pushed: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, width), dim=1), persistent=False)
        self.register_buffer("labels", torch.full((length,), -1), persistent=False)
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64), persistent=False)

    @property
    def filled(self) -> Tensor:
        """How many keys are no longer the random ones of the start; a scalar on the device."""
        return self.pushed.clamp_max(len(self.keys))

    @torch.no_grad()
    def push(self, keys: Tensor, finite: Tensor, labels: Tensor | None = None) -> None:
        """Let ``(B, D)`` keys take the place of the B oldest, in their order; none unless ``finite`` (bool scalar).

        ``labels``: ``(B,)`` int64, whom they show; None: nobody knows.
        """
        rows = (self.pushed + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys[rows] = torch.where(finite, keys.to(self.keys), self.keys[rows])
        if labels is not None:
            self.labels[rows] = torch.where(finite, labels, self.labels[rows])
        self.pushed += len(keys) * finite

    def progress(self) -> dict[str, Tensor]:
        """What a checkpoint needs; it does not depend on the number of ranks."""
        return {
            "queue": self.keys.clone(),
            "queue_labels": self.labels.clone(),
            "queue_pushed": self.pushed.clone(),
        }

    @torch.no_grad()
    def load_progress(self, saved: Mapping[str, Tensor]) -> None:
        """Go on with what ``progress`` gave, or, in a ring of another length, with the newest that it holds.

        Keys of another width are left: the queue fills anew. A checkpoint from before there were labels has none.
        """
        keys, pushed = saved["queue"].to(self.keys), int(saved["queue_pushed"])
        labels = saved.get("queue_labels", torch.full((len(keys),), -1)).to(self.labels)
        if keys.shape[1:] != self.keys.shape[1:]:
            return
        if len(keys) == len(self.keys):
            self.keys.copy_(keys)
            self.labels.copy_(labels)
            self.pushed.fill_(pushed)
            return
        kept = min(pushed, len(keys), len(self.keys))
        for mine, theirs in ((self.keys, keys), (self.labels, labels)):
            mine[:kept] = theirs.roll(-pushed, 0)[len(keys) - kept :]
        self.pushed.fill_(kept)
