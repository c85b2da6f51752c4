"""Annotations in files beside the photographs: the faces of ``ID.jpg`` in ``ID.faces.json``, in folders and in tars."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from os.path import splitext

from frl.images.names import JPEG_SUFFIXES, claims_image, path_aside, raw_fault, suffix_of
from writers.reject import Reject
from writers.sources.annotations import KEYS, Face, load_json, parse_face
from writers.sources.bucket import Bucket
from writers.sources.directory import Directory
from writers.sources.files import read_file
from writers.sources.join import Join, Table
from writers.sources.source import Entry
from writers.sources.tar import CompressedTars, Tars
from writers.sources.unread import Unread

SUFFIX = ".faces.json"

HINT = "Put the faces of ID.jpg into ID.faces.json beside it, or those of one of its namesakes into ID.png.faces.json."


class Sidecars:
    """The annotations among the images of a store.

    ``ID.faces.json`` is of the photograph ``ID.jpg``; of another ``ID.*`` only where there is no such JPEG. Where that
    leaves several, it is of none, and these are rejected. ``ID.png.faces.json`` is of ``ID.png`` alone.

    Args:
        store: the folder or the tar.

    Attributes:
        unread: what they say beside that.
    """

    def __init__(self, store: Directory | Bucket | Tars | CompressedTars) -> None:
        self._store = store
        self._texts: dict[str, bytes] = {}  # of those in a tar
        self.unread = Unread(os.path.join(store.location, f"*{SUFFIX}"), KEYS)
        self._shared: set[str] = set()  # photographs whose annotations may be a namesake's

    @cached_property
    def table(self) -> Table[str]:
        """Which annotations are there: their paths, by the path of their photograph; those of none by their own ID.

        Goes through the store twice if there are any; once if not.

        Raises:
            SourceError: if it cannot be listed.
        """
        beside = {path.removesuffix(SUFFIX): path for path in self._paths()}
        namesakes: dict[str, list[str]] = {}
        for entry in self._store.entries() if beside else ():
            for name in {entry.path, splitext(entry.path)[0]}:  # one, where it has no suffix
                if name in beside:
                    namesakes.setdefault(name, []).append(entry.path)
        rows: dict[str, tuple[str, ...]] = {}
        for name, path in beside.items():
            owners = [owner for owner in _owners(name, namesakes.get(name, [])) if owner not in beside or owner == name]
            rows |= dict.fromkeys(owners or [name], (path,))
            if len(owners) > 1:
                self._shared.update(owners)
        return Table(os.path.join(self._store.location, f"*{SUFFIX}"), rows, HINT)

    def faces(self, entry: Entry, join: Join[str]) -> tuple[Face, ...]:
        """The faces that the annotations of a photograph list; none if it has none."""
        rows = () if entry.fault else join.rows(entry.path, entry.path)
        return tuple(self._parse(entry, rows)) if rows else ()

    def _parse(self, entry: Entry, rows: tuple[str, ...]) -> Sequence[Face]:
        (path,) = rows
        name = os.path.basename(path)
        if entry.path in self._shared:
            own = f"{os.path.basename(entry.path)}{SUFFIX}"
            return [Face(fault=f"its annotations may be a namesake's: {name}; call its own {own}")]
        try:
            text = self._texts[path] if path in self._texts else read_file(os.path.join(self._store.location, path))
            records = load_json(text)
            faces = [parse_face(record) for record in records]
        except (Reject, ValueError, TypeError, RecursionError) as error:
            return [Face(fault=f"its annotations {name} cannot be read ({error})")]
        for record in records:
            self.unread.note(record)
        return faces or [Face(fault=f"{name} says that no face is on it")]

    def _paths(self) -> Iterator[str]:
        if isinstance(self._store, Directory):
            yield from self._store.paths(is_sidecar)
            return
        for _, member in self._store.members(lambda member: is_sidecar(member.path)):
            if is_sidecar(member.path) and member.data is not None:
                self._texts[member.path] = member.data
                yield member.path


def is_sidecar(path: str) -> bool:
    """Whether a path below a store is that of annotations, and no part of it is hidden or a thumbnail's."""
    return path.endswith(SUFFIX) and path_aside(path) is None


def _owners(name: str, namesakes: list[str]) -> list[str]:
    """Whose annotations are called so, of the images of this name with and without a suffix."""
    if name in namesakes and claims_image(name):
        return [name]
    usable = [path for path in namesakes if not raw_fault(path)] or namesakes
    jpegs = [path for path in usable if suffix_of(path) in JPEG_SUFFIXES]
    return jpegs or usable
