"""Judging a network while it trains: the ranks look at the images together, the main one judges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.evaluate.features import Features
from frl.evaluate.gallery import Gallery, Probed, extract_gallery
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

    def judge(self) -> Probed:
        """The accuracy over all images, and a gallery of the first ones."""
        gallery: Gallery = self.gallery
        found = leave_one_out(*self.features, neighbours=self.neighbours)
        return Probed(scores={"knn_top1": found.accuracy}, gallery=gallery, words=f"k-NN: {found}")
