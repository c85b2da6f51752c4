"""insightface's ``.bin``: as really stored by Python 2 and 3, and what must never run."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frl.errors import SourceError
from frl.tasks.layouts.insightface import open_bin

IMAGES = [b"\xff\xd8 first", b"\x89PNG second \x00\xe9", b"third", b"", b"fifth" * 100, b"sixth", b"7", b"8"]
SAME = [True, False, True, False]


def python2(images: list[bytes], same: list[bool]) -> bytes:
    """Protocol 2 as Python 2 writes it, opcode by opcode: its strings are SHORT_BINSTRING and BINSTRING."""

    def text(data: bytes) -> bytes:
        short = len(data) < 256
        return (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data

    memo = iter(range(256))
    put = lambda: b"q" + bytes([next(memo)])  # noqa: E731
    listed = b"]" + put() + b"(" + b"".join(text(image) + put() for image in images) + b"e"
    truths = b"]" + put() + b"(" + b"".join(b"\x88" if value else b"\x89" for value in same) + b"e"
    return b"\x80\x02" + listed + truths + b"\x86" + put() + b"."


class Named:
    """Pickled as a call of whatever function it is given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


STORED = {
    "python 2": python2(IMAGES, SAME),
    **{f"python 3, protocol {number}": pickle.dumps((IMAGES, SAME), number) for number in range(6)},
    "a list of two": pickle.dumps([IMAGES, SAME]),
    "truths of numpy": pickle.dumps((IMAGES, list(np.array(SAME)))),
    "truths of numpy by protocol 2": pickle.dumps((IMAGES, list(np.array(SAME))), 2),
    "an array of truths": pickle.dumps((IMAGES, np.array(SAME)), 2),
    "an array of truths by protocol 5": pickle.dumps((IMAGES, np.array(SAME)), 5),
    "numbers": pickle.dumps((IMAGES, [1, 0, 1, 0])),
    "images as OpenCV encodes them": pickle.dumps(([np.frombuffer(i, np.uint8).reshape(-1, 1) for i in IMAGES], SAME)),
    "of numpy before 2": pickle.dumps((IMAGES, np.array(SAME)), 2).replace(b"numpy._core.", b"numpy.core."),
}


def written(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "lfw.bin").write_bytes(data)
    return tmp_path / "lfw.bin"


@pytest.mark.parametrize("kind", STORED)
def test_images_and_truths_are_read_whoever_stored_them(tmp_path: Path, kind: str) -> None:
    faces = open_bin(written(tmp_path, STORED[kind]), folds=3)
    assert [faces.read(row) for row in range(len(faces.names))] == IMAGES
    assert faces.same.tolist() == SAME
    assert faces.index.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert faces.fold.tolist() == [0, 0, 1, 2]  # as KFold(3) parts four


class Mischief:
    """Makes a file if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


OPCODES = {
    "inst": lambda path: b"(S'" + path.encode() + b"'\nios\nmkdir\n.",
    "obj": lambda path: b"(cos\nmkdir\nS'" + path.encode() + b"'\no.",
    "stack global": lambda path: pickle.dumps(Mischief(Path(path)), 4),
    "among the images": lambda path: pickle.dumps(([Mischief(Path(path)), b"x"], [True]), 2),
    "builtins": lambda path: b'c__builtin__\neval\n(S\'__import__("os").mkdir("' + path.encode() + b"\")'\ntR.",
    "attributes of what is admitted": lambda path: pickle.dumps(Named(np.ndarray.__reduce__, 1), 4),
}


@pytest.mark.parametrize("kind", OPCODES)
def test_code_is_refused_by_name_and_does_not_run(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, OPCODES[kind](str(tmp_path / "made")))
    with pytest.raises(SourceError, match=r"lfw\.bin: names [\w.]+, which no images and truth values need") as caught:
        open_bin(path)
    assert not (tmp_path / "made").exists()
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is no pickle"),
        (b"<html>not found", "is no pickle"),
        (STORED["python 2"][:-40], "is no pickle"),
        (b"\x80\x02}q\x00.", "holds a dict"),
        (pickle.dumps((IMAGES, SAME, 1)), "holds a tuple"),
        (pickle.dumps((IMAGES, SAME[:3])), "has 8 images for 3 pairs"),
        (pickle.dumps(([], [])), "has 0 images for 0 pairs"),
        (pickle.dumps(([*IMAGES[:7], "text"], SAME)), "its image 7 is of type str"),
        (pickle.dumps((IMAGES, [True, False, 2, False])), "says of pair 2 2, neither true nor false"),
        (pickle.dumps((IMAGES, [True, False, None, False])), "says of pair 2 None"),
        (pickle.dumps((IMAGES, [7, True, False, False])), "says of pair 0 7, neither true nor false"),
        (pickle.dumps((IMAGES, [True] * 4)), "all its pairs are of one kind"),
        (pickle.dumps((np.array(IMAGES, object), SAME), 2), "numpy values of the type 'O8'"),
        (pickle.dumps((IMAGES, np.array([1.0, 0.0, 1.0, 0.0])), 2), "numpy values of the type 'f8'"),
        (b"\x80\x02Pelsewhere\n.", "refers to 'elsewhere'"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "calls an array's class"),
    ],
)
def test_what_is_no_set_of_pairs_is_refused(tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(SourceError, match=rf"lfw\.bin: .*({cause})"):
        open_bin(written(tmp_path, content), folds=2)


def test_too_few_pairs_for_the_folds_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its 4 pairs make no 10 folds"):
        open_bin(written(tmp_path, STORED["python 2"]))
    with pytest.raises(SourceError, match=r"absent\.bin"):
        open_bin(tmp_path / "absent.bin")
