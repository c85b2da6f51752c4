"""What the command says at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from writers.reject import Reason
from writers.sources import Account


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the images; one on which several faces are found counts as often.

    Attributes:
        rejects: images and faces left out, by reason.
        skipped: files and folders that are no images, or whose names say that they are none to use, in words.
        unknown: images in the file of which nobody knows who is on them.
        boxes: faces that the sources know.
        found: faces that a detector found, whether or not they were kept; None if there was none.
        central: images of which the central square was taken, for nobody knows where a face is.
        over_border: faces whose boxes reach over their images' borders.
        joins: how tables met the images.
        begun: images that an earlier run had done with.
        seconds: that this run took.
    """

    out: Path | str
    identities: int
    unknown: int
    boxes: int
    found: int | None
    passed: int
    encoded: int
    central: int
    skipped: str
    over_border: int
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
    def written(self) -> int:
        """Images in the file."""
        return self.passed + self.encoded

    @property
    def read(self) -> int:
        """Images looked at."""
        return self.written + self.rejected

    def __str__(self) -> str:
        rejects = f" (why: {self.out}.rejects.tsv)" if self.rejected and not self.dry_run else ""
        kinds = ", ".join(f"{count:,} {reason}" for reason, count in self.rejects.items() if count) or "none"
        end = "dry run: nothing was written" if self.dry_run else f"Next: frl verify {self.out} --deep"
        return (
            f"{self.out}: {self.written:,} images of {self.identities:,} identities, {self.unknown:,} of nobody known, "
            f"{self.nbytes / 1e6:,.1f} MB\n"
            f"read {self.read:,} = written {self.written:,} + rejected {self.rejected:,}{rejects}\n"
            f"rejected: {kinds}\n"
            f"passed through {self.passed:,}, encoded anew {self.encoded:,}; {self._faces()}\n"
            f"{''.join(f'{remark}{chr(10)}' for remark in self._remarks())}"
            f"{self.seconds:.1f} s, {(self.read - self.begun) / self.seconds:,.0f} images/s\n"
            f"{end}"
        )

    def _faces(self) -> str:
        """Where the faces are known from."""
        boxed = f"with a face box {self.boxes:,}"
        if self.found is None:
            return boxed
        return f"faces found {self.found:,}" + (f", {boxed}" if self.boxes else "")

    def _remarks(self) -> Iterator[str]:
        """What the user should know of what was written, a line each."""
        if self.central:
            yield f"central squares of photographs: {self.central:,}; --detect dlib finds the faces"
        if self.over_border:
            doubt = "; are they left, top, width, height?" if 2 * self.over_border > self.boxes else ""
            yield f"boxes that reach over the border of their image: {self.over_border:,}{doubt}"
        if self.skipped:
            yield f"skipped, and not among these: {self.skipped}"
        yield from map(str, self.joins)
