"""WebDataset (https://github.com/webdataset/webdataset): tars in which the files of a sample share a key.

``0001.jpg`` is the image of the sample ``0001``. ``0001.cls`` says who is on it; ``0001.json`` may have ``identity``,
``box`` and ``points`` (see ``parse_face``). Other files, such as captions in ``0001.txt``, are not read.

The key is the name up to its first dot, so ``photo.001.jpg`` and ``photo.002.jpg`` are one sample. What
``photo.001.json`` says is nevertheless of ``photo.001.jpg`` alone: the name up to the last dot decides. A file that
shares it with no image is of those images whose names go on from its own: ``1.cls`` is of ``1.left.jpg`` and
``1.right.jpg``; or of the only image of the sample: ``1.meta.json`` of ``1.jpg``. Where two files say different things
of an image, it is rejected.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from frl import store
from frl.errors import SourceError
from frl.images.names import path_aside
from writers.sources.annotations import KEYS, Face, candidate, load_json, parse_face
from writers.sources.directory import entries, is_folder
from writers.sources.join import EXAMPLES, Account
from writers.sources.labels import person
from writers.sources.patterns import expand_braces, has_pattern
from writers.sources.skipped import NO_IMAGE, Skipped
from writers.sources.source import Candidate, Entry
from writers.sources.tar import CompressedTars, Tars, open_tars
from writers.sources.tar_members import Member
from writers.sources.unread import Unread

TAR = re.compile(r"\.(tar(\.(gz|bz2|xz|zst|lzma|lz4|z))?|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
"""Names of tars. Those of compressions that are not read are among them, so that they are refused and not passed by."""

BELOW = "tars in folders below"


@dataclass(kw_only=True)
class Labels:
    """How the labels of shards met the images; see ``Account``."""

    location: str
    rows: int = 0
    used: int = 0
    images: int = 0
    without: int = 0
    unused_names: list[str] = field(default_factory=list)
    lone_images: list[str] = field(default_factory=list)
    remedy: str = "In a shard, the files of a sample follow each other and have one name up to the first dot."

    def add_label(self, path: str, *, used: bool) -> None:
        """Count a file that says something of a face."""
        self.rows += 1
        self.used += used
        if not used and len(self.unused_names) < EXAMPLES:
            self.unused_names.append(path)

    def add_image(self, path: str, *, labelled: bool) -> None:
        """Count an image."""
        self.images += 1
        self.without += not labelled
        if not labelled and len(self.lone_images) < EXAMPLES:
            self.lone_images.append(path)

    def account(self) -> Account:
        """What was counted."""
        return Account(
            table=f"{self.location}: *.cls and *.json",
            rows=self.rows,
            used=self.used,
            images=self.images,
            without=self.without,
            unused_names=tuple(self.unused_names),
            lone_images=tuple(self.lone_images),
        )


@dataclass(frozen=True)
class Label:
    """What a file says of a face.

    Attributes:
        path: of the file.
        stem: without its last suffix.
        face: what it says, or its fault.
    """

    path: str
    stem: str
    face: Face


@dataclass(frozen=True)
class WebDataset:
    """The images of shards.

    Attributes:
        store: the shards.
        beside: what else lies in their folder.
    """

    store: Tars | CompressedTars
    beside: Skipped = field(default_factory=Skipped, compare=False)
    _listed: list[tuple[Labels, Unread]] = field(default_factory=list, compare=False, repr=False)

    def candidates(self) -> Iterator[Candidate]:
        """List the samples in the shards' order; see ``Source``."""
        self.store.skipped.clear()
        self.store.skipped.update(self.beside)
        counted, unread = Labels(location=self.store.location), Unread(f"{self.store.location}: *.json", KEYS)
        self._listed[:] = [(counted, unread)]
        for _, files in itertools.groupby(self.store.members(_describes), key=lambda file: _key(file[1].path)):
            sample = list(files)
            labels = [label for _, member in sample if (label := _label(member, unread)) is not None]
            images = [(place, file) for place, file in sample if not _describes(file) and self.store.lists(file)]
            stems = {os.path.splitext(file.path)[0] for _, file in images}
            used: set[int] = set()
            for place, file in images:
                said = _labels_of(os.path.splitext(file.path)[0], stems, labels)
                used.update(map(id, said))
                if not file.fault:
                    counted.add_image(file.path, labelled=bool(said))
                yield candidate(Entry(file.path, place, file.fault), _agreed(said))
            for label in labels:
                if not label.face.fault or id(label) in used:
                    counted.add_label(label.path, used=id(label) in used)

    def tables(self) -> Iterator[Labels]:
        """The labels, if there are any; see ``Tabled``."""
        yield from (labels for labels, _ in self._listed if labels.rows)

    def remarks(self) -> Iterator[str]:
        """What the files of JSON say that is not read; see ``Remarking``."""
        for _, unread in self._listed:
            yield from unread.remarks()


