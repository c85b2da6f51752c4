"""Whether training and test data are of different people, told by the names that ``frl write`` gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from frl.errors import SourceError

SPLIT = re.compile(r"@[\w.,=-]+(?=/)")
"""The split in a name such as ``DISFA@fold1-train/SN001``."""

SHOWN = 3


def across_splits(name: str) -> str:
    """The name of a person or an image without the split from which it came: ``DISFA/SN001``."""
    return SPLIT.sub("", name, count=1)


def require_apart(train: Iterable[str], test: Iterable[str], where: str) -> None:
    """Refuse test data that hold people, or images, of the training data.

    Args:
        train: the names in the training data.
        test: those in the test data.
        where: what to call the two in the message.

    Raises:
        SourceError: naming some that are in both.
    """
    both = sorted(set(map(across_splits, train)) & set(map(across_splits, test)))
    if both:
        shown = ", ".join(both[:SHOWN]) + (", ..." if len(both) > SHOWN else "")
        cause = f"{len(both):,} of the test data are in the training data, too: {shown}"
        raise SourceError(where, cause, "Write both anew from splits that share nobody.")
