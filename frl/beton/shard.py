"""The part of a data set that one job of an array writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from frl.errors import ConfigError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``total`` parts, counted from 1."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """The part meant by ``I/N``; None means all, which is the first part of one.

        Raises:
            ConfigError: if there is no such part.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", "1/1" if text is None else text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError("--shard", f"{text!r} is no part of a whole", "Use 1/8 to 8/8, say.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """This part. The parts in a row are the whole; they differ in length by one at most."""
        return things[(self.number - 1) * len(things) // self.total : self.number * len(things) // self.total]
