"""Why an image or a face is no sample."""

from __future__ import annotations

from enum import StrEnum

from frl.beton.counts import CONTRADICTIONS, DUPLICATES


class Reason(StrEnum):
    """The kinds of reason, as the summary counts them."""

    UNUSABLE = "unusable"
    NO_FACE = "without a face"
    SMALL = "too small"
    CROWD = "beyond --max-faces"
    BLURRED = "blurred"
    EXPOSURE = "too dark or too bright"
    DUPLICATE = DUPLICATES
    NEAR_DUPLICATE = "near duplicates"
    CONTRADICTION = CONTRADICTIONS


class Reject(Exception):
    """An image or a face that cannot become a sample; the others go on.

    Args:
        detail: why, in words that name what was found.
        reason: what kind of reason that is.
    """

    def __init__(self, detail: str, reason: Reason = Reason.UNUSABLE) -> None:
        super().__init__(detail, reason)  # both, for exceptions are pickled by their arguments
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])
