"""A whole run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from frl.config.changes import check_changes
from frl.config.check import require_least, require_new_folder, require_seed
from frl.config.codec import as_dict
from frl.config.coerce import coerce
from frl.config.data import DataConfig
from frl.config.model import ModelConfig
from frl.config.monitor import HealthConfig, KnnConfig
from frl.config.objective import ObjectiveConfig, SwAVConfig
from frl.config.optim import OptimConfig
from frl.config.probe import ProbeConfig
from frl.config.views import AugmentConfig
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines one pre-training run."""

    out: Path = Path("runs/frl")
    """Folder of the run: checkpoints, logs, resolved configuration."""
    seed: int = 0
    """Seeds the weights, the order and every crop."""
    data: Annotated[DataConfig, tyro.conf.arg(name="")] = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=SwAVConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 autocast where the device computes it natively, else fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the backbone, one static graph per crop size; auto: on GPUs, where it proves faster,
    alone or replayed as CUDA graphs. On a GPU the augmentation is compiled too, unless off, wherever that works."""
    deterministic: bool = False
    """The same weights bit for bit whenever the run is repeated on the same kind of machine, with as many processes and
    threads. Nothing is chosen by measuring it: what is left to auto is not compiled, its crops are made while loading,
    and on a CPU it computes in fp32. No operation may add up in another order, and a GPU's convolutions are not chosen
    for speed: on a GPU a step takes longer (not measured yet); on a CPU only the choices cost anything."""
    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more arithmetic,
    the same weights."""
    gradient_compression: Literal["none", "bf16"] = "none"
    """Number format in which gradients travel between ranks; bf16 halves the bytes."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    allow_changes: tuple[str, ...] = ()
    """Options in which this run may differ from the checkpoint it goes on from, as the refusal or the command line
    names them (optim.lr, say); a section stands for all its options, data for another data set."""
    resume: bool = True
    """Go on from the newest checkpoint in `out`, mid-epoch if need be."""
    checkpoint_every_steps: int = 1000
    """Steps between two checkpoints; one is always written at the end of an epoch."""
    keep_checkpoints: int = 3
    """Newest checkpoints kept."""
    log_every_steps: int = 20
    """Steps between two log lines; the device is synchronised only then."""
    profile: int = 0
    """Steps of which a trace is written to `out`, after the first few; 0: none."""
    wandb: str | None = None
    """Project of Weights & Biases to log to as well (needs pip install wandb); none: only the run's own folder."""
    max_steps: int = -1
    """Stop after this many steps in all (the schedule is not shortened); -1: never."""

    def __post_init__(self) -> None:
        coerce(self)

    def images_at_once(self, ranks: int) -> int:
        """Images of one micro-batch on one of ``ranks`` ranks."""
        return self.optim.batch_size // (ranks * self.optim.accumulate)


def without_measuring(config: RunConfig) -> RunConfig:
    """``config`` with the choices made that would be made by measuring, but for that of the number format."""
    augment_on: Literal["cpu", "gpu"] = "gpu" if config.data.engine == "dali" else "cpu"
    return replace(
        config,
        data=replace(config.data, augment_on=augment_on) if config.data.augment_on == "auto" else config.data,
        compile="off" if config.compile == "auto" else config.compile,
    )


def too_late(config: RunConfig) -> list[str]:
    """What a run's options have happen after its last epoch, a line each: a short trial is none the worse for it."""
    epochs = config.optim.epochs
    found = {f"objective.{name}": what for name, what in config.objective.too_late(epochs).items()}
    if config.optim.warmup_epochs >= epochs:
        found["optim.warmup_epochs"] = "the learning rate rises to the end and never falls"
    if config.augment.stages and config.augment.stages[-1].until_epoch >= epochs:
        found["augment.stages"] = "crops of the full sizes are never seen"
    run = f"the run ends after epoch {epochs}"
    return [f"--{option.replace('_', '-')}: {run}, and {what}" for option, what in found.items()]


def validate(config: RunConfig) -> None:
    """Refuse a configuration that cannot work, naming the option and the remedy.

    Raises:
        ConfigError: on the first contradiction found.
    """
    sections = (config.augment, config.data, config.optim, config.model, config.knn, config.probe, config.health)
    for section in sections:
        section.check()
    config.objective.check(config)
    if config.deterministic and config.optim.batch_size == 0:
        cause = "which batch is the largest depends on the memory that is free then, and the run is --deterministic"
        raise ConfigError("--optim.batch-size", cause, "Give a number: that which such a search has printed, say.")
    check_changes(config.allow_changes, as_dict(config))
    require_seed("seed", config.seed)
    require_least("checkpoint_every_steps", config.checkpoint_every_steps, 1, "The default is 1000.")
    require_least("keep_checkpoints", config.keep_checkpoints, 1, "The default is 3.")
    require_least("log_every_steps", config.log_every_steps, 1, "The default is 20.")
    require_least("profile", config.profile, 0, "Use 0 for no trace.")
    require_least("max_steps", config.max_steps, -1, "Use -1 for no limit.")
    require_new_folder(config.out, "out")
