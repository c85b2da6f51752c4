"""What the writer counts of a data set beside samples and rejects: the keys of ``Manifest.counts`` that others know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PASSED = "passed"
"""What is counted where a sample has the bytes of its image."""

ENCODED = "encoded"
"""What is counted where it has not."""

CENTRAL = "central squares of photographs"
"""What is counted where nobody knows or looks for the faces."""

OVER_BORDER = "boxes over the border"
"""What is counted where a box reaches over its image's border, so that its square was moved or shrunk."""

UNKNOWN = "of nobody known"
"""What is counted where an image has no identity."""

DUPLICATES = "duplicates"
"""What is counted where a sample is left out, for it has the bytes of another."""

CONTRADICTIONS = "copies that contradict their original"
"""What is counted where such a sample is of another person than the other, or has other targets: one is wrong."""

OF_SAMPLES = (PASSED, ENCODED, CENTRAL, OVER_BORDER)
"""What is counted of samples that do not say it themselves: of one that is left out later nobody knows it."""

INCLUDED = ", copies included"
"""What stands behind such a name where copies were left out later that are still among what was counted."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What was counted of a file, and what is left of it.

    Attributes:
        counts: by name.
        samples: how many it has.
        copies: how many of these are left out.
        contradictions: how many of those contradict the sample that they are copies of.
        unknown: how many of those have no identity.
    """

    counts: Mapping[str, int]
    samples: int
    copies: int
    unknown: int
    contradictions: int = 0

    def knows(self, name: str) -> bool:
        """Whether it is sure how many of the copies were counted under a name: none, or all as all samples were."""
        return not self.copies or self.counts.get(name, 0) in (0, self.samples)


def add_up(files: Sequence[Counted]) -> Counter[str]:
    """What was counted of all files, less what was of copies that are left out, which become duplicates."""
    total: Counter[str] = Counter()
    for file in files:
        total.update(file.counts)
    if copies := sum(file.copies for file in files):
        contradictions = sum(file.contradictions for file in files)
        total.update({DUPLICATES: copies - contradictions, CONTRADICTIONS: contradictions})
        total[UNKNOWN] -= sum(file.unknown for file in files)
    for name in OF_SAMPLES:
        if all(file.knows(name) for file in files):
            total[name] -= sum(file.copies for file in files if file.counts.get(name))
        else:
            total[f"{name}{INCLUDED}"] = total.pop(name)
    for name in (*OF_SAMPLES, UNKNOWN, DUPLICATES, CONTRADICTIONS):
        if not total[name]:
            del total[name]  # as where nothing was counted
    return total
