"""Steps whose loss or gradients are not finite: passed over by all ranks together, without asking the host."""

from __future__ import annotations

import torch
from torch import nn


def tell_all_ranks(loss: torch.Tensor) -> torch.Tensor:
    """The loss itself; but where it is not finite, it makes every gradient NaN, which DDP's mean takes to all ranks."""
    return loss * (loss.detach() * 0 + 1)


class BufferGuard:
    """Keeps what a forward pass changes, running statistics and the queue, from a step that does not count.

    Args:
        module: its buffers are kept, on their device.
    """

    def __init__(self, module: nn.Module) -> None:
        self.buffers = [buffer for buffer in module.buffers() if buffer.numel()]
        self.before = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def remember(self) -> None:
        """Before the forward pass."""
        torch._foreach_copy_(self.before, self.buffers)

    @torch.no_grad()
    def settle(self, finite: torch.Tensor) -> None:
        """After the step: keep the buffers if it was ``finite`` (bool scalar on the device), else put them back."""
        for buffer, before in zip(self.buffers, self.before, strict=True):
            torch.where(finite, buffer, before, out=buffer)
