"""Tables of text: between the cells a spreadsheet writes commas, semicolons or tabs, by its language."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = ",;\t"


def rows_of(lines: Iterator[str]) -> Reader:
    """The rows of a table, its header first; its separator is the one that the first line holds most of.

    Args:
        lines: with their ends as they are (``newline=""``).
    """
    first = next(lines, "")
    separator = max(SEPARATORS, key=first.count)
    return csv.reader(chain([first], lines), delimiter=separator, skipinitialspace=True)
