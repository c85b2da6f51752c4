"""How the kernels are compiled: without Python's lock, by the rules of IEEE 754, entry points kept on disk.

No ``fastmath``: nothing is reordered, so the bits do not depend on the processor's vectors.
"""

from __future__ import annotations

from numba import njit

kernel = njit(nogil=True, error_model="numpy")
"""A function that only other kernels call; it becomes a part of each."""

inlined = njit(nogil=True, error_model="numpy", forceinline=True)
"""A kernel so small that a call with its arrays would cost more than its work."""

entry_point = njit(nogil=True, error_model="numpy", cache=True)
"""A function that Python calls."""
