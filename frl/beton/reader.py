"""Reading a ``.beton``: validated on opening, mapped into memory, never copied."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from frl import store
from frl.beton.layout import Field, FieldType
from frl.beton.manifest import Manifest, SampleLines, fingerprint, home_of, manifest_path, samples_path
from frl.beton.targets import TargetSpec
from frl.beton.validation import FETCH_AGAIN, Contents, check_data, parse
from frl.content import recognise_in_place_of_beton
from frl.errors import BetonError


class Beton:
    """An open ``.beton`` of ours or of stock ffcv: encoded images, their sizes and their labels.

    The images are those of the field called ``image``, or of the first image field; the labels those of the integer
    field called ``label``, or of the only one. What else is stored of each sample are its targets; without a manifest,
    which says what they mean, they are taken for vectors and classes by their types. Pickling keeps the path: the copy
    opens the file again.

    Attributes:
        path: the file.
        home: the path beside which the files lie that describe it; another one where ``path`` is a link.
        page_size: bytes per page.
        fields: the columns of the file.
        heights, widths: (N,) uint16, pixels.
        modes: (N,) uint8, 0 for JPEG and 1 for raw RGB.
        pointers, nbytes: (N,) uint64, offset and size of each encoded image in the file.
        labels: (N,) int64, -1 where unknown.
        targets: what ``target`` reads; in the order of the file's fields.
        data: (size,) uint8, the bytes of the whole file, mapped and read-only.
        manifest: what the writer noted beside the file, or None.
        fingerprint: SHA-256 of everything but the encoded images, for telling two data sets apart.

    Raises:
        BetonError: the file cannot be opened, is truncated or damaged, or disagrees with its manifest.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.home = home_of(path)
        try:
            # A pipe would block on opening, so look before.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise self._something_else() or BetonError(
                    self.path, "is not a regular file", "Give the path of a .beton."
                )
            with open(self.path, "rb") as file:
                self._mapping = _map(file.fileno())
                self.data = np.frombuffer(self._mapping or b"", np.uint8)
                contents = self._parse()
                regions = [(0, contents.data_start), (contents.table_start, self.data.size)]
                self.fingerprint = fingerprint(file.fileno(), regions)
        except OSError as error:
            if (where := store.address(path)) is not None:
                cause, remedy = "lies in an object store, and is read from a disk", f"Fetch it first: frl pull {where}"
                raise BetonError(where, cause, remedy) from error
            raise BetonError(self.path, f"cannot be opened ({error.strerror})", "Check the path.") from error
        self.manifest = Manifest.load(self.path)
        self._check_manifest()
        self._load_columns(contents)
        self._lines = SampleLines(samples_path(self.home))

    def _parse(self) -> Contents:
        """The parts of the file; of what is no ``.beton`` at all it is said what it is."""
        try:
            return parse(self.path, self.data)
        except BetonError as error:
            if self.data.size and (refusal := self._something_else()):
                raise refusal from error
            raise

    def _something_else(self) -> BetonError | None:
        """The error that says what stands there in place of a ``.beton``, where that can be told."""
        if content := recognise_in_place_of_beton(self.path):
            return BetonError(self.path, f"is no .beton: it is {content.what}", f"{content.remedy}.")
        return None

    def _check_manifest(self) -> None:
        if self.manifest is not None and self.manifest.fingerprint != self.fingerprint:
            raise BetonError(
                self.path,
                f"its header, metadata or allocation table differ from {manifest_path(self.home).name}",
                f"{FETCH_AGAIN}; if another program replaced it on purpose, delete the manifest.",
            )

    def _load_columns(self, contents: Contents) -> None:
        sizes = check_data(contents)
        image = _choose(contents.fields, FieldType.IMAGE, "image", only=False)
        label = _choose(contents.fields, FieldType.INT, "label", only=True)
        if image is None:
            raise BetonError(self.path, "has no image field", "Write it again with ffcv's RGBImageField.")
        records = contents.records[f"f{image}"]
        self.fields = contents.fields
        self.page_size = contents.page_size
        self.heights = np.ascontiguousarray(records["height"])
        self.widths = np.ascontiguousarray(records["width"])
        self.modes = np.ascontiguousarray(records["mode"])
        self.pointers = np.ascontiguousarray(records["data_ptr"])
        self.nbytes = sizes[contents.fields[image].name]
        if label is None:
            self.labels = np.full(len(records), -1, np.int64)
        else:
            self.labels = np.ascontiguousarray(contents.records[f"f{label}"])
        columns = {f.name: i for i, f in enumerate(contents.fields) if i not in (image, label)}
        self.targets = self._find_targets([contents.fields[i] for i in columns.values()])
        # Views into the file: of a million samples nothing is read before it is wanted.
        self._columns = {spec.name: contents.records[f"f{columns[spec.name]}"] for spec in self.targets}

    def _find_targets(self, fields: Sequence[Field]) -> tuple[TargetSpec, ...]:
        """The targets among some fields: those of the manifest, or what the types suggest where there is none."""
        if self.manifest is None:
            return tuple(spec for field in fields if (spec := TargetSpec.of_field(field)) is not None)
        stated = [spec.field for spec in self.manifest.targets]
        if stated != [field for field in fields if field.name in {spec.name for spec in self.manifest.targets}]:
            cause = f"its fields are not the targets that {manifest_path(self.home).name} describes"
            raise BetonError(self.path, cause, f"{FETCH_AGAIN}, with the files beside it.")
        return self.manifest.targets

    def __len__(self) -> int:
        return len(self.pointers)

    @property
    def max_side(self) -> int:
        """The largest height or width, in pixels."""
        return int(max(self.heights.max(), self.widths.max()))

    def encoded(self, index: int) -> np.ndarray:
        """The (nbytes,) uint8 of one encoded image, a read-only view into the mapped file.

        Raises:
            IndexError: there is no such sample.
            ValueError: the file was closed.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has no sample {index}: it holds {len(self)}")
        if self.data.size == 0:
            raise ValueError(f"{self.path} is closed")
        start = int(self.pointers[index])
        return self.data[start : start + int(self.nbytes[index])]

    def target(self, name: str, samples: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
        """What is stored of some samples under one name: (B, *shape) of its spec's dtype, NaN or -1 where unknown.

        Raises:
            KeyError: no target has this name.
            IndexError: there is no such sample.
            ValueError: the file was closed.
        """
        spec = next((spec for spec in self.targets if spec.name == name), None)
        if spec is None:
            raise KeyError(f"{self.path} has no target {name!r}: it has {[spec.name for spec in self.targets]}")
        wanted = np.asarray(samples, np.int64)
        if self.data.size == 0:
            raise ValueError(f"{self.path} is closed")
        if (outside := (wanted < 0) | (wanted >= len(self))).any():
            raise IndexError(f"{self.path} has no sample {wanted[outside][0]}: it holds {len(self)}")
        column = self._columns[name][wanted]
        if not spec.shape:
            return column
        stored = np.empty((len(wanted), spec.nbytes), np.uint8)
        for row, start in zip(stored, column.tolist(), strict=True):
            row[:] = self.data[start : start + spec.nbytes]
        return stored.view(spec.dtype).reshape(-1, *spec.shape)

    def target_values(self, index: int) -> dict[str, NDArray[Any]]:
        """Everything that is stored of one sample's targets, by name; raises like ``target``."""
        return {spec.name: self.target(spec.name, [index])[0] for spec in self.targets}

    def target_bytes(self, index: int) -> tuple[bytes, ...]:
        """The same as it is stored, in the order of ``targets``: what the checksums are of."""
        return tuple(value.tobytes() for value in self.target_values(index).values())

    def target_places(self, index: int) -> tuple[int | float, ...]:
        """Of each of one sample's targets, in their order: a number itself, or the byte at which its array begins."""
        return tuple(column[index].item() for column in self._columns.values())

    def name(self, index: int) -> str:
        """The sample as people should see it: with its source where the file beside the ``.beton`` knows it."""
        try:
            return f"sample {index} ({self._lines[index].name})"
        except (OSError, ValueError, IndexError):
            # A name decorates other messages: where the sidecar is missing or broken, the number must do.
            return f"sample {index}"

    def close(self) -> None:
        """Let go of the mapping, which ends with the last view into it."""
        self.data, self._mapping, self._columns = np.empty(0, np.uint8), None, {}

    def advise(self, advice: int, start: int, stop: int) -> None:
        """Tell the system what is to become of bytes ``start`` to ``stop`` of the mapping.

        Args:
            advice: one of ``mmap.MADV_...``.
            start: in bytes, a multiple of ``page_size``.
            stop: in bytes; what lies beyond the end of the file does not count.
        """
        stop = min(stop, self.data.size)
        if self._mapping is not None and start < stop:
            self._mapping.madvise(advice, start, stop - start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Beton], tuple[Path]]:
        return type(self), (self.path,)


def _map(file: int) -> mmap.mmap | None:
    """The bytes of a file, read-only; None for an empty one, which the system refuses to map."""
    size = os.fstat(file).st_size
    # parse() says what an empty file lacks.
    return mmap.mmap(file, size, access=mmap.ACCESS_READ) if size else None


def _choose(fields: tuple[Field, ...], kind: FieldType, name: str, only: bool) -> int | None:
    """Index of the field of this kind with the preferred name, else of the first, or (``only``) of the single one."""
    found = [i for i, field in enumerate(fields) if field.type_id == kind]
    named = [i for i in found if fields[i].name == name]
    if named:
        return named[0]
    return found[0] if found and (len(found) == 1 or not only) else None
