"""Steps whose loss or gradients are not finite: skipped by all ranks together, without asking the host."""

from __future__ import annotations

import torch
from torch import nn

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # of as many bytes as another number


def tell_all_ranks(loss: torch.Tensor) -> torch.Tensor:
    """The loss itself; but where it is not finite, it makes every gradient NaN, which DDP's mean takes to all ranks."""
    return loss * (loss.detach() * 0 + 1)


class BufferGuard:
    """Keeps what a forward pass changes, running statistics and the queue, from a step that does not count.

    Args:
        module: its buffers are kept, on their device.
    """

    def __init__(self, module: nn.Module) -> None:
        of_size: dict[torch.dtype, list[torch.Tensor]] = {}
        for buffer in module.buffers():
            if buffer.numel():
                of_size.setdefault(INTEGERS[buffer.element_size()], []).append(buffer)
        # As integers, since what is not finite stays so whatever it is multiplied by, and its bits do not.
        self.buffers = [[buffer.detach().view(integer) for buffer in group] for integer, group in of_size.items()]
        self.before = [[buffer.clone() for buffer in group] for group in self.buffers]

    @torch.no_grad()
    def remember(self) -> None:
        """Before the forward pass."""
        for buffers, before in zip(self.buffers, self.before, strict=True):
            torch._foreach_copy_(before, buffers)

    @torch.no_grad()
    def settle(self, finite: torch.Tensor) -> None:
        """After the step: keep the buffers if it was ``finite`` (bool scalar on the device), else put them back.

        A few operations over all of them: integers wrap around, so what was subtracted comes back exactly.
        """
        for buffers, before in zip(self.buffers, self.before, strict=True):
            torch._foreach_sub_(buffers, before)
            torch._foreach_mul_(buffers, finite.to(buffers[0]))
            torch._foreach_add_(buffers, before)
