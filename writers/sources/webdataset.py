"""WebDataset (https://github.com/webdataset/webdataset): tars in which the files of a sample share a key.

``0001.jpg`` is the image of the sample ``0001``. ``0001.cls`` says who is on it; ``0001.json`` may have ``identity``,
``box`` and ``points`` (see ``parse_face``). Other files, such as captions in ``0001.txt``, are not read.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from frl.errors import SourceError
from writers.sources.annotations import Face, candidates, parse_face
from writers.sources.source import Candidate, Entry
from writers.sources.tar import CompressedTars, Tars, open_tars
from writers.sources.tar_members import Member

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST_SHARDS = 1_000_000


@dataclass(frozen=True)
class WebDataset:
    """The images of shards.

    Attributes:
        store: the shards.
    """

    store: Tars | CompressedTars

    def candidates(self) -> Iterator[Candidate]:
        """List the samples in the shards' order; see ``Source``."""
        self.store.skipped.clear()
        for _, files in itertools.groupby(self.store.members(_describes), key=lambda file: _key(file[1].path)):
            sample = list(files)
            face = _face([member for _, member in sample])
            for place, member in sample:
                if not _describes(member) and self.store.lists(member):
                    yield from candidates(Entry(member.path, place, member.fault), [face])


def open_shards(pattern: str) -> WebDataset:
    """The shards that a pattern means: a tar, a folder of tars, or a path with ``{000..146}``, ``{a,b}``, ``*``, ``?``.

    Raises:
        SourceError: if there are none, or one is missing.
    """
    location = os.path.abspath(pattern)
    if os.path.isdir(location):
        paths = sorted(glob.glob(os.path.join(glob.escape(location), "*.tar*")))
    elif os.path.exists(location):
        paths = [location]
    else:
        paths = [path for expanded in expand_braces(location) for path in _matches(expanded)]
    if not paths:
        raise SourceError(
            pattern, "no tar is there", "Give a tar, a folder of tars, or a pattern such as s-{00..99}.tar."
        )
    return WebDataset(open_tars(location, tuple(paths)))


def is_pattern(path: str) -> bool:
    """Whether a path looks like several tars."""
    return ".tar" in path and not os.path.exists(path) and bool(BRACES.search(path) or glob.has_magic(path))


def expand_braces(pattern: str) -> Iterator[str]:
    """All texts that a pattern with ``{a,b}`` and ``{08..11}`` stands for, in its order, as the shell expands them."""
    match = BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    head, tail = pattern[: match.start()], pattern[match.end() :]
    if span := RANGE.fullmatch(match[1]):
        first, last = int(span[1]), int(span[2])
        if abs(last - first) >= MOST_SHARDS:
            raise SourceError(pattern, f"means more than {MOST_SHARDS:,} files", "Give a shorter range.")
        padded = any(len(text) > 1 and text[0] == "0" for text in span.groups())
        width = max(map(len, span.groups())) if padded else 0
        step = 1 if first <= last else -1
        parts = [f"{number:0{width}}" for number in range(first, last + step, step)]
    else:
        parts = match[1].split(",")
    for part in parts:
        yield from expand_braces(head + part + tail)


def _matches(path: str) -> list[str]:
    if glob.has_magic(path):
        return sorted(glob.glob(path))
    if not os.path.exists(path):
        raise SourceError(path, "is not there", "Fetch this shard, or correct the pattern.")
    return [path]


def _key(path: str) -> str:
    """What the files of a sample have in common: the path up to the first dot of the file's name."""
    folder, file = os.path.split(path)
    return os.path.join(folder, file.split(".")[0])


def _describes(member: Member) -> bool:
    return not member.alarming and member.path.lower().endswith((".cls", ".json"))


def _face(files: list[Member]) -> Face:
    """What the files of a sample say of the face."""
    face = Face()
    for file in files:
        if file.data is None:
            continue
        if file.path.lower().endswith(".cls"):
            face = face._replace(identity=file.data.decode("utf-8", "replace").strip() or None)
            continue
        try:
            said = parse_face(json.loads(file.data))
        except (ValueError, RecursionError):
            said = Face(fault="its .json cannot be read")
        face = said._replace(identity=said.identity or face.identity)
    return face
