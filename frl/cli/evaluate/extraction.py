"""Features of the faces of both sides of an evaluation, each file shown to a network once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from frl.cli.evaluate.parts import Part
from frl.evaluate.baselines import RawPixels
from frl.evaluate.cache import FeatureCache, feature_key
from frl.evaluate.downstream import FrozenFeatures
from frl.evaluate.features import OfMirrorImages, extract_features
from frl.evaluate.hog import Hog
from frl.evaluate.task_probe import pooled_width
from frl.evaluate.unpooled import PooledAndUnpooled
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products

if TYPE_CHECKING:
    from frl.cli.evaluate.supervised import Supervised


class Extraction:
    """Shows one network after the other the faces of an evaluation.

    Args:
        options: how, and which features are wanted.
        device: of this process; None: as the options say.
    """

    def __init__(self, options: Supervised, device: torch.device | None = None) -> None:
        self.options = options
        self.device = device or pick_device(options.device, local_rank=0)
        self.cache = FeatureCache(options.cache)
        exact_products()

    def __call__(self, network: nn.Module) -> Extracted:
        """The features of a network. Nothing is computed yet."""
        return Extracted(self, network.to(self.device))


class Extracted:
    """Features of a network, which are computed when they are first asked for."""

    def __init__(self, extraction: Extraction, network: nn.Module) -> None:
        self.options, self.device, self.cache = extraction.options, extraction.device, extraction.cache
        self.network = network
        self.handmade = isinstance(network, (RawPixels, Hog))
        self.seen = network if self.handmade else PooledAndUnpooled(network)
        self.of_files: dict[tuple[str, bool], Tensor] = {}

    def of(self, train: Part, test: Part) -> Mapping[str, FrozenFeatures]:
        """The features of both sides by their kind: those of baselines without a feature map are ``as they are``."""
        learned, judged = self._vectors(train), self._vectors(test)
        mirrored = self._vectors(test, mirrored=True) if self.options.flip else None
        if self.handmade:
            return {"": FrozenFeatures(train=learned, test=judged, mirrored=mirrored)}
        width = pooled_width(self.network, self.options.side)
        parts = {"pooled": slice(0, width), "unpooled": slice(width, None)}
        wanted = list(parts) if self.options.features == "both" else [self.options.features]
        return {
            kind: FrozenFeatures(
                train=learned[:, parts[kind]],
                test=judged[:, parts[kind]],
                mirrored=None if mirrored is None else mirrored[:, parts[kind]],
            )
            for kind in wanted
        }

    def _vectors(self, part: Part, *, mirrored: bool = False) -> Tensor:
        """Features of some faces of a file, or of their mirror images; those of the whole file are kept."""
        key = part.content, mirrored
        if key not in self.of_files:
            self.of_files[key] = self._of_file(part, OfMirrorImages(self.seen) if mirrored else self.seen)
        return self.of_files[key][torch.from_numpy(part.rows).to(self.device)]

    def _of_file(self, part: Part, network: nn.Module) -> Tensor:
        from pipelines.whole_images import WholeImages  # takes seconds, which a wrong option does not need to spend

        options = self.options

        def compute() -> Tensor:
            images = WholeImages(
                part.path,
                size=options.side,
                batch_size=options.batch_size,
                device=self.device,
                augment=options.normalisation,
                limit=options.limit,
                engine=options.engine,
            )
            try:
                return extract_features(network, images, normalise=False).vectors
            finally:
                images.close()

        view = f"whole {options.side} {options.normalisation.mean} {options.normalisation.std}"
        count = part.faces
        if options.limit is not None and options.limit < count:
            count, view = options.limit, f"{view} first {options.limit}"
        return self.cache.get(feature_key(network, part.content, view), count, compute).to(self.device)
