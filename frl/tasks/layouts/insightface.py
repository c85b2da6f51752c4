"""Verification sets of insightface (https://github.com/deepinsight/insightface): ``lfw.bin``, ``cfp_fp.bin``, ...

A file is one pickle of a pair ``(images, same)``: 2 P encoded images, of which number 2 k and 2 k + 1 are pair k, and P
truth values. A pickle is a program. This reader runs none: it admits lists, tuples, bytes, truth values, and numpy's
scalars and arrays of bytes and truth values, which are built here and not by what the file names.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError, blame_machine
from frl.tasks.layouts.pairs import FacePairs, even_folds

REMEDY = "Give a .bin of insightface's verification sets; fetch it again if it is one."


def open_bin(path: str | os.PathLike[str], folds: int = 10) -> FacePairs:
    """The pairs of a ``.bin`` in its order, parted into consecutive folds as the authors' evaluation does.

    The file is held in memory: those that are published have about 100 MB.

    Args:
        path: the file.
        folds: at least 2.

    Raises:
        SourceError: if it cannot be read, holds anything but images and truth values, or has fewer pairs than folds.
    """
    path = Path(path)
    images, same = _contents(path)
    if len(same) < folds:
        raise SourceError(path, f"its {len(same)} pairs make no {folds} folds", "Ask for fewer folds.")
    if same.all() or not same.any():
        raise SourceError(path, "all its pairs are of one kind", REMEDY)
    return FacePairs(
        names=tuple(f"{path.name}/{number:05}" for number in range(len(images))),
        read=images.__getitem__,
        index=np.arange(len(images), dtype=np.int64).reshape(-1, 2),
        same=same,
        fold=even_folds(len(same), folds),
        folds=tuple(str(fold + 1) for fold in range(folds)),
    )


def _contents(path: Path) -> tuple[list[bytes], NDArray[np.bool_]]:
    """The encoded images and the truth values."""
    try:
        with open(path, "rb") as stream:
            # Strings of Python 2 become bytes.
            found = _Unpickler(stream, encoding="bytes").load()
    except _Refusal as error:
        raise SourceError(path, str(error), "Fetch it from its authors, and open it with nothing else.") from error
    except Exception as error:  # a damaged pickle raises whatever its opcodes stumble over
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"is no pickle of pairs ({type(error).__name__}: {error})", REMEDY) from error
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise SourceError(path, f"holds a {type(found).__name__} where (images, same) is wanted", REMEDY)
    bins, same = (_plain(part) for part in found)
    if not isinstance(bins, tuple | list) or not isinstance(same, tuple | list):
        raise SourceError(path, "its images or truth values are no list", REMEDY)
    if len(bins) != 2 * len(same) or not len(same):
        raise SourceError(path, f"has {len(bins):,} images for {len(same):,} pairs", REMEDY)
    return [_image(path, number, said) for number, said in enumerate(bins)], _truths(path, same)


def _image(path: Path, number: int, said: object) -> bytes:
    said = _plain(said, flat=True)
    if not isinstance(said, bytes | bytearray):
        raise SourceError(path, f"its image {number} is of type {type(said).__name__}, not bytes", REMEDY)
    return bytes(said)


def _truths(path: Path, said: Sequence[Any]) -> NDArray[np.bool_]:
    """Truth values, or whole numbers 0 and 1."""
    values = [_plain(value) for value in said]
    for number, value in enumerate(values):
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise SourceError(path, f"says of pair {number} {value!r}, neither true nor false", REMEDY)
    return np.array(values, bool)


def _plain(said: Any, flat: bool = False) -> Any:
    """What stands for an array or a scalar of numpy, as Python's own; an array of bytes as bytes if ``flat``."""
    if isinstance(said, _Array):
        array = said.array
        return array.tobytes() if flat and array.dtype == np.uint8 else array.tolist()
    return said.item() if isinstance(said, np.generic) else said


class _Refusal(Exception):
    """What a pickle holds that is not admitted."""


class _Type:
    """Stands for ``numpy.dtype``: of truth values and whole numbers alone. Objects would be pickles in the pickle."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = code.decode() if isinstance(code, bytes) else code
        if code not in ("b1", "u1", "i1", "i4", "i8", "u4", "u8"):
            raise _Refusal(f"holds numpy values of the type {code!r}, not bytes or truth values")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order if order in ("<", ">") else "=")


class _Array:
    """Stands for ``numpy.ndarray``."""

    array: NDArray[Any] = np.empty(0, bool)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, data = state
        data = data.encode("latin-1") if isinstance(data, str) else data
        self.array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if by_column else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(kind: _Type, data: Any) -> np.generic:
    data = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(data, kind.dtype, count=1)[0]


def _from_buffer(data: Any, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    made = _Array()
    made.array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")
    return made


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise _Refusal(f"holds text in {encoding}")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """How Python 3 writes empty bytes in the protocols of Python 2."""
    return b""


def _never() -> NoReturn:
    raise _Refusal("calls an array's class")


ADMITTED = {
    **{(module, "dtype"): _Type for module in ("numpy", "numpy.dtypes")},
    ("numpy", "ndarray"): _never,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
}
"""What a file may name, and what is called in its place."""


class _Unpickler(pickle.Unpickler):
    """Builds lists, tuples, bytes, numbers and truth values; refuses whatever else a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; raises ``_Refusal`` for all but the admitted."""
        if (module, name) not in ADMITTED:
            raise _Refusal(f"names {module}.{name}, which no images and truth values need: it may hold code")
        return ADMITTED[module, name]

    def persistent_load(self, pid: object) -> Any:
        """Refuses references to what is not in the file."""
        raise _Refusal(f"refers to {pid!r}, which is not in the file")
