"""``frl evaluate knn``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frl.cli.evaluate.networks import Networks, row_width
from frl.cli.shown import FeaturesConfig
from frl.config import EngineName, KnnConfig
from frl.config.check import require_above, require_least
from frl.evaluate import KnnResult, extract_features, leave_one_out, require_pairs
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products


@dataclass(frozen=True, kw_only=True)
class Knn(FeaturesConfig, Networks):
    """Whose face it is: leave-one-out accuracy of weighted nearest neighbours on a labelled .beton."""

    data: Path
    """A labelled .beton, or a folder with a folder for each person."""
    neighbours: int = KnnConfig.neighbours
    """Neighbours that vote."""
    temperature: float = 0.07
    """Of the weights of their votes: the smaller, the more the nearest count."""
    limit: int = KnnConfig.limit
    """Images used at most."""
    engine: EngineName = "threads"
    """What decodes the images; see ``frl pretrain``."""

    def check(self) -> None:
        """As for all networks; and the votes can be counted."""
        super().check()
        require_least("neighbours", self.neighbours, 1, "The usual number is 20.")
        require_above("temperature", self.temperature, 0, "The usual value is 0.07.")
        require_least("limit", self.limit, 1, "The default is 20000.")

    def measure(self) -> dict[str, KnnResult]:
        """The accuracy of each network."""
        from frl.cli.data import open_images
        from pipelines.whole_images import WholeImages  # takes seconds, which others do not need to spend

        device = pick_device(self.device, local_rank=0)
        exact_products()
        images = WholeImages(
            self.data,
            size=self.side,
            batch_size=self.batch_size,
            device=device,
            augment=self.normalisation,
            limit=self.limit,
            engine=self.engine,
            open=open_images,
        )
        require_pairs(images.labels, self.data)
        results = {}
        networks = self.networks()
        width = row_width(networks)
        for name, network in networks.items():
            vectors, labels = extract_features(network.to(device), images)
            results[name] = result = leave_one_out(
                vectors, labels, neighbours=self.neighbours, temperature=self.temperature
            )
            judged = f"{result.queries:,} images, {result.identities:,} identities, {result.neighbours} neighbours"
            print(f"{name:<{width}} {result.accuracy:6.2%} of {judged}, {self.side} pixels")
        return results
