"""What becomes of each item: samples in the file, lines in its list of rejects, and counts of both."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from frl.beton import BetonWriter
from frl.beton.counts import CENTRAL, ENCODED, OVER_BORDER, PASSED, UNKNOWN
from frl.beton.manifest import Claim
from frl.beton.targets import TargetSpec, encode_all
from frl.errors import WriteError
from writers.config import WriteConfig
from writers.curate import Duplicates
from writers.dry_run import DryRun
from writers.flow import Outcome
from writers.image.crop import Face
from writers.items import Item
from writers.reject import Reason, Reject
from writers.sources.skipped import Skipped
from writers.summary import BOXES, FOUND, SKIPPED

EXCESS = "Mend or remove such images, or raise the limit."
"""What to do where more images are unusable than the user allows."""


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """Puts items into the file.

    Attributes:
        file: where samples and rejects go; its counts are those of the summary.
        duplicates: which of the faces are there already.
        labels: of the identities.
        targets: of the file.
        config: the options.
    """

    file: BetonWriter | DryRun
    duplicates: Duplicates
    labels: Mapping[str, int]
    targets: Sequence[TargetSpec]
    config: WriteConfig

    def begin(self, skipped: Skipped) -> None:
        """Count what the listing passed by."""
        for reason, count in skipped.counts().items():
            self.file.counts[f"{SKIPPED}{reason}"] = count

    def take(self, item: Item, faces: Outcome) -> None:
        """Store the faces of an item, or why they are left out.

        Raises:
            WriteError: if more images are unusable than the user allows, or the file cannot be written.
        """
        counts = self.file.counts
        counts[BOXES] += item.candidate.box is not None  # told of in the manifest also where there is none
        if item.candidate.box is None and self.config.detect.detect != "none":
            counts[FOUND] += count_found(faces)
        several = len(faces) > 1 and sum(isinstance(face, Face) for face in faces) > 1
        identity = None if several else item.identity  # whose is it?
        label = -1 if identity is None else self.labels[identity]
        for name, face in zip(item.names(len(faces)), faces, strict=True):
            outcome = self.duplicates.sift(name, face, partial(self.claim, label))
            if isinstance(outcome, Reject):
                self.file.reject(name, str(outcome))
                counts[outcome.reason] += 1
                refuse_excess(counts[Reason.UNUSABLE], self.config.max_rejects, name, outcome)
            else:
                digest = outcome.fingerprint.digest if outcome.fingerprint else None
                self.file.append(outcome.data, outcome.height, outcome.width, label, name, outcome.targets, digest)
                for what in noted(outcome, label):
                    counts[what] += 1

    def claim(self, label: int, face: Face) -> Claim:
        """What will be said of a face."""
        try:
            values = encode_all(self.targets, face.targets)
        except ValueError:  # which the file refuses
            values = ()
        return Claim(label, zlib.crc32(b"".join(values)) if values else None)


def noted(face: Face, label: int) -> Iterator[str]:
    """What is counted of a sample."""
    yield PASSED if face.untouched else ENCODED
    if face.central:
        yield CENTRAL
    if face.over_border:
        yield OVER_BORDER
    if label < 0:
        yield UNKNOWN


def count_found(faces: Outcome) -> int:
    """How many faces a detector found on an item, whether or not they were kept."""
    none = (Reason.UNUSABLE, Reason.NO_FACE)
    return sum(not (isinstance(face, Reject) and face.reason in none) for face in faces)


def refuse_excess(rejected: int, allowed: int | None, name: str, reject: Reject) -> None:
    """Stop when more images were unusable than the user allows; what the filters drop does not count.

    Raises:
        WriteError: naming the last.
    """
    if allowed is not None and rejected > allowed:
        cause = f"{reject}; rejects: {rejected:,}, --max-rejects: {allowed:,}"
        raise WriteError(name, cause, EXCESS)
