"""Copies to a GPU on a stream of their own: the next batch travels while the step computes on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import torch
from torch import Tensor

from pipelines.engines.prefetch import prefetch
from pipelines.page_locked import page_locked

B = TypeVar("B")
AHEAD = 1  # batches on the device that wait, beside the one that is being copied and the one in use


class CopyStream:
    """A stream of a GPU for what does not compute.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def copy(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], torch.cuda.Event]:
        """Begin to copy; on any thread, whose current device becomes the stream's.

        A new thread begins on the first GPU. To put its stream back there after the copies would make a context on it,
        half a gigabyte, for every rank of the machine.

        What is not in page-locked memory is brought there first: from elsewhere the host would wait for the copy. The
        allocator keeps page-locked memory until the copy is over, whoever lets go of it.

        Returns:
            The tensors on the device, those that are there as they are, and what happens once all are complete.
        """
        torch.cuda.set_device(self.stream.device)
        with torch.cuda.stream(self.stream):
            copies = [
                tensor if tensor.is_cuda else page_locked(tensor).to(self.device, non_blocking=True)
                for tensor in tensors
            ]
            return copies, self.stream.record_event()

    def hand_over(self, copies: Sequence[Tensor], complete: torch.cuda.Event) -> None:
        """Let the caller's stream use copies; it waits for them, the host does not.

        Their memory belongs to the stream that it was allocated on, which may use it again only after the caller's has
        done what it had to do when they are let go.
        """
        here = torch.cuda.current_stream(self.device)
        here.wait_event(complete)
        for copy in copies:
            copy.record_stream(here)

    def let_go(self) -> torch.cuda.Event:
        """What happens once the caller's stream has done what it was given up to now, a use of copies say."""
        done = torch.cuda.Event(blocking=True)  # who waits for it sleeps
        done.record(torch.cuda.current_stream(self.device))
        return done


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of an engine on ``device``, for the caller's stream; the host does not wait.

    What is there already was made on a stream of the engine, whose memory it is: that of a batch which is let go might
    be written again before the caller's stream has read it.
    """
    if tensor.is_cuda:
        tensor.record_stream(torch.cuda.current_stream(tensor.device))
        return tensor
    return tensor.to(device, non_blocking=True)


def uploaded(
    batches: Iterable[B], tensors_of: Callable[[B], list[Tensor]], stream: CopyStream | None
) -> Iterator[tuple[B, list[Tensor]]]:
    """Each batch with its tensors on the device, for the stream that is current where this is iterated.

    A thread takes the batches and begins the copies, so that the caller never waits for a batch but the one it wants.
    It waits for the device where the caller has run ahead of it: each step that is still to be computed holds a batch.

    Args:
        batches: from an engine.
        tensors_of: what is copied of a batch; called on that thread.
        stream: copies; None: nothing is copied, and no thread is needed.
    """
    if stream is None:
        for batch in batches:
            yield batch, tensors_of(batch)
        return
    used: deque[torch.cuda.Event] = deque()

    def begun() -> Iterator[tuple[B, list[Tensor], torch.cuda.Event]]:
        for number, batch in enumerate(batches):
            if number > AHEAD + 1:  # there was room for this one once the caller had come back from the one waited for
                used.popleft().synchronize()
            yield batch, *stream.copy(tensors_of(batch))

    with closing(prefetch(begun(), AHEAD)) as ahead:  # type: ignore[type-var]
        for batch, copies, complete in ahead:
            stream.hand_over(copies, complete)
            yield batch, copies
            used.append(stream.let_go())
