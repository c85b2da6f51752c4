"""Facts about this machine: its processor, its memory, and what is installed. Free of torch, for all three packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = (
    "torch",
    "torchvision",
    "triton",
    "numpy",
    "numba",
    "opencv-python",
    "pillow",
    "simplejpeg",
    "ffcv",
    "nvidia-dali-cuda130",
)
"""Whose versions a figure or a result may depend on."""

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CPU_INFO = Path("/proc/cpuinfo")
VECTORS = {"avx512bw": 512, "avx2": 256, "sve": 128, "asimd": 128, "sse2": 128}  # bits, the widest first


def cores() -> int:
    """The cores that this process may use: a job on a shared machine is given fewer than there are."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """The processor, as its maker calls it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def vector_bits() -> int:
    """The widest vectors of whole numbers that the processor computes with, in bits; 0: not known.

    Two processors of one name differ in it under some virtual machines, and kernels' speeds with it.
    """
    flags = set((_cpu_info("flags") or _cpu_info("Features")).split())
    return next((bits for flag, bits in VECTORS.items() if flag in flags), 0)


def memory_bytes() -> int:
    """The memory that this machine or container has, used or not: what is free changes from one resume to the next."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, CGROUP_LIMITS):
        text = path.read_text().strip() if path.exists() else "max"
        if text != "max":
            found.append(int(text))
    return min(found)


def system() -> str:
    """The operating system and its version."""
    return platform.platform()


def python() -> str:
    """The version of Python."""
    return platform.python_version()


def version(package: str) -> str | None:
    """The installed version of a distribution; None if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Those of `PACKAGES` that are installed, with their versions."""
    return {name: found for name in PACKAGES if (found := version(name))}


def _cpu_info(field: str) -> str:
    """What the kernel says of the first processor; "" where it does not."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
