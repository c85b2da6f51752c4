"""Which sample when: a pure function of (seed, epoch, step), the same on any number of ranks.

An epoch is an order of samples cut into global steps of equal length; what is left at its end is dropped. Rank r of W
takes the r-th of W equal parts of each step, so a run may be stopped after any step and go on with another number of
ranks.

*Random* order is a uniform permutation, for files that memory holds: it reads all over the files. *Page order*, for
larger ones, takes pages in random order, a window of them at a time, and mixes the samples of a window uniformly: whole
pages are read, each once an epoch, and a window or two is all that memory must hold. docs/order.md measures both.

Several files are mixed by weight. An epoch is the longest stretch in which no sample comes twice: of the file whose
weight is largest for its size it takes every sample, of the others as many as their weights say, in turn, so that after
any number of epochs two samples of one file have been used equally often, give or take one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipelines.sampling.hashing import Stream, fold, uniform

Samples = NDArray[np.int64]


@dataclass(frozen=True)
class EpochOrder:
    """The samples of one epoch.

    Attributes:
        samples: ``(n,)`` int64, first to last.
        windows: the pages of each window, int64, in the order of reading; none in random order.
        stops: for each window, the place in ``samples`` where it ends.
    """

    samples: Samples
    windows: tuple[NDArray[np.int64], ...] = ()
    stops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Order:
    """The order of every epoch of a run.

    Attributes:
        pages: ``(N,)`` int64, the page that each sample lies in; no two files share a page.
        starts: ``(F + 1,)`` int64, where each file's samples begin, and N.
        shares: samples of each file in an epoch, at most those it has.
        seed: seed of the run.
        window: pages whose samples are mixed with each other; 0: random order.
    """

    pages: NDArray[np.int64]
    starts: NDArray[np.int64]
    shares: tuple[int, ...]
    seed: int
    window: int = 0

    def __len__(self) -> int:
        return sum(self.shares)

    def __str__(self) -> str:
        """The law in words: with the data set and the seed it fixes every order of the run."""
        kind = f"pages, {self.window} to a window" if self.window else "random"
        sizes = np.diff(self.starts).tolist()
        if len(sizes) == 1:
            return kind
        parts = [f"{share:,} of {size:,}" for share, size in zip(self.shares, sizes, strict=True)]
        return f"{kind}, an epoch of {' + '.join(parts)}"

    def epoch(self, epoch: int) -> EpochOrder:
        """The order of epoch number ``epoch``."""
        samples = np.concatenate([self._turn(file, epoch) for file in range(len(self.shares))])
        if self.window == 0:
            return EpochOrder(shuffled(samples, self.seed, epoch))
        files = np.searchsorted(self.starts, samples, side="right") - 1
        return page_order(samples, self.pages[samples], files, self.window, self.seed, epoch)

    def _turn(self, file: int, epoch: int) -> Samples:
        """The samples of a file whose turn it is: the next ``share`` of a round that is drawn once for the run."""
        start, stop = self.starts[file : file + 2]
        samples, share = np.arange(start, stop), self.shares[file]
        if share == len(samples):
            return samples
        keys = fold(fold(self.seed, Stream.ROUND), samples)
        # In page order whole pages take turns, so that an epoch leaves the others unread.
        pages = fold(fold(self.seed, Stream.ROUND), self.pages[samples]) if self.window else np.zeros_like(keys)
        turn = np.arange(epoch * share, (epoch + 1) * share) % len(samples)
        return samples[np.lexsort((keys, pages))[turn]]


def shares_by_weight(sizes: Sequence[int], weights: Sequence[float]) -> tuple[int, ...]:
    """Samples of each file in an epoch: in the ratio of the weights, and as many as come without repeating one.

    Args:
        sizes: samples in each file.
        weights: finite and above 0, one a file; none: the sizes.
    """
    exact = [Fraction(weight) for weight in weights or sizes]
    scale = min(size / weight for size, weight in zip(sizes, exact, strict=True))
    return tuple(int(weight * scale) for weight in exact)


def permutation(n: int, seed: int, epoch: int) -> Samples:
    """A uniform permutation of ``n`` samples: ``(n,)`` int64."""
    return shuffled(np.arange(n), seed, epoch)


def shuffled(samples: Samples, seed: int, epoch: int) -> Samples:
    """The samples in uniformly random order: sorted by their hash."""
    return samples[np.argsort(_keys(samples, Stream.ORDER, seed, epoch), kind="stable")]


def page_order(
    samples: Samples, pages: NDArray[np.int64], files: NDArray[np.int64], window: int, seed: int, epoch: int
) -> EpochOrder:
    """Shuffle the pages, then the samples within each ``window`` of them.

    The pages of every file are spread evenly over the epoch, so that each window mixes the files alike.

    Args:
        samples: ``(n,)`` int64, the samples of the epoch, each once.
        pages: ``(n,)`` int64, the page that each of them lies in.
        files: ``(n,)`` int64, the file that each of them lies in.
        window: pages whose samples are mixed with each other, at least 1.
        seed: seed of the run.
        epoch: number of the epoch.
    """
    numbers, first, page_of_sample = np.unique(pages, return_index=True, return_inverse=True)
    visits = _spread(numbers, files[first], seed, epoch)
    window_of_page = np.empty(len(numbers), dtype=np.int64)
    window_of_page[visits] = np.arange(len(numbers)) // window
    of_sample = window_of_page[page_of_sample]
    order = np.lexsort((_keys(samples, Stream.ORDER, seed, epoch), of_sample))
    return EpochOrder(
        samples=samples[order],
        windows=tuple(numbers[visits[i : i + window]] for i in range(0, len(numbers), window)),
        stops=tuple(np.cumsum(np.bincount(of_sample)).tolist()),
    )


def _spread(pages: NDArray[np.int64], files: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.intp]:
    """The order of the pages: random within a file, the k-th of a file's n pages between k/n and (k+1)/n of the way."""
    keys = _keys(pages, Stream.PAGES, seed, epoch)
    order = np.lexsort((keys, files))
    files = files[order]
    rank = np.arange(len(pages)) - np.searchsorted(files, files)
    place = (rank + uniform(fold(keys[order], 0))) / np.bincount(files)[files]
    return order[np.argsort(place, kind="stable")]


def step_samples(order: Samples, step: int, batch_size: int) -> Samples:
    """The samples of a global step, over all ranks: ``(batch_size,)``."""
    return order[step * batch_size : (step + 1) * batch_size]


def rank_share(batch_size: int, rank: int, world: int) -> slice:
    """The positions within a global step that belong to ``rank``; ``world`` must divide ``batch_size``."""
    local = batch_size // world
    return slice(rank * local, (rank + 1) * local)


def _keys(counters: NDArray[np.int64], stream: Stream, seed: int, epoch: int) -> NDArray[np.uint64]:
    return fold(fold(fold(seed, stream), epoch), counters)
