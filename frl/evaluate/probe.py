"""Judging a network while it trains: the ranks look at the images together, the main one judges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.evaluate.features import Features
from frl.evaluate.gallery import Probed, extract_gallery
from frl.evaluate.knn import leave_one_out
from frl.runtime.distributed import World

THUMBNAILS = 500  # images in the embedding projector: about 1 MB a probe
THUMBNAIL = 32  # their side, in pixels


class Probe(Protocol):
    """Something to learn of a backbone, in three parts, of which only the second is a collective call."""

    def look(self, backbone: nn.Module) -> None:
        """Compute what is needed of this rank's share of the images."""
        ...

    def gather(self, world: World) -> None:
        """Bring the shares of all ranks together. A collective call."""
        ...

    def judge(self) -> Probed:
        """The scores; called on the main rank alone."""
        ...


class Schedule:
    """Which probes are due after which epoch.

    Args:
        probes: each with the number of epochs from one time to the next.
    """

    def __init__(self, probes: Sequence[tuple[Probe, int]]) -> None:
        self.probes = probes

    def due(self, epochs: int, *, last: bool) -> Probe | None:
        """Those that are to look after so many epochs, as one; None: none of them. After the last epoch all look."""
        found = [probe for probe, every in self.probes if last or epochs % every == 0]
        return Probes(found) if found else None


@dataclass(frozen=True)
class Probes:
    """Several probes, one after the other, as one."""

    parts: Sequence[Probe]

    def look(self, backbone: nn.Module) -> None:
        """Let each look."""
        for probe in self.parts:
            probe.look(backbone)

    def gather(self, world: World) -> None:
        """Bring the shares of each together. A collective call."""
        for probe in self.parts:
            probe.gather(world)

    def judge(self) -> Probed:
        """The scores of all, and the first gallery."""
        found = [probe.judge() for probe in self.parts]
        return Probed(
            scores={name: value for each in found for name, value in each.scores.items()},
            gallery=next((each.gallery for each in found if each.gallery is not None), None),
            words="; ".join(each.words for each in found if each.words),
            described=tuple(metric for each in found for metric in each.described),
        )


@dataclass
class KnnProbe:
    """Identity accuracy of a leave-one-out k-NN classifier.

    Args:
        images: this rank's share of the labelled images; the shares follow each other in the order of the ranks.
        augment: its mean and standard deviation normalised the images.
        neighbours: voters for each image.
    """

    images: Iterable[Batch]
    augment: AugmentConfig
    neighbours: int

    def look(self, backbone: nn.Module) -> None:
        """Extract the features of this rank's images."""
        self.features, self.gallery = extract_gallery(
            backbone, self.images, self.augment, side=THUMBNAIL, pictures=THUMBNAILS
        )

    def gather(self, world: World) -> None:
        """The features of all ranks' images, in the order of the file."""
        self.features = Features(*map(world.gather_rows, self.features))
        if not world.is_main:
            del self.features, self.gallery  # the main rank judges

    def judge(self) -> Probed:
        """The accuracy over all images, and a gallery of the first ones."""
        features, gallery = self.features, self.gallery
        del self.features, self.gallery  # the device's memory is the training's
        found = leave_one_out(*features, neighbours=self.neighbours)
        return Probed(scores={"knn_top1": found.accuracy}, gallery=gallery, words=f"k-NN: {found}")
