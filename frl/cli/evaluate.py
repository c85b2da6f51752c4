"""``frl evaluate verification|knn --weights WEIGHTS ...``: measure a frozen backbone beside its baselines."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from torch import nn

from frl import hub
from frl.config import AugmentConfig, EngineName
from frl.config.check import (
    require,
    require_above,
    require_file,
    require_folder,
    require_least,
    require_new_file,
    require_seed,
)
from frl.config.coerce import coerce
from frl.evaluate import (
    KnnResult,
    RawPixels,
    VerificationResult,
    extract_features,
    leave_one_out,
    require_pairs,
    untrained,
    verification,
)
from frl.export import load_backbone, require_arch
from frl.files import atomic_write
from frl.models.backbone import require_size
from frl.runtime import checkpoint
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What is measured, and how it sees the images."""

    weights: Path | None = None
    """A run's folder, a checkpoint or an export of frl, a torchvision state dict, a released checkpoint, or
    hub:ORG/NAME; none: baselines alone."""
    arch: str | None = None
    """Network: resnet18, resnet18-w16-nopool (width 16, no pooling in the stem), timm/NAME; none: told by the file or
    by the shapes of its weights (without weights: resnet50)."""
    baselines: bool = True
    """Measure the same network untrained, and raw pixels, too."""
    seed: int = 0
    """Draws the untrained network."""
    size: int = 224
    """Side of the images shown to the network; use about the size of the larger training crops."""
    batch_size: int = 64
    """Images in a batch."""
    mean: tuple[float, float, float] = AugmentConfig().mean
    """Subtracted from RGB in [0, 1], as in training."""
    std: tuple[float, float, float] = AugmentConfig().std
    """Divides RGB after the mean is subtracted, as in training."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    out: Path | None = None
    """Also write the figures to this file, as JSON."""
    overwrite: bool = False
    """Replace that file if it exists."""

    def __post_init__(self) -> None:
        coerce(self)

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(self.weights is not None or self.baselines, "weights", "nothing to measure", "Give weights, or leave "
                "the baselines in.")  # fmt: skip
        if self.arch is not None:
            require_arch(self.arch)
        require_seed("seed", self.seed)
        require_least("size", self.size, 1, "Use about the size of the larger training crops.")
        require_least("batch_size", self.batch_size, 1, "The default is 64.")
        _normalisation(self).check()
        if self.out is not None:
            require_new_file(self.out, "out", overwrite=self.overwrite)


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


@dataclass(frozen=True, kw_only=True)
class Knn(Networks):
    """Whose face it is: leave-one-out accuracy of weighted nearest neighbours on a labelled .beton."""

    data: Path
    """A labelled .beton."""
    neighbours: int = 20
    """Neighbours that vote."""
    temperature: float = 0.07
    """Of the weights of their votes: the smaller, the more the nearest count."""
    limit: int = 20000
    """Images used at most."""
    engine: EngineName = "threads"
    """What decodes the images; see ``frl pretrain``."""

    def check(self) -> None:
        """As for all networks; and the votes can be counted."""
        super().check()
        require_least("neighbours", self.neighbours, 1, "The usual number is 20.")
        require_above("temperature", self.temperature, 0, "The usual value is 0.07.")
        require_least("limit", self.limit, 1, "The default is 20000.")


def main(arguments: list[str]) -> None:
    """Parse the task and its options, measure, and print a table."""
    task = tyro.extras.subcommand_cli_from_dict(
        {"verification": Verification, "knn": Knn},
        args=arguments,
        prog="frl evaluate",
        description="Measure weights: face verification, or identity by nearest neighbours.",
    )
    run(task)


def run(task: Verification | Knn) -> dict[str, VerificationResult] | dict[str, KnnResult]:
    """Measure every network of ``task``, print a row for each, and return the results by name.

    Raises:
        FrlError: whatever is wrong with the weights, the data or the options.
    """
    task.check()
    results = _verify(task) if isinstance(task, Verification) else _knn(task)
    if task.out is not None:
        with atomic_write(task.out) as stream:
            stream.write(json.dumps({name: dataclasses.asdict(r) for name, r in results.items()}, indent=2).encode())
    return results


def _verify(task: Verification) -> dict[str, VerificationResult]:
    device = pick_device(task.device, local_rank=0)
    exact_products()
    results = {}
    for name, network in _networks(task).items():
        results[name] = result = verification(
            network.to(device),
            images=task.images,
            pairs=task.pairs,
            size=task.size,
            augment=_normalisation(task),
            batch_size=task.batch_size,
            device=device,
            flip=task.flip,
            centre=task.centre,
        )
        print(
            f"{name:<32} {result.accuracy:6.2%} +- {result.standard_error:.2%}   ROC AUC {result.auc:.4f}", flush=True
        )
    return results


def _knn(task: Knn) -> dict[str, KnnResult]:
    from pipelines.whole_images import WholeImages  # takes seconds, which verification does not need to spend

    device = pick_device(task.device, local_rank=0)
    exact_products()
    images = WholeImages(
        task.data,
        size=task.size,
        batch_size=task.batch_size,
        device=device,
        augment=_normalisation(task),
        limit=task.limit,
        engine=task.engine,
    )
    require_pairs(images.labels, task.data)
    results = {}
    for name, network in _networks(task).items():
        vectors, labels = extract_features(network.to(device), images)
        results[name] = result = leave_one_out(
            vectors, labels, neighbours=task.neighbours, temperature=task.temperature
        )
        print(f"{name:<32} {result.accuracy:6.2%} of {result.queries:,} images, {result.identities:,} identities")
    return results


def _normalisation(task: Networks) -> AugmentConfig:
    return AugmentConfig(mean=task.mean, std=task.std)


def _networks(task: Networks) -> dict[str, nn.Module]:
    arch = task.arch or "resnet50"
    networks: dict[str, nn.Module] = {}
    if task.weights is not None:
        backbone, arch = load_backbone(task.weights, task.arch)
        networks[f"{_label(task.weights)} ({arch})"] = backbone
    require_size(arch, task.size, "--size")
    if task.baselines:
        networks |= {f"untrained ({arch})": untrained(arch, task.seed), "raw pixels": RawPixels()}
    return networks


def _label(weights: Path) -> str:
    """What the table calls the weights: the file, of a run's folder the run and the checkpoint."""
    if hub.is_address(weights):
        return str(weights)
    file = checkpoint.resolve(weights)
    return file.name if file == weights else f"{weights.resolve().name}/{file.name}"
