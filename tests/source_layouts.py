"""The same images in the layout of every kind of source."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from frl.beton import BetonWriter

Images = Mapping[str, bytes]
"""Encoded images by path: ``Ann/Ann_0001.jpg``."""


@dataclass(frozen=True)
class Layout:
    """How a kind of source holds images.

    Attributes:
        build: makes it in an empty folder; returns it as on the command line.
        name: what a sample is called, of its path and its number among the images.
        labelled: whether it tells who is on an image.
        person: what it calls the person on an image.
        bare: whether files of no bytes cannot be in it.
    """

    build: Callable[[Path, Images], str]
    name: Callable[[str, int], str]
    labelled: bool = True
    person: Callable[[str], str] = lambda path: who(path)
    bare: bool = False


def plant(root: Path, images: Images) -> Path:
    for path, data in images.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root


def pack(path: Path, members: Images) -> Path:
    """A tar, compressed if its name ends so."""
    with tarfile.open(path, f"w:{'gz' if path.suffix == '.gz' else ''}") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def who(path: str) -> str:
    return os.path.dirname(path)


def _vggface2(root: Path, images: Images) -> str:
    plant(root / "vgg" / "train", images)
    return str(root / "vgg")


def _synthetic(root: Path, images: Images) -> str:
    """Identity folders with the truth about each image."""
    _vggface2(root, images)
    (root / "vgg").rename(root / "drawn")
    truth = {"landmarks": [[i / 8, i / 8] for i in range(68)], "visible": [True] * 68, "expression": {"smile": 1.0}}
    angles = dict.fromkeys(("yaw", "pitch", "roll"), 5.0)
    lines = (json.dumps({"path": f"train/{path}", **truth, **angles}) for path in images)
    (root / "drawn" / "truth.jsonl").write_text("\n".join(lines))
    return str(root / "drawn")


def _vggface2_tar(suffix: str) -> Callable[[Path, Images], str]:
    return lambda root, images: (
        f"vggface2:{pack(root / f'train{suffix}', {f'train/{p}': d for p, d in images.items()})}"
    )


def _webdataset(root: Path, images: Images) -> str:
    """Two shards in turn; each image with its class and a caption."""
    for shard in range(2):
        members: dict[str, bytes] = {}
        for path, image in list(images.items())[shard::2]:
            stem = os.path.splitext(path)[0]
            members |= {path: image, f"{stem}.cls": who(path).encode(), f"{stem}.txt": b"a face"}
        pack(root / f"faces-{shard:03}.tar", members)
    return f"webdataset:{root}/faces-{{000..001}}.tar"


def _hdf5(root: Path, images: Images) -> str:
    with h5py.File(root / "faces.h5", "w") as file:
        rows = file.create_dataset("images", (len(images),), h5py.vlen_dtype(np.uint8))
        for i, data in enumerate(images.values()):
            rows[i] = np.frombuffer(data, np.uint8)
        file["foldernames"] = [who(path) for path in images]
    return str(root / "faces.h5")


def record(data: bytes) -> bytes:
    """A record of MXNet's RecordIO, cut at the magic numbers that lie at multiples of 4 bytes."""
    magic = struct.pack("<I", 0xCED7230A)
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == magic]
    parts = [data[begin:end] for begin, end in zip([0, *(cut + 4 for cut in cuts)], [*cuts, len(data)], strict=True)]
    written = b""
    for number, part in enumerate(parts):
        kind = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
        written += magic + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    return written


def numbered(path: str) -> str:
    """A number for the person on an image, as text."""
    return str(zlib.crc32(who(path).encode()) % 1000)


def _rec(root: Path, images: Images) -> str:
    """Record 0 without an image, the images, a record of an identity; labels in both of the ways there are."""
    (root / "set").mkdir()
    count = len(images)
    records = [struct.pack("<IfQQ2f", 2, 0, 0, 0, count + 1, count + 2)]
    for number, (path, data) in enumerate(images.items(), 1):
        label = float(numbered(path))
        head = struct.pack("<IfQQ", 0, label, number, 0)
        records.append((head if number % 2 else struct.pack("<IfQQ2f", 2, 0, number, 0, label, 7)) + data)
    records.append(struct.pack("<IfQQ2f", 2, 0, count + 1, 0, 1, count + 1))
    offset = 0
    with open(root / "set" / "train.rec", "wb") as file, open(root / "set" / "train.idx", "w") as index:
        for number, data in enumerate(map(record, records)):
            index.write(f"{number}\t{offset}\n")
            offset += file.write(data)
    return str(root / "set")


def _csv(root: Path, images: Images) -> str:
    plant(root / "files", images)
    with open(root / "list.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("path", "identity"), *((f"files/{path}", who(path)) for path in images)])
    return str(root / "list.csv")


def _json_lines(root: Path, images: Images) -> str:
    plant(root / "files", images)
    lines = (json.dumps({"path": f"files/{path}", "identity": who(path), "age": 30}) for path in images)
    (root / "list.jsonl").write_text("\n".join(lines))
    return str(root / "list.jsonl")


def _beton(root: Path, images: Images) -> str:
    people = sorted({f"people/{who(path)}" for path in images})
    with BetonWriter(root / "faces.beton", capacity=len(images), labels=people) as file:
        for path, data in images.items():
            file.append(data, 9, 9, people.index(f"people/{who(path)}"), f"people/{path}")
    return str(root / "faces.beton")


LAYOUTS = {
    "vggface2": Layout(_vggface2, lambda path, number: f"vgg/train/{path}"),
    "vggface2 tar": Layout(_vggface2_tar(".tar"), lambda path, number: f"train.tar/train/{path}"),
    "vggface2 tar.gz": Layout(_vggface2_tar(".tar.gz"), lambda path, number: f"train.tar.gz/train/{path}"),
    "synthetic": Layout(_synthetic, lambda path, number: f"drawn/train/{path}"),
    "lfw": Layout(lambda root, images: f"lfw:{plant(root / 'lfw', images)}", lambda path, number: f"lfw/{path}"),
    "lfw tgz": Layout(
        lambda root, images: f"lfw:{pack(root / 'lfw.tar.gz', {f'lfw/{p}': d for p, d in images.items()})}",
        lambda path, number: f"lfw.tar.gz/lfw/{path}",
    ),
    "flickr": Layout(
        lambda root, images: f"flickr:{plant(root / 'photos', images)}", lambda path, number: f"photos/{path}", False
    ),
    "folder": Layout(
        lambda root, images: f"folder:{plant(root / 'crops', images)}", lambda path, number: f"crops/{path}", False
    ),
    "webdataset": Layout(_webdataset, lambda path, number: f"faces-{{000..001}}.tar/faces-{number % 2:03}.tar/{path}"),
    "hdf5": Layout(_hdf5, lambda path, number: f"faces.h5/{number:08}"),
    "rec": Layout(_rec, lambda path, number: f"set/{number + 1:08}", person=numbered),
    "csv": Layout(_csv, lambda path, number: f"list.csv/files/{path}"),
    "json lines": Layout(_json_lines, lambda path, number: f"list.jsonl/files/{path}"),
    "beton": Layout(_beton, lambda path, number: f"people/{path}", bare=True),
}
