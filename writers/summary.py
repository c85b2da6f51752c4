"""What the command says at its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frl.beton import Beton
from frl.beton.counts import CENTRAL, ENCODED, INCLUDED, OF_SAMPLES, OVER_BORDER, PASSED, UNKNOWN
from frl.beton.manifest import Manifest
from writers.config import WriteConfig
from writers.reject import Reason
from writers.sources import Account

FOUND = "faces found"
"""What is counted where a detector finds a face."""

BOXES = "boxes"
"""What is counted where a source knows the face's box."""

SKIPPED = "skipped: "
"""What stands before the reason by which files are counted that are not listed."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the images; one on which several faces are found counts as often.

    Attributes:
        rejects: images and faces left out, by reason.
        skipped: files and folders that are no images, or whose names say that they are none to use, in words.
        written: images in the file.
        unknown: those of them of which nobody knows who is on them.
        boxes: faces that the sources know.
        found: faces that a detector found, whether or not they were kept; None if there was none.
        central: images of which the central square was taken, for nobody knows where a face is.
        over_border: faces whose boxes reach over their images' borders.
        included: names of what was counted before copies were left out, which are among it: of shards that are joined.
        joins: how tables met the images.
        begun: images that an earlier run had done with.
        seconds: that this run took.
    """

    out: Path | str
    identities: int
    written: int
    unknown: int
    boxes: int
    found: int | None
    passed: int
    encoded: int
    central: int
    skipped: str
    over_border: int
    included: Collection[str]
    joins: Sequence[Account]
    rejects: Mapping[Reason, int]
    begun: int
    nbytes: int
    seconds: float
    dry_run: bool

    @property
    def rejected(self) -> int:
        """Images and faces left out."""
        return sum(self.rejects.values())

    @property
    def read(self) -> int:
        """Images looked at."""
        return self.written + self.rejected

    def __str__(self) -> str:
        rejects = f" (why: {self.out}.rejects.tsv)" if self.rejected and not self.dry_run else ""
        kinds = ", ".join(f"{count:,} {reason}" for reason, count in self.rejects.items() if count) or "none"
        end = "\ndry run: nothing was written" if self.dry_run else ""
        return (
            f"{self.out}: {self.written:,} images of {self.identities:,} identities, {self.unknown:,} of nobody known, "
            f"{self.nbytes / 1e6:,.1f} MB\n"
            f"read {self.read:,} = written {self.written:,} + rejected {self.rejected:,}{rejects}\n"
            f"rejected: {kinds}\n"
            f"passed through {self.passed:,}, encoded anew {self.encoded:,}{self._copies(PASSED)}; {self._faces()}\n"
            f"{''.join(f'{remark}{chr(10)}' for remark in self._remarks())}"
            f"{self.seconds:.1f} s, {(self.read - self.begun) / self.seconds:,.0f} images/s"
            f"{end}"
        )

    def _copies(self, name: str) -> str:
        return " (copies that were left out included)" if name in self.included else ""

    def _faces(self) -> str:
        """Where the faces are known from."""
        boxed = f"with a face box {self.boxes:,}"
        if self.found is None:
            return boxed
        return f"faces found {self.found:,}" + (f", {boxed}" if self.boxes else "")

    def _remarks(self) -> Iterator[str]:
        """What the user should know of what was written, a line each."""
        if self.central:
            found = f"{self.central:,}{self._copies(CENTRAL)}"
            yield f"central squares of photographs: {found}; --detect dlib finds the faces"
        if self.over_border:
            doubt = "; are they left, top, width, height?" if 2 * self.over_border > self.boxes else ""
            found = f"{self.over_border:,}{self._copies(OVER_BORDER)}"
            yield f"boxes that reach over the border of their image: {found}{doubt}"
        if contradictory := self.rejects.get(Reason.CONTRADICTION):
            yield f"{Reason.CONTRADICTION}: {contradictory:,}; one of each two is wrong, and the first was kept"
        if self.skipped:
            yield f"skipped, and not among these: {self.skipped}"
        yield from map(str, self.joins)


def summary(
    counts: Mapping[str, int],
    config: WriteConfig,
    *,
    identities: int,
    written: int,
    joins: Sequence[Account],
    skipped: str,
    begun: int,
    nbytes: int,
    seconds: float,
) -> Summary:
    """The summary of what was counted while writing; see ``Summary`` for the rest."""
    included = [name for name in OF_SAMPLES if f"{name}{INCLUDED}" in counts]
    counts = {**counts, **{name: counts[f"{name}{INCLUDED}"] for name in included}}
    return Summary(
        out=config.out,
        identities=identities,
        written=written,
        unknown=counts.get(UNKNOWN, 0),
        boxes=counts.get(BOXES, 0),
        found=counts.get(FOUND, 0) if config.detect.detect != "none" else None,
        over_border=counts.get(OVER_BORDER, 0),
        included=included,
        joins=joins,
        passed=counts.get(PASSED, 0),
        encoded=counts.get(ENCODED, 0),
        central=counts.get(CENTRAL, 0),
        skipped=skipped,
        rejects={reason: counts.get(reason, 0) for reason in Reason},
        begun=begun,
        nbytes=nbytes,
        seconds=seconds,
        dry_run=config.dry_run,
    )


def summary_of(manifest: Manifest, config: WriteConfig, seconds: float) -> Summary:
    """What a finished file says of itself: that of many machines, or of a command before."""
    counts = manifest.counts
    skipped = {name.removeprefix(SKIPPED): n for name, n in counts.items() if name.startswith(SKIPPED)}
    return summary(
        counts,
        config,
        identities=people_in(config.out),
        written=manifest.samples,
        joins=[Account(**join) for join in manifest.joins],
        skipped="; ".join(f"{count:,} {reason}" for reason, count in skipped.items()),
        begun=0,
        nbytes=config.out.stat().st_size,
        seconds=seconds,
    )


def people_in(path: Path) -> int:
    """How many people are on the images of a file: of those whom its manifest names, some may be on none of them."""
    with Beton(path) as beton:
        return len(np.unique(beton.labels[beton.labels >= 0]))
