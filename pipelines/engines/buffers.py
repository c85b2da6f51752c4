"""Memory for finished batches, used again once nobody holds it."""

from __future__ import annotations

import weakref
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray


class Buffers:
    """Gives out memory as tensors, and takes it back when the last tensor on it is gone.

    Fresh memory costs the kernel's zeroing of every page: for the crops of SwAV a fifth of a millisecond an image, as
    much as a third of the decoding. Page-locked memory needs no such care: torch keeps that by itself.

    May be called from several threads.

    Args:
        pin: give out page-locked memory.
    """

    def __init__(self, pin: bool) -> None:
        self.pin = pin
        self.size = 0
        self.idle: list[NDArray[np.uint8]] = []

    def take(self, size: int) -> torch.Tensor:
        """``(size,)`` uint8 with anything in it. Memory of the size last asked for is kept, other memory is freed."""
        if self.pin:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)
        if size != self.size:
            self.size = size
            self.idle.clear()
        memory = None
        with suppress(IndexError):  # asking first whether there is some would leave another thread time to take it
            memory = self.idle.pop()
        if memory is None or memory.size != size:
            memory = np.empty(size, dtype=np.uint8)
        lent = memory[:]  # a tensor, and all views of it, keep this object alive
        weakref.finalize(lent, self.take_back, memory).atexit = False
        return torch.from_numpy(lent)

    def take_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory that nobody holds any longer."""
        if memory.size == self.size:
            self.idle.append(memory)
