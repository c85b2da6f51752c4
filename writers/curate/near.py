"""Find what is close in Hamming distance among millions, without comparing all with all.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", 2012): of two
hashes that differ in at most 15 of 256 bits, at least one of the 8 words of 32 bits differs in at most one. So each
word has a hash table of its own, in which a query looks up its word and the 32 that differ from it in one bit. This
finds every such pair. The time of a query does not grow with the count; the memory is 100 to 130 bytes a hash.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from writers.curate.fingerprint import BANDS

WORD_BITS = 32
DISTANCE = 2 * BANDS - 1
"""Two hashes are near when they differ in at most this many bits: the most for which the search misses nothing."""

_NONE = np.int32(-1)


class NearIndex:
    """Hashes of (8,) uint32 that can be asked for one close to another."""

    def __init__(self) -> None:
        self._count = 0
        self._reserve(1024)

    def __len__(self) -> int:
        return self._count

    def find(self, look: np.ndarray) -> int | None:
        """The number, counted from 0 in the order of ``add``, of the earliest hash within ``DISTANCE``, or None."""
        found = _find(look, self._looks, self._heads, self._next)
        return None if found == _NONE else int(found)

    def add(self, look: np.ndarray) -> None:
        """Take in a hash."""
        if self._count == len(self._looks):
            earlier = self._looks
            self._reserve(2 * self._count)
            self._looks[: self._count] = earlier
            for number in range(self._count):
                _insert(number, self._looks, self._heads, self._next)
        self._looks[self._count] = look
        _insert(self._count, self._looks, self._heads, self._next)
        self._count += 1

    def _reserve(self, capacity: int) -> None:
        """Empty tables for a power of two of hashes: the first entry of each slot, and the one after each entry."""
        self._looks = np.zeros((capacity, BANDS), np.uint32)
        self._heads = np.full((BANDS, capacity), _NONE)
        self._next = np.full((BANDS, capacity), _NONE)


@njit(cache=True)
def _slot(word, slots):  # type: ignore[no-untyped-def]
    """Fibonacci hashing: the upper half of a product, for any power of two of slots up to 2^32."""
    return ((np.uint64(word) * np.uint64(11400714819323198485)) >> np.uint64(32)) & np.uint64(slots - 1)


@njit(cache=True)
def _insert(number, looks, heads, following):  # type: ignore[no-untyped-def]
    for band in range(looks.shape[1]):
        slot = _slot(looks[number, band], heads.shape[1])
        following[band, number] = heads[band, slot]
        heads[band, slot] = number


@njit(cache=True)
def _differing_bits(a, b):  # type: ignore[no-untyped-def]
    """The Hamming distance, counting the bits of a word in parallel (Hacker's Delight, section 5-1)."""
    total = np.uint64(0)
    for band in range(a.shape[0]):
        x = np.uint64(a[band] ^ b[band])
        x = x - ((x >> np.uint64(1)) & np.uint64(0x55555555))
        x = (x & np.uint64(0x33333333)) + ((x >> np.uint64(2)) & np.uint64(0x33333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F)
        total += ((x * np.uint64(0x01010101)) >> np.uint64(24)) & np.uint64(0xFF)
    return total


@njit(cache=True)
def _find(look, looks, heads, following):  # type: ignore[no-untyped-def]
    best = _NONE
    for band in range(look.shape[0]):
        for flipped in range(WORD_BITS + 1):
            word = look[band]
            if flipped < WORD_BITS:
                word = word ^ np.uint32(np.uint64(1) << np.uint64(flipped))
            number = heads[band, _slot(word, heads.shape[1])]
            while number != _NONE:
                if (best == _NONE or number < best) and _differing_bits(look, looks[number]) <= DISTANCE:
                    best = number
                number = following[band, number]
    return best
