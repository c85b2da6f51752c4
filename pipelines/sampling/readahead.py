"""Files larger than memory: whether they are, and telling the kernel which pages come next and which are done with.

The mapping alone would fault in 4 KiB at a time, when the decoder is already waiting, and would leave the kernel to
guess what may go. In page order we know both.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right

from frl.machine import memory_bytes
from pipelines.sampling.beton_set import BetonSet
from pipelines.sampling.order import EpochOrder

MEMORY_SHARE = 0.5  # of the memory that files in random order may fill; the rest is for batches and the program
ASK_BYTES = 128 << 10  # Linux cuts a request for more than the device's read-ahead short, and 128 KiB is its default


def fits_memory(nbytes: int) -> bool:
    """Whether files of ``nbytes`` may be read in random order: whether they fill at most ``MEMORY_SHARE`` of memory."""
    return nbytes <= MEMORY_SHARE * memory_bytes()


class ReadAhead:
    """Reads the windows of an epoch ahead of the consumer, and lets go of those that it has left.

    While the consumer is in a window, the next one is read at the same pace; so the window before, the one at hand and
    the next are all that stays: three windows at most. Another process that reads the same files keeps its own mapping:
    the pages it uses stay.

    Args:
        betons: the files.
        order: of the epoch; in random order nothing is done.
        place: the place in ``order.samples`` where the consumer begins.
    """

    def __init__(self, betons: BetonSet, order: EpochOrder, place: int) -> None:
        self.betons = betons
        self.order = order
        self.files = [os.open(beton.path, os.O_RDONLY) for beton in betons.betons] if order.windows else []
        self.dropped = self.asked = self._window_of(place)  # windows before ``dropped`` are out of memory
        self.pages_asked = 0  # of window ``asked``; those before it were asked for whole
        if self.asked < len(order.windows):
            self._ask(self.asked, 1.0)

    def advance(self, first: int, last: int) -> None:
        """The consumer is done with all places before ``first`` and asks for those up to ``last``."""
        window = self._window_of(last)
        if window >= len(self.order.windows):
            return
        begin = self.order.stops[window - 1] if window else 0
        share = (last + 1 - begin) / (self.order.stops[window] - begin)
        for behind in range(self.asked, window + 1):
            self._ask(behind, 1.0)
        if window + 1 < len(self.order.windows):
            self._ask(window + 1, share)
        while self.dropped < self._window_of(first):
            self._drop(self.dropped)
            self.dropped += 1

    def close(self) -> None:
        """Let go of every window that may still be in memory, and close the files."""
        for window in range(self.dropped, min(self.asked + 1, len(self.order.windows))):
            self._drop(window)
        for file in self.files:
            os.close(file)
        self.files = []

    def _window_of(self, place: int) -> int:
        return bisect_right(self.order.stops, place)

    def _ask(self, window: int, share: float) -> None:
        """Read the first ``share`` of the pages of a window, if that has not been asked for."""
        if window > self.asked:
            self.asked, self.pages_asked = window, 0
        pages = self.order.windows[window]
        upto = round(share * len(pages))
        if window < self.asked or upto <= self.pages_asked:
            return
        for page in pages[self.pages_asked : upto].tolist():
            file, start, stop = self.betons.page_bytes(page)
            for offset in range(start, stop, ASK_BYTES):
                os.posix_fadvise(self.files[file], offset, ASK_BYTES, os.POSIX_FADV_WILLNEED)
        self.pages_asked = upto

    def _drop(self, window: int) -> None:
        """Take a window out of this process's mapping, then out of the page cache, which keeps what others map."""
        for page in self.order.windows[window].tolist():
            file, start, stop = self.betons.page_bytes(page)
            self.betons.betons[file].advise(mmap.MADV_DONTNEED, start, stop)
            os.posix_fadvise(self.files[file], start, stop - start, os.POSIX_FADV_DONTNEED)
