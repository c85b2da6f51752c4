"""Write folders of face images into one .beton file.

Every image becomes a square, upright RGB JPEG of at most --size pixels; a JPEG that is that already keeps its bytes.
What cannot be used is listed with its reason beside the file. The file appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro
from tqdm import tqdm

from frl.beton import BetonWriter
from frl.config import as_dict
from frl.errors import ConfigError, FrlError, SourceError, WriteError
from writers.crop import CropSpec, Face, FaceCropper, Reject
from writers.sources import Candidate, Source, open_sources
from writers.workers import WorkerPool


@dataclass(frozen=True, kw_only=True)
class WriteConfig:
    """What to write, and where to."""

    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE [SOURCE ...]")]
    """Folders of images. Folders of identities are recognised (VGGFace2's layout, train/ and test/ or the root);
    vggface2:DIR, folder:DIR or flickr:DIR says which it is."""
    out: Path
    """The .beton file to write."""
    size: int = 256
    """Longest side of a sample, in pixels; smaller faces keep their size."""
    quality: int = 90
    """JPEG quality of the samples that are encoded anew, 1 to 95."""
    boxes: Path | None = None
    """CSV of face boxes: NAME_ID (path without suffix), X, Y, W, H. VGGFace2's loose_bb_*.csv are found without."""
    margin: float = 0.3
    """Share of a box's longer side added around it. Images without a box are cut to their central square."""
    seed: int = 0
    """Seeds the shuffle."""
    limit: int | None = None
    """Use only so many images, drawn by the seed."""
    workers: int = 0
    """Processes that read, cut and encode; 0: one per core."""
    max_rejects: int | None = None
    """Fail when more images than this are rejected; 0: when any is."""
    max_megapixels: float = 100.0
    """Reject larger images before they are decoded."""
    overwrite: bool = False
    """Replace the file if it exists."""


class Item(NamedTuple):
    """A candidate and the name of its source."""

    source: str
    candidate: Candidate

    @property
    def name(self) -> str:
        """What to call it in messages and in the sidecars; bytes of a file name that are no UTF-8 are escaped."""
        return os.fsencode(f"{self.source}/{self.candidate.name}").decode(errors="backslashreplace")

    @property
    def identity(self) -> str | None:
        """Who it is: people of two sources are never merged, whatever their names."""
        return None if self.candidate.identity is None else f"{self.source}/{self.candidate.identity}"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a worker does: read an item, and make a sample of it."""

    sources: dict[str, Source]
    spec: CropSpec

    def __call__(self) -> Callable[[Item], Face | Reject]:
        """Set up the worker, and return its function."""
        warnings.simplefilter("ignore")  # Pillow's; they would tear the progress bar
        crop = FaceCropper(self.spec)

        def prepare(item: Item) -> Face | Reject:
            try:
                return crop(self.sources[item.source].read(item.candidate), item.candidate.box)
            except Reject as reject:
                return reject

        return prepare


@dataclass(kw_only=True)
class Summary:
    """What became of the images."""

    out: Path
    identities: int
    boxes: int
    passed: int = 0
    encoded: int = 0
    rejected: int = 0
    nbytes: int = 0
    seconds: float = 0.0

    @property
    def written(self) -> int:
        """Images in the file."""
        return self.passed + self.encoded

    @property
    def read(self) -> int:
        """Images looked at."""
        return self.written + self.rejected

    def __str__(self) -> str:
        rejects = f" (why: {self.out}.rejects.tsv)" if self.rejected else ""
        return (
            f"{self.out}: {self.written:,} images of {self.identities:,} identities, {self.nbytes / 1e6:,.1f} MB\n"
            f"read {self.read:,} = written {self.written:,} + rejected {self.rejected:,}{rejects}\n"
            f"passed through {self.passed:,}, encoded anew {self.encoded:,}; with a face box {self.boxes:,}\n"
            f"{self.seconds:.1f} s, {self.read / self.seconds:,.0f} images/s\n"
            f"Next: frl verify {self.out} --deep"
        )


def write(config: WriteConfig) -> Summary:
    """Write the file that ``config`` describes.

    Raises:
        ConfigError: if an option makes no sense.
        SourceError: if a source is absent, or no image is found.
        WriteError: if the file exists, a worker fails, or too many images are rejected.
    """
    validate(config)
    start = time.monotonic()
    sources = open_sources(config.sources, config.boxes)
    items = choose(sources, config)
    labels = label_identities(items)
    summary = Summary(out=config.out, identities=len(labels), boxes=sum(i.candidate.box is not None for i in items))
    file = BetonWriter(
        config.out, capacity=len(items), labels=list(labels), settings=settings(config), overwrite=config.overwrite
    )
    preparation = Preparation(sources=sources, spec=crop_spec(config))
    with file, WorkerPool(preparation, count=config.workers, name=lambda item: item.name) as pool:
        outcomes = tqdm(pool.map(items), total=len(items), unit="img", disable=None)
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Reject):
                file.reject(item.name, str(outcome))
                summary.rejected += 1
                refuse_excess(summary.rejected, config.max_rejects, item, outcome)
            else:
                label = -1 if item.identity is None else labels[item.identity]
                file.append(outcome.data, outcome.height, outcome.width, label, item.name)
                summary.passed += outcome.untouched
                summary.encoded += not outcome.untouched
    summary.nbytes = config.out.stat().st_size
    summary.seconds = time.monotonic() - start
    return summary


def validate(config: WriteConfig) -> None:
    """Refuse options that cannot work.

    Raises:
        ConfigError: naming the first.
    """

    def require(condition: bool, option: str, cause: str, remedy: str) -> None:
        if not condition:
            raise ConfigError(f"--{option}", cause, remedy)

    require(1 <= config.size <= 65535, "size", f"{config.size} is no side of a sample", "Use e.g. 256.")
    require(1 <= config.quality <= 95, "quality", f"{config.quality} is not in 1 to 95", "Use e.g. 90.")
    require(config.margin >= 0, "margin", "it is negative", "Use e.g. 0.3.")
    require(config.limit is None or config.limit > 0, "limit", "there is nothing to write", "Use at least 1.")
    require(config.workers >= 0, "workers", "it is negative", "Use 0 for one per core.")
    require(config.max_rejects is None or config.max_rejects >= 0, "max-rejects", "it is negative", "Use 0 for none.")
    require(config.max_megapixels > 0, "max-megapixels", "it is not positive", "Use e.g. 100.")


def choose(sources: dict[str, Source], config: WriteConfig) -> list[Item]:
    """The items to write, in the order of the file.

    They are sorted by a hash of the seed and their name, so their order depends on no generator, nor on other items.

    Raises:
        SourceError: if a source cannot be listed, or there is no image.
    """

    def key(item: Item) -> bytes:
        return hashlib.blake2b(
            os.fsencode(f"{config.seed}/{item.source}/{item.candidate.name}"), digest_size=8
        ).digest()

    items = [Item(name, candidate) for name, source in sources.items() for candidate in source.candidates()]
    if not items:
        where = " ".join(config.sources) or "SOURCE"
        raise SourceError(where, "no image found", "Give folders of .jpg, .png, .webp, .bmp or .tif.")
    items.sort(key=key)
    return items[: config.limit]


def label_identities(items: list[Item]) -> dict[str, int]:
    """The label of each identity, counted in sorted order."""
    identities = {item.identity for item in items if item.identity is not None}
    return {identity: label for label, identity in enumerate(sorted(identities))}


def crop_spec(config: WriteConfig) -> CropSpec:
    """The part of the configuration that shapes a sample."""
    return CropSpec(
        size=config.size,
        margin=config.margin,
        quality=config.quality,
        max_pixels=int(config.max_megapixels * 1e6),
    )


def settings(config: WriteConfig) -> dict[str, object]:
    """What the manifest keeps: whatever shapes the content of the file."""
    kept = as_dict(config)
    for option in ("out", "workers", "overwrite", "max_rejects"):
        del kept[option]
    return kept


def refuse_excess(rejected: int, allowed: int | None, item: Item, reject: Reject) -> None:
    """Stop when more images were rejected than the user allows.

    Raises:
        WriteError: naming the last.
    """
    if allowed is not None and rejected > allowed:
        cause = f"{reject}; rejects: {rejected:,}, --max-rejects: {allowed:,}"
        raise WriteError(item.name, cause, "Mend or remove such images, or raise the limit.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, 1 after an error of ours, 130 after an interrupt.
    """
    config = tyro.cli(WriteConfig, args=arguments, prog="frl write", description=__doc__)
    try:
        print(write(config))
    except FrlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