def open_shards(pattern: str) -> WebDataset:
    """The shards that a pattern means: a tar, a folder of tars, or a path with ``{000..146}``, ``{a,b}``, ``*``, ``?``.

    Raises:
        SourceError: if there are none, or one is missing.
    """
    if address := store.address(pattern):
        return _open_remote_shards(address)
    location, beside = os.path.abspath(pattern), Skipped()
    if os.path.isdir(location):
        paths = _tars_in(location, beside)
    elif os.path.exists(location):
        paths = [location]
    else:
        paths = [path for expanded in expand_braces(location) for path in _matches(expanded)]
    if not paths:
        raise SourceError(
            pattern, "no tar is there", "Give a tar, a folder of tars, or a pattern such as s-{00..99}.tar."
        )
    return WebDataset(open_tars(location, tuple(paths)), beside)


def _tars_in(folder: str, beside: Skipped) -> list[str]:
    """The tars of a folder. What else lies there is counted, tars in folders below as such: they may be forgotten.

    Raises:
        SourceError: if it cannot be listed.
    """
    paths = []
    for found in entries(folder, beside):
        if is_folder(found):
            for _, _, names in os.walk(found.path):
                for name in filter(TAR.search, names):
                    beside.add(BELOW, name)
        elif TAR.search(found.name):
            paths.append(found.path)
        else:
            beside.add(NO_IMAGE, found.name)
    return paths


def _open_remote_shards(address: str) -> WebDataset:
    """As ``open_shards``, in an object store."""
    paths, beside = list[str](), Skipped()
    for expanded in expand_braces(address):
        found = store.matches(expanded)
        if found == [expanded] and not store.is_file(expanded):
            listed = store.matches(f"{expanded.rstrip('/')}/*.[tT]*")
            found = list(filter(TAR.search, listed))
            for other in set(listed).difference(found):
                beside.add(NO_IMAGE, other)
        if not found and not glob.has_magic(expanded):
            raise SourceError(expanded, "is not there", "Fetch this shard, or correct the pattern.")
        paths += found
    if not paths:
        raise SourceError(
            address, "no tar is there", "Give a tar, a folder of tars, or a pattern such as s-{00..99}.tar."
        )
    return WebDataset(open_tars(address, tuple(paths)), beside)


def is_pattern(path: str) -> bool:
    """Whether a path looks like several tars."""
    if store.address(path):
        return ".tar" in path and has_pattern(path)
    return ".tar" in path and not os.path.exists(path) and has_pattern(path)


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
    """Whether a member is read for what it says of a face; others are images, or skipped."""
    return not member.alarming and member.path.lower().endswith((".cls", ".json")) and path_aside(member.path) is None


def _label(file: Member, unread: Unread) -> Label | None:
    """What a file of a sample says of a face; None if it says nothing."""
    if file.data is None:
        return None
    stem, suffix = os.path.splitext(file.path)
    try:
        if suffix.lower() == ".cls":
            face = Face(person(file.data.strip()))
        else:
            unread.note(record := load_json(file.data))
            face = parse_face(record)
    except (ValueError, RecursionError) as error:
        face = Face(fault=str(error) if suffix.lower() == ".cls" else f"its {suffix} cannot be read")
    return None if face == Face() else Label(file.path, stem, face)


def _labels_of(stem: str, stems: set[str], labels: Sequence[Label]) -> list[Label]:
    """The labels of one image of a sample.

    Args:
        stem: the image's path without its last suffix.
        stems: those of all images of the sample; a label that shares one is of no other image.
        labels: those of the sample.
    """
    return [
        label for label in labels if label.stem == stem or (label.stem not in stems and _covers(label, stem, stems))
    ]


def _covers(label: Label, stem: str, stems: set[str]) -> bool:
    """Whether a label that shares its name with no image is of this one."""
    return stem.startswith(f"{label.stem}.") or (len(stems) == 1 and label.stem.startswith(f"{stem}."))


def _agreed(labels: Sequence[Label]) -> Face:
    """What labels say together, or the fault that they contradict each other."""
    face = Face()
    origin: dict[str, str] = {}
    for label in labels:
        if label.face.fault:
            return label.face
        for name in ("identity", "box", "points"):
            said, known = getattr(label.face, name), getattr(face, name)
            if said is None:
                continue
            if known is not None and known != said:
                first, second = (os.path.basename(path) for path in (origin[name], label.path))
                return Face(fault=f"its labels contradict each other: {first} and {second} in its {name}")
            face, origin[name] = face._replace(**{name: said}), label.path
    return face
