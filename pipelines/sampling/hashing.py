"""A counter-based random source: random bits as a pure function of integers, with no state to save or to share.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014),
whose n-th output is a finaliser applied to ``seed + (n + 1) * GOLDEN``: any output can be computed alone. Several
counters are folded in by using the output at the first counter as the seed for the second, and so on. Only 64-bit
additions, multiplications, shifts and exclusive-ors take part: NumPy, numba, torch and Triton give the same bits.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


class Stream(IntEnum):
    """What the bits are for: the first counter after the seed, so that no two uses share bits."""

    CROPS = 0
    ORDER = 1
    PAGES = 2
    ROUND = 3
    WARP = 4


def fold(state: ArrayLike, counter: ArrayLike) -> NDArray[np.uint64]:
    """Output number ``counter`` of SplitMix64 seeded with ``state``; both broadcast, negative integers wrap."""
    with np.errstate(over="ignore"):
        z = _wrap(state) + (_wrap(counter) + np.uint64(1)) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


def uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), multiples of 2**-53, from the upper 53 bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _wrap(value: ArrayLike) -> NDArray[np.uint64]:
    if isinstance(value, int):
        return np.asarray(value & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    return np.asarray(value).astype(np.uint64)
