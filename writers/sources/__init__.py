"""Where faces come from. A new kind of source is one module with a ``Source``, and one line in ``KINDS``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from frl import store
from frl.errors import SourceError
from writers.sources.addresses import LAYOUTS, Address, open_split
from writers.sources.beton import BetonFile, open_beton
from writers.sources.bucket import Bucket, looks_like_identities, open_bucket
from writers.sources.directory import Directory
from writers.sources.flickr import Flickr
from writers.sources.hdf5 import open_hdf5
from writers.sources.join import Account, accounts
from writers.sources.lfw import LFW
from writers.sources.listing import open_list
from writers.sources.rec import RECORDS, open_rec
from writers.sources.source import Box, Candidate, Source, Store, Stream, file_stamps, versions
from writers.sources.synthetic import TRUTH, Synthetic
from writers.sources.tables import Tables
from writers.sources.tar import CompressedTars, Tars, open_tars
from writers.sources.unread import Remarking
from writers.sources.vggface2 import VGGFace2, has_identity_folders
from writers.sources.webdataset import is_pattern, open_shards

__all__ = [
    "KINDS",
    "Account",
    "Box",
    "Candidate",
    "Flickr",
    "Remarking",
    "Source",
    "Store",
    "Stream",
    "Synthetic",
    "VGGFace2",
    "accounts",
    "help_on_kinds",
    "is_source",
    "open_source",
    "open_sources",
    "file_stamps",
    "versions",
]


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        open: makes the source of an absolute path and the command's tables.
        layout: what it looks like, in a line.
        boxed: whether it can use a table of boxes.
    """

    open: Callable[[str, Tables], Source]
    layout: str
    boxed: bool = False


def open_tree(path: str) -> Directory | Bucket | Tars | CompressedTars:
    """The store of the images in a folder or a tar, here or in an object store."""
    if store.address(path) and not store.is_file(path):
        return open_bucket(path)
    return Directory(path) if os.path.isdir(path) else open_tars(path, (path,))


def _open_benchmark(kind: str, path: str, _: Tables) -> Source:
    return open_split(kind, path)


KINDS = {
    "vggface2": Kind(
        lambda path, tables: VGGFace2(open_tree(path), tables.boxes_at(path), tables.landmarks_at(path)),
        "a folder per identity, in train/, val/ and test/ or not, or the original tar.gz; loose_bb_*.csv beside",
        boxed=True,
    ),
    "lfw": Kind(lambda path, _: LFW(open_tree(path)), "NAME/NAME_0001.jpg, or its tgz"),
    "flickr": Kind(
        lambda path, tables: Flickr(open_tree(path), tables.boxes),
        "photographs at any depth, several faces on each; ID.faces.json beside, or --boxes",
        boxed=True,
    ),
    "folder": Kind(
        lambda path, tables: Flickr(open_tree(path), tables.boxes),
        "the same of face crops: those without annotations are used whole",
        boxed=True,
    ),
    "webdataset": Kind(
        lambda path, _: open_shards(path), "tars of KEY.jpg, KEY.cls, KEY.json: one, a folder, or s-{000..146}.tar"
    ),
    "hdf5": Kind(lambda path, _: open_hdf5(path), "rows of encoded bytes in 'images', as in the paper's code"),
    "rec": Kind(lambda path, _: open_rec(path), "train.rec and train.idx, as insightface packs training sets"),
    "rec-bgr": Kind(
        lambda path, _: open_rec(path, swapped=True), "the same where red and blue are exchanged, as in MS1MV3"
    ),
    "synthetic": Kind(
        lambda path, tables: Synthetic(VGGFace2(open_tree(path), tables.boxes_at(path), tables.landmarks_at(path))),
        "what frl synthesize drew: as vggface2, with the targets of truth.jsonl",
        boxed=True,
    ),
    "list": Kind(
        lambda path, _: open_list(path),
        "CSV or TSV (path,identity,x,y,w,h) or JSON lines (path, identity, box); other columns by --targets",
    ),
    "beton": Kind(lambda path, _: open_beton(path), "another .beton; names and labels are kept"),
    **{name: Kind(partial(_open_benchmark, name), layout) for name, layout in LAYOUTS.items()},
}

SUFFIXES = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".rec": "rec",
    ".csv": "list",
    ".tsv": "list",
    ".jsonl": "list",
    ".beton": "beton",
}
"""The kind of a file by its suffix; others are tars."""


def help_on_kinds() -> str:
    """A line for each kind, indented."""
    width = max(map(len, KINDS))
    lines = {name: f"    {name:<{width}}  {kind.layout}" for name, kind in KINDS.items()}
    benchmarks = "\n".join(lines.pop(name) for name in LAYOUTS)
    return (
        "\n".join(lines.values())
        + f"\n\nBenchmarks, as KIND:FOLDER@SPLIT (a wrong split lists those there are):\n\n{benchmarks}"
    )


