"""How the kernels are compiled: without Python's lock, by the rules of IEEE 754, entry points kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba.extending
from numba import njit

FOLDER = Path(__file__).parent
SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.py")))).hexdigest()[:12]

kernel = njit(nogil=True, error_model="numpy")
"""A function that only other kernels call; it becomes a part of each."""

inlined = njit(nogil=True, error_model="numpy", forceinline=True)
"""A kernel so small that a call with its arrays would cost more than its work."""


def entry_point(function: Callable) -> Any:
    """A function that Python calls: compiled once, then read from the disk.

    numba looks whether the file of the function changed, not those of the kernels within it, and would go on with the
    old ones. So the name under which it is kept tells the sources of all.
    """
    function.__qualname__ += f"_{SOURCES}"
    return njit(nogil=True, error_model="numpy", cache=True)(function)


def intrinsic(define: Callable) -> Any:
    """A function given as LLVM's instructions; kernels call it with values, where its definition takes their types."""
    return numba.extending.intrinsic(define)
