"""Who somebody is, whichever split of a benchmark he came from, told by the names that ``frl write`` gives."""

from __future__ import annotations

import re

SPLIT = re.compile(r"@[\w.,=-]+(?=/)")
"""The split in a name such as ``DISFA@fold1-train/SN001``."""


def across_splits(name: str) -> str:
    """The name of a person or an image without the split from which it came: ``DISFA/SN001``."""
    return SPLIT.sub("", name, count=1)