def open_source(text: str, table: Path | None = None) -> Source:
    """The source meant by ``text``: ``KIND:PATH``, or a path whose layout says which kind it is.

    Args:
        text: as on the command line.
        table: a CSV of face boxes, or None.

    Raises:
        SourceError: if it is not there, or is no such source.
    """
    return _opened(text, *parse(text), Tables(table))


def _opened(text: str, kind: str, location: str, tables: Tables) -> Source:
    """The source of a kind, which knows whether ``text`` names the kind or it was guessed."""
    source = KINDS[kind].open(location, tables)
    if isinstance(source, Flickr) and not text.startswith(f"{kind}:"):
        return replace(source, guessed=True)
    return source


def parse(text: str) -> tuple[str, str]:
    """The kind and the absolute path that ``text`` means.

    Raises:
        SourceError: if it is not there, or cannot be listed.
    """
    kind, colon, path = text.partition(":")
    if not colon or kind not in KINDS:
        kind, path = "", text
    if kind in LAYOUTS:
        return kind, Address.parse(path).absolute(text)
    location = store.address(path) or os.path.abspath(path)
    if kind == "webdataset" or (not kind and is_pattern(path)):  # looks for its shards itself
        return "webdataset", location
    if store.address(path):
        return _kind_in_store(text, kind, location), location
    if not os.path.exists(location):
        raise SourceError(text, "is not there", f"Give PATH or KIND:PATH; the kinds are {', '.join(KINDS)}.")
    return kind or guess_kind(location), location


def _kind_in_store(text: str, kind: str, location: str) -> str:
    """The kind of a source in an object store.

    Raises:
        SourceError: if nothing is there, or it is of a kind that is read from this machine's disk.
        StoreError: if the store does not answer.
    """
    alone = store.is_file(location)
    if not alone and next(store.listing(location), None) is None:
        raise SourceError(text, "is not there", f"Give ADDRESS or KIND:ADDRESS; the kinds are {', '.join(KINDS)}.")
    if not kind and alone:
        kind = guess_kind(location)
    elif not kind:
        kind = _guess_folder_in_store(location)
    if kind in ("rec", "rec-bgr"):
        cause = (
            "is of insightface's training sets, which say who is on an image before each: to list one is to read all"
        )
        raise SourceError(text, cause, "Copy train.rec and train.idx to this machine first.")
    return kind


def _guess_folder_in_store(location: str) -> str:
    """The kind of source that an address looks like below which there are files."""
    for name, kind in ((TRUTH, "synthetic"), (RECORDS, "rec")):
        if store.is_file(f"{location.rstrip('/')}/{name}"):
            return kind
    return "vggface2" if looks_like_identities(location) else "folder"


def guess_kind(location: str) -> str:
    """The kind of source that a path looks like.

    Raises:
        SourceError: if it cannot be listed.
    """
    if os.path.isfile(os.path.join(location, TRUTH)):
        return "synthetic"
    if os.path.isfile(os.path.join(location, RECORDS)):
        return "rec"
    if os.path.isdir(location):
        return "vggface2" if has_identity_folders(location) else "folder"
    if kind := SUFFIXES.get(Path(location).suffix.lower()):
        return kind
    first = next(open_tars(location, (location,)).entries(), None)
    return "vggface2" if first and "/" in first.path else "webdataset"


def is_source(path: str | os.PathLike[str]) -> bool:
    """Whether a path means images where they are rather than a ``.beton``."""
    text = os.fspath(path)
    kind, colon, _ = text.partition(":")
    if os.path.isdir(text) or is_pattern(text) or (colon and kind in KINDS and kind != "beton"):
        return True
    suffix = Path(text).suffix.lower()
    return os.path.isfile(text) and (suffix == ".tar" or SUFFIXES.get(suffix, "beton") != "beton")


def open_sources(texts: Sequence[str], table: Path | None = None) -> dict[str, Source]:
    """Sources by a short name that is theirs alone: the end of the path, as long as it takes to tell them apart.

    The name of a ``.beton`` that is the only source is empty, for its samples have been named before.

    Raises:
        SourceError: if one is not there, or is given twice, or none can use the table.
    """
    parsed = [parse(text) for text in texts]
    if table and not any(KINDS[kind].boxed for kind, _ in parsed):
        usable = ", ".join(name for name, kind in KINDS.items() if kind.boxed)
        raise SourceError(table, "no source here uses a table of boxes", f"These do: {usable}.")
    tables = Tables(table)
    sources = [_opened(text, *known, tables) for text, known in zip(texts, parsed, strict=True)]
    if len(sources) == 1 and isinstance(sources[0], BetonFile):
        return {"": sources[0]}
    paths = [Path(location).parts for _, location in parsed]
    if len(set(paths)) < len(paths):
        raise SourceError(" ".join(texts), "a source is given twice", "Name each once.")
    parts = 1
    while len({path[-parts:] for path in paths}) < len(paths):
        parts += 1
    return {"/".join(path[-parts:]): source for path, source in zip(paths, sources, strict=True)}
