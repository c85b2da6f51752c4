"""``frl pretrain [PRESET] --data faces.beton --out runs/x [OPTIONS]``, ``frl pretrain --list``."""

from __future__ import annotations

from functools import partial

import torch
import tyro
from torch import nn

from frl import recipes
from frl.config import RunConfig, validate
from frl.distributed import World, world
from frl.environment import device_name
from frl.evaluate import knn_accuracy
from frl.evaluate.gallery import Probed, extract_gallery
from frl.lock import run_lock
from frl.precision import uses_bf16
from frl.presets import PRESETS, preset
from frl.swav import build_objective
from frl.train import Probe, train
from pipelines.loader import make_loader
from pipelines.stages import StagedLoader
from pipelines.whole_images import WholeImages

THUMBNAILS = 500  # images in the embedding projector: about 1 MB a probe
THUMBNAIL = 32  # their side, in pixels


def main(arguments: list[str]) -> None:
    """Parse a preset and its overrides, then train; ``--list`` prints the presets instead."""
    if arguments == ["--list"]:
        print(recipes.listing())
        return
    named = bool(arguments) and not arguments[0].startswith("-")
    name = arguments[0] if named else "vggface2"
    listing = "\n\n".join(f"{key}: {recipe.summary}" for key, recipe in PRESETS.items())
    config = tyro.cli(
        RunConfig,
        args=arguments[named:],
        default=preset(name).config,
        prog=f"frl pretrain {name}",
        description="Pre-train on a .beton. --list tells more of the presets, the first argument (vggface2 if none):"
        f"\n\n{listing}",
    )
    run(config, name)


def run(config: RunConfig, recipe: str) -> None:
    """Build the parts of a run on this process's device and train; ``recipe`` names its preset.

    Raises:
        FrlError: whatever is wrong, in a line.
    """
    validate(config)
    with world(config.device) as place, run_lock(config.out, enabled=place.is_main):
        if place.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        open_loader = partial(
            make_loader,
            config.data,
            batch_size=config.optim.batch_size,
            seed=config.seed,
            device=place.device,
            dtype=torch.bfloat16 if uses_bf16(config.precision, place.device) else torch.float32,
            rank=place.rank,
            world=place.size,
        )
        loader = StagedLoader(config.augment, open_loader)
        objective = build_objective(config, len(loader), place)
        if place.is_main:
            print(_summary(config, loader, place, recipe))
        train(config, loader, objective, world=place, probe=_knn_probe(config, place))


def _knn_probe(config: RunConfig, place: World) -> Probe | None:
    knn = config.knn
    if knn.data is None:
        return None
    images = WholeImages(
        knn.data,
        size=knn.size,
        batch_size=min(config.optim.batch_size, 256),
        device=place.device,
        augment=config.augment,
        limit=knn.limit,
    )

    def probe(backbone: nn.Module) -> Probed:
        features, gallery = extract_gallery(backbone, images, config.augment, side=THUMBNAIL, pictures=THUMBNAILS)
        return Probed(scores={"knn_top1": knn_accuracy(*features, neighbours=knn.neighbours)}, gallery=gallery)

    return probe


def _summary(config: RunConfig, loader: StagedLoader, place: World, recipe: str) -> str:
    """The start-up table."""
    precision = "bf16" if uses_bf16(config.precision, place.device) else "fp32"
    optim, steps = config.optim, len(loader)
    rows = {
        "data": f"{loader.full.betons.path}: {loader.samples:,} images, engine {config.data.engine}",
        "order": f"{loader.law}, {steps:,} steps an epoch",
        "model": f"{config.model.arch}, {config.model.prototypes} prototypes",
        "crops": recipes.crops_in_words(config.augment),
        "recipe": f"{recipe}: {optim.epochs} epochs, batch {optim.batch_size}, peak lr {optim.lr * optim.lr_scale:g}",
        "device": f"{place.size} x {device_name(place)}",
        "precision": precision,
        "placement": f"crops are made on the {'GPU' if place.device.type == 'cuda' else 'CPU'}",
        "time": f"{steps * optim.epochs:,} steps; told after the first {2 * config.log_every_steps}",
        "output": str(config.out),
    }
    return "\n".join(f"{key:>9}  {value}" for key, value in rows.items())
