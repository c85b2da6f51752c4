"""What a configuration says of an option that cannot work: in words, before anything is begun."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

from frl.errors import ConfigError
from frl.store import address


def require(condition: bool, option: str, cause: str, remedy: str) -> None:
    """Refuse an option, named as on the command line but for its dashes, unless ``condition`` holds.

    Raises:
        ConfigError: with the cause and the remedy.
    """
    if not condition:
        raise ConfigError(f"--{option.replace('_', '-')}", cause, remedy)


def require_least(option: str, value: float, least: float, remedy: str) -> None:
    """Refuse a number below ``least``, an infinite one and NaN; raises like `require`."""
    require(math.isfinite(value) and value >= least, option, f"{value} is not a number of at least {least}", remedy)


def require_above(option: str, value: float, bound: float, remedy: str) -> None:
    """Refuse a number that is not above ``bound``, an infinite one and NaN; raises like `require`."""
    require(math.isfinite(value) and value > bound, option, f"{value} is not a number above {bound}", remedy)


def require_within(option: str, value: float, low: float, high: float, remedy: str) -> None:
    """Refuse a number outside of [low, high] and NaN; raises like `require`."""
    require(low <= value <= high, option, f"{value} is not a number from {low} to {high}", remedy)


def require_some(files: Collection[Path], what: str) -> None:
    """Refuse a command that was given no file to work on, ``what`` being their name in its help.

    Raises:
        ConfigError: so that doing nothing is not taken for success.
    """
    if not files:
        raise ConfigError(what, "nothing to work on was given", "Name at least one .beton.")


def require_seed(option: str, value: int) -> None:
    """Refuse what PyTorch or NumPy take for no seed; raises like `require`."""
    require_within(option, value, 0, 2**63 - 1, "Use e.g. 0.")


def require_file(path: Path, option: str) -> None:
    """Refuse a path at which there is no file; raises like `require`."""
    require(not path.is_dir(), option, f"{path} is a folder, where a file is wanted", "Name the file.")
    if not path.exists() and (where := address(path)) is not None:
        remedy = f"Fetch it first: {'frl pull ' if where.endswith('.beton') else ''}{where}."
        require(False, option, f"{where} lies in an object store, and is read from a disk", remedy)
    require(path.exists(), option, f"{path}: no such file", "Check the path.")


def require_there(path: Path, option: str) -> None:
    """Refuse a path at which there is nothing, unless it has a form of its own (KIND:PATH, s-{0..9}.tar); as above."""
    plain = not any(mark in str(path) for mark in ":{*?[")
    require(path.exists() or not plain, option, f"{path}: no such file or folder", "Check the path.")


def require_folder(path: Path, option: str) -> None:
    """Refuse a path at which there is no folder; raises like `require`."""
    require(path.exists(), option, f"{path}: no such folder", "Check the path.")
    require(path.is_dir(), option, f"{path} is a file, where a folder is wanted", "Name the folder.")


def require_new_file(path: Path, option: str, *, overwrite: bool = True) -> None:
    """Refuse a path at which no file can be made, or, without ``overwrite``, one is already; raises like `require`."""
    require(not path.is_dir(), option, f"{path} is a folder, where a file is wanted", "Name a file in it.")
    remedy = "Give another name, or replace it with --overwrite."
    require(overwrite or not path.exists(), option, f"{path} exists already", remedy)
    _require_writable(path.absolute().parent, option)


def require_new_folder(path: Path, option: str) -> None:
    """Refuse a path at which there is no folder and none can be made; raises like `require`."""
    require(path.is_dir() or not path.exists(), option, f"{path} is a file, where a folder is wanted", "Name another.")
    _require_writable(path.absolute(), option)


def _require_writable(folder: Path, option: str) -> None:
    """Refuse a folder that does not take files, or that cannot be made within the first of its parents that exists."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    require(there.is_dir(), option, f"{there} is a file, where a folder is wanted", "Name another place.")
    cause = f"{there} cannot be written by this user"
    require(os.access(there, os.W_OK | os.X_OK), option, cause, "Change its permissions, or name another place.")
