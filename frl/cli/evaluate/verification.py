"""``frl evaluate verification``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frl.cli.evaluate.networks import Networks
from frl.config.check import require_file, require_folder
from frl.evaluate import VerificationResult, verification
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products


@dataclass(frozen=True, kw_only=True)
class Verification(Networks):
    """Same person or not: accuracy on LFW-style pairs, the threshold chosen on the other folds."""

    images: Path
    """Folder of NAME/NAME_0001.jpg and so on."""
    pairs: Path
    """List of pairs in the format of LFW's pairs.txt."""
    flip: bool = False
    """Add the feature of the mirrored image to that of the image."""
    centre: bool = False
    """Subtract the mean feature of the other folds' images."""

    def check(self) -> None:
        """As for all networks; and the files are there."""
        super().check()
        require_folder(self.images, "images")
        require_file(self.pairs, "pairs")

    def measure(self) -> dict[str, VerificationResult]:
        """The accuracy of each network."""
        device = pick_device(self.device, local_rank=0)
        exact_products()
        results = {}
        for name, network in self.networks().items():
            results[name] = result = verification(
                network.to(device),
                images=self.images,
                pairs=self.pairs,
                size=self.size,
                augment=self.normalisation,
                batch_size=self.batch_size,
                device=device,
                flip=self.flip,
                centre=self.centre,
            )
            accuracy = f"{result.accuracy:6.2%} +- {result.standard_error:.2%}"
            print(f"{name:<32} {accuracy}   ROC AUC {result.auc:.4f}", flush=True)
        return results
