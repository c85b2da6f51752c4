"""What the command says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
