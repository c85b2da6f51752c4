"""What the command says at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from writers.reject import Reason


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the images; one on which several faces are found counts as often.

    Attributes:
        rejects: images and faces left out, by reason.
        skipped: files and folders that are no images, or whose names say that they are none to use, in words.
        central: photographs of which the central square was taken, for nobody looked for faces.
        begun: images that an earlier run had done with.
        seconds: that this run took.
    """

    out: Path
    identities: int
    boxes: int
    passed: int
    encoded: int
    central: int
    skipped: str
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
        central = (
            f"central squares of photographs: {self.central:,}; --detect dlib finds the faces\n" if self.central else ""
        )
        skipped = f"skipped, and not among these: {self.skipped}\n" if self.skipped else ""
        end = "dry run: nothing was written" if self.dry_run else f"Next: frl verify {self.out} --deep"
        return (
            f"{self.out}: {self.written:,} images of {self.identities:,} identities, {self.nbytes / 1e6:,.1f} MB\n"
            f"read {self.read:,} = written {self.written:,} + rejected {self.rejected:,}{rejects}\n"
            f"rejected: {kinds}\n"
            f"passed through {self.passed:,}, encoded anew {self.encoded:,}; with a face box {self.boxes:,}\n"
            f"{central}{skipped}"
            f"{self.seconds:.1f} s, {(self.read - self.begun) / self.seconds:,.0f} images/s\n"
            f"{end}"
        )
