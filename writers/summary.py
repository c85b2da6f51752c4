"""What the command says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the images.

    Attributes:
        begun: images that an earlier run had done with.
        seconds: that this run took.
    """

    out: Path
    identities: int
    boxes: int
    passed: int
    encoded: int
    rejected: int
    begun: int
    nbytes: int
    seconds: float

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
            f"{self.seconds:.1f} s, {(self.read - self.begun) / self.seconds:,.0f} images/s\n"
            f"Next: frl verify {self.out} --deep"
        )
