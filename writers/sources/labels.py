"""Who is on an image, from what a source says: a name or a number, or what programs write where nobody is known."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Any

NOBODY = frozenset({"", "-1", "none", "nan", "null", "<na>", "n/a"})
"""What stands for nobody, in any case: ffcv's and scikit-learn's -1, and how Python, pandas and SQL write nothing."""

WHOLE = re.compile(r"(-?[0-9]+)\.0+")
"""A whole number as programs write it that took it for a fraction."""


def person(said: object) -> str | None:
    """The name of a person; None where nobody is known.

    Whole numbers are names in digits, also where a program made 3.0 of them, in text too: pandas writes a column of
    whole numbers so if some are missing. Names that look alike are one: without spaces around them, and composed (NFC),
    as some systems write an accent as a character of its own.

    Raises:
        ValueError: if it can be no name: a list, an object, true or false, a fraction, bytes that are no text, half of
            a character.
    """
    if hasattr(said, "tolist"):  # numpy's scalars
        said = said.tolist()
    if isinstance(said, bytes):
        try:
            said = said.decode()
        except UnicodeDecodeError:
            raise ValueError(_refusal(said)) from None
    if isinstance(said, float) and (said != said or said.is_integer()):
        said = None if said != said else int(said)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, str | int):
        raise ValueError(_refusal(said))
    name = tidy(str(said))
    if whole := WHOLE.fullmatch(name):
        name = whole[1]
    try:
        os.fsencode(name)  # as its folder would be called
    except UnicodeEncodeError:
        raise ValueError(_refusal(said)) from None
    return None if name.casefold() in NOBODY else name


def tidy(name: str) -> str:
    """A name composed (NFC), without spaces of any kind around it."""
    return unicodedata.normalize("NFC", name).strip()


def _refusal(said: Any) -> str:
    shown = repr(said)
    return f"its identity is neither a name nor a number: {shown if len(shown) <= 60 else shown[:57] + '...'}"
