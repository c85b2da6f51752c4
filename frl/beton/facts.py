"""What is inside a ``.beton``, in numbers: for ``frl info`` and for the data card."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frl.beton.manifest import Manifest, SampleLines, rejects_path, samples_path
from frl.beton.reader import Beton
from frl.beton.targets import TargetSpec
from frl.errors import BetonError, blame_machine


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A file in numbers; bytes and pixels.

    Attributes:
        path: the file.
        samples: how many there are.
        nbytes: size of the file; image_bytes: of the encoded images in it.
        page_size: bytes per page.
        sides: (N,) uint16, the longer side of each image.
        per_identity: (I,) int64, images of each identity that has any, in no order.
        unknown: images without identity.
        per_source: images by the name of their source; empty if the writer left no names.
        rejects: images left out by the kind of reason.
        manifest: what the writer noted, or None.
        targets: what else is stored of the samples.
    """

    path: Path
    samples: int
    nbytes: int
    image_bytes: int
    page_size: int
    sides: np.ndarray
    per_identity: np.ndarray
    unknown: int
    per_source: dict[str, int]
    rejects: dict[str, int]
    manifest: Manifest | None
    targets: tuple[TargetSpec, ...]

    @property
    def sources(self) -> dict[str, str]:
        """What the user gave as each source, by the name that its samples begin with."""
        given = self.settings.get("sources")
        return given if isinstance(given, dict) else {}

    @property
    def known(self) -> dict[str, str]:
        """Of how many samples each target is known, in words."""
        counts = self.manifest.known if self.manifest is not None else {}
        return {
            spec.name: f"known of {counts[spec.name]:,} of {self.samples:,}" if spec.name in counts else "not counted"
            for spec in self.targets
        }

    @property
    def settings(self) -> dict[str, Any]:
        """How the file was made; empty where unknown."""
        return self.manifest.settings if self.manifest is not None else {}

    @property
    def rejected(self) -> int:
        """Images left out."""
        return sum(self.rejects.values())


def joined(join: dict[str, Any]) -> str:
    """How a table met the images, of the manifest's account of it."""
    used = f"{join['used']:,} of {join['rows']:,} rows used"
    return f"{join['table']}: {used}; {join['without']:,} of {join['images']:,} images without a row"


def gather(beton: Beton) -> Facts:
    """The facts about an open file. Reads its sidecars, and no image.

    Raises:
        BetonError: a sidecar is damaged.
    """
    known = beton.labels[beton.labels >= 0]
    settings = beton.manifest.settings if beton.manifest is not None else {}
    sources = settings.get("sources")
    return Facts(
        path=beton.path,
        samples=len(beton),
        nbytes=beton.data.size,
        image_bytes=int(beton.nbytes.sum()),
        page_size=beton.page_size,
        sides=np.maximum(beton.heights, beton.widths),
        per_identity=np.unique(known, return_counts=True)[1],
        unknown=len(beton) - len(known),
        per_source=_count_sources(beton.home, sources) if isinstance(sources, dict) else {},
        rejects=_count_rejects(beton.home),
        manifest=beton.manifest,
        targets=beton.targets,
    )


def _count_sources(path: Path, sources: dict[str, str]) -> dict[str, int]:
    """How many samples each source gave; their names begin with its own."""
    counts = dict.fromkeys(sources, 0)
    longest_first = [(f"{source}/" if source else "", source) for source in sorted(sources, key=len, reverse=True)]
    try:
        for line in SampleLines(samples_path(path)):
            for beginning, source in longest_first:
                if line.name.startswith(beginning):
                    counts[source] += 1
                    break
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        blame_machine(error, f"reading {samples_path(path)}")
        raise BetonError(samples_path(path), f"is damaged ({error})", "frl verify says more.") from error
    return counts


def _count_rejects(path: Path) -> dict[str, int]:
    """Rejects by the kind of reason, the most frequent first."""
    kinds: Counter[str] = Counter()
    try:
        with open(rejects_path(path), encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                kinds[reason_kind(line.rstrip("\n").partition("\t")[2])] += 1
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BetonError(rejects_path(path), f"cannot be read ({error.strerror})", "Restore it.") from error
    return dict(kinds.most_common())


def reason_kind(reason: str) -> str:
    """What reasons of one kind have in common: what stands before a colon, without numbers and names of others."""
    plain = re.sub(r"(the same bytes as|looks like|contradicts the copy) .*", r"\1 another", reason.split(": ")[0])
    return re.sub(r"-?\d+(?:[.,]\d+)*(?:e-?\d+)?", "N", plain)
