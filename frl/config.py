"""The configuration of a run: frozen dataclasses whose field docstrings become the help text."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from frl.errors import ConfigError

EngineName = Literal["ffcv", "dali", "torch"]


@dataclass(frozen=True, kw_only=True)
class CropSpec:
    """One resolution of the multi-crop (torchvision's ``RandomResizedCrop``)."""

    size: int
    """Side of the crop after resizing, in pixels."""
    count: int
    """Crops of this size per image."""
    scale: tuple[float, float]
    """Range of the crop's share of the image area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the crop's aspect ratio (width / height), log-uniform."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Other crop sizes for the first epochs: small crops learn the coarse early, at a fraction of the time."""

    until_epoch: int
    """The first epoch of the next stage, or of the full sizes."""
    sizes: tuple[int, ...]
    """Side of the crops of each resolution meanwhile, in pixels."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """The multi-crop augmentation; defaults are the paper's (SwAV's with its published strengths)."""

    crops: tuple[CropSpec, ...] = (
        CropSpec(size=224, count=2, scale=(0.14, 1.0)),
        CropSpec(size=96, count=6, scale=(0.05, 0.14)),
    )
    """Resolutions; the assignments are computed on the crops of the first."""
    stages: tuple[Stage, ...] = ()
    """Crop sizes of the first epochs, in the order of their ends; none: the full sizes from the start."""
    flip_p: float = 0.5
    """Probability of a horizontal flip."""
    jitter_p: float = 0.8
    """Probability of the colour jitter."""
    brightness: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    contrast: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0; pivots on the crop's mean grey."""
    saturation: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    hue: float = 0.2
    """Shift drawn from [-x, x] turns of the colour wheel; at most 0.5."""
    grey_p: float = 0.2
    """Probability of dropping the colour."""
    blur_p: float = 0.5
    """Probability of a Gaussian blur (23 x 23 taps)."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the blur's standard deviation, in pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = (0.228, 0.224, 0.225)
    """Divides RGB after the mean is subtracted."""

    @property
    def total_crops(self) -> int:
        """Crops per image over all resolutions."""
        return sum(spec.count for spec in self.crops)

    @property
    def recipes(self) -> tuple[AugmentConfig, ...]:
        """The recipe of each stage, the full sizes last."""
        return tuple(map(self.of_epoch, [*(stage.until_epoch - 1 for stage in self.stages), sys.maxsize]))

    def of_epoch(self, epoch: int) -> AugmentConfig:
        """The recipe of one epoch, without stages: a pure function of ``epoch``, so a resumed run finds its stage."""
        for stage in self.stages:
            if epoch < stage.until_epoch:
                sized = zip(self.crops, stage.sizes, strict=True)
                crops = tuple(dataclasses.replace(spec, size=size) for spec, size in sized)
                return dataclasses.replace(self, crops=crops, stages=())
        return dataclasses.replace(self, stages=())


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples come from and how they are read."""

    data: tuple[Path, ...] = (Path("faces.beton"),)
    """The .beton file to train on, or several."""
    weights: tuple[float, ...] = ()
    """Share of each file in a batch, in proportion; none: as many as it has. An epoch ends before a sample repeats."""
    order: Literal["auto", "random", "pages"] = "auto"
    """random: uniform over all samples. pages: windows of pages, for files larger than memory. auto: pages for files
    that exceed half of it."""
    page_window: int = 64
    """Pages (8 MiB each, unless the writer was told otherwise) whose samples are mixed in page order."""
    augment_on: Annotated[Literal["auto", "cpu", "gpu"], tyro.conf.arg(name="augment")] = "auto"
    """Where crops are made: cpu, while loading; gpu, on the training device; auto measures both at the start."""
    engine: EngineName = "ffcv"
    """Loader: ffcv's decoder on threads, NVIDIA's DALI, or a plain PyTorch DataLoader. Same samples, same crops."""
    workers: int = 0
    """Decoding threads (ffcv, dali) or processes (torch) per GPU; 0: the cores of this machine shared by its ranks."""
    prefetch: int = 3
    """Batches decoded ahead of the step."""
    stage: Path | None = None
    """Folder on a fast disk of each machine, to which the files are copied first; none: read them where they are."""
    stage_minutes: float = 60
    """How long a process waits for another one's copy."""
    on_broken: Literal["raise", "replace"] = "raise"
    """A JPEG that fails to decode stops the run, or is replaced by the next sample of its batch and counted."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: a torchvision ResNet, a projector and the prototypes."""

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "wide_resnet101_2"] = "resnet50"
    """Backbone, by its torchvision name."""
    hidden_dim: int = 2048
    """Width of the projector's hidden layer."""
    feature_dim: int = 128
    """Width of the projected, normalised feature."""
    prototypes: int = 3000
    """Number of prototypes (clusters)."""
    batch_norm: Literal["auto", "local", "sync"] = "auto"
    """Images that share BatchNorm's statistics: those of one GPU (local), or of several (sync, as in the paper);
    auto: local from 64 images at once on a GPU up."""
    batch_norm_group: int = 0
    """GPUs that share statistics under sync; 0: all."""


@dataclass(frozen=True, kw_only=True)
class SwAVConfig:
    """The objective (Caron et al., 2020)."""

    temperature: float = 0.1
    """Temperature of the softmax over prototypes."""
    epsilon: float = 0.05
    """Entropy regularisation of the Sinkhorn assignment."""
    sinkhorn_iterations: int = 3
    """Alternating normalisations of the assignment."""
    queue_length: int = 0
    """Features kept from earlier steps for the assignment, over all ranks; 0: none. 3840 helps small batches."""
    queue_from_epoch: int = 15
    """Epoch from which the queue takes part."""
    freeze_prototypes_steps: int = -1
    """Steps during which the prototypes do not learn; -1: the first epoch."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """LARC-SGD with linear warm-up and cosine decay."""

    batch_size: int = 1024
    """Images per step over all ranks; 0: the largest that the GPUs hold (a resumed run keeps its own)."""
    accumulate: int = 1
    """Micro-batches per step: memory for one, assignments over all. BatchNorm sees a micro-batch at a time."""
    epochs: int = 400
    """Passes over the data."""
    lr: float = 1.2
    """Peak learning rate, for a batch of reference_batch (the paper: 4.8 at batch 4096)."""
    start_lr: float = 0.075
    """Learning rate of the first warm-up step (the paper: 0.3 at batch 4096)."""
    final_lr: float = 0.0012
    """Learning rate of the last step (the paper: 0.0048 at batch 4096)."""
    reference_batch: int = 0
    """Batch size for which the three learning rates are given; they grow linearly with batch_size. 0: batch_size."""
    warmup_epochs: float = 10
    """Epochs of linear warm-up."""
    momentum: float = 0.9
    """SGD momentum."""
    weight_decay: float = 1e-6
    """L2 penalty, on every parameter, as in the paper's code."""
    trust: float = 0.001
    """LARC's trust coefficient; 0: plain SGD."""

    @property
    def lr_scale(self) -> float:
        """By what the learning rates are multiplied: they follow the batch size linearly."""
        return self.batch_size / self.reference_batch if self.reference_batch else 1.0


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Online k-NN accuracy on a labelled .beton, leave-one-out."""

    data: Path | None = None
    """Labelled .beton to probe; none: no probe."""
    every_epochs: int = 5
    """Epochs between two probes."""
    size: int = 224
    """Side of the images shown to the backbone."""
    neighbours: int = 20
    """Neighbours that vote."""
    limit: int = 20000
    """Images used at most."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """The collapse alarm; it watches once the prototypes learn."""

    action: Literal["warn", "stop"] = "warn"
    """What the alarm does: print a warning, or save a checkpoint and end the run with an error."""
    patience_steps: int = 2000
    """Steps for which the signs must last."""
    max_loss: float = 0.97
    """Sick above this share of ln(prototypes), the loss of guessing."""
    min_prototypes_used: float = 0.02
    """Sick when a smaller share of the prototypes is in use."""
    min_spread: float = 0.05
    """Sick when the features' standard deviation (1: isotropic, 0: a point) is smaller."""
    max_skipped_steps: int = 10
    """Steps in a row with an infinite or undefined loss or gradient that are passed over; at so many the run ends."""
    min_rank: float = 1.5
    """Sick when the features' effective rank (RankMe; 1: all on one line) is smaller."""


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
    swav: SwAVConfig = field(default_factory=SwAVConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 autocast where the device computes it natively, else fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the backbone, one static graph per crop size; auto: on GPUs, where it proves faster."""
    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more arithmetic,
    the same weights."""
    gradient_compression: Literal["none", "bf16"] = "none"
    """Number format in which gradients travel between ranks; bf16 halves the bytes."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    allow_changes: tuple[str, ...] = ()
    """Options in which this run may differ from the checkpoint it goes on from, as the refusal names them (optim.lr,
    say); data stands for another data set."""
    resume: bool = True
    """Go on from the newest checkpoint in `out`, mid-epoch if need be."""
    checkpoint_every_steps: int = 1000
    """Steps between two checkpoints; one is always written at the end of an epoch."""
    keep_checkpoints: int = 3
    """Newest checkpoints kept."""
    log_every_steps: int = 20
    """Steps between two log lines; the device is synchronised only then."""
    wandb: str | None = None
    """Project of Weights & Biases to log to as well (needs the extra frl[wandb]); none: only the run's own folder."""
    max_steps: int = -1
    """Stop after this many steps in all (the schedule is not shortened); -1: never."""

    def images_at_once(self, ranks: int) -> int:
        """Images of one micro-batch on one of ``ranks`` ranks."""
        return self.optim.batch_size // (ranks * self.optim.accumulate)


def as_dict(config: Any) -> dict[str, Any]:
    """A JSON-ready dictionary of a configuration: paths become strings, tuples become lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def from_dict(kind: Any, saved: Any) -> Any:
    """The inverse of `as_dict`: a configuration of the type ``kind`` from its JSON.

    Raises:
        ConfigError: if it names an option that ``kind`` does not have.
    """
    if get_origin(kind) is Annotated:
        return from_dict(get_args(kind)[0], saved)
    if dataclasses.is_dataclass(kind):
        types = get_type_hints(kind, include_extras=True)
        for name in saved.keys() - types.keys():
            raise ConfigError(name, "is an option that this version does not know", "Use the frl that wrote it.")
        return kind(**{name: from_dict(types[name], value) for name, value in saved.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        parts = parts[:1] * len(saved) if Ellipsis in parts else parts
        return tuple(from_dict(part, value) for part, value in zip(parts, saved, strict=True))
    if saved is not None and Path in (kind, *get_args(kind)):
        return Path(saved)
    return saved


def validate(config: RunConfig) -> None:
    """Refuse a configuration that cannot work, naming the option and the remedy.

    Raises:
        ConfigError: on the first contradiction found.
    """

    def require(condition: bool, option: str, cause: str, remedy: str) -> None:
        if not condition:
            raise ConfigError(f"--{option}", cause, remedy)

    require(len(config.augment.crops) > 0, "augment.crops", "no crop size given", "Give at least one.")
    for i, spec in enumerate(config.augment.crops):
        option = f"augment.crops.{i}"
        require(spec.size > 0 and spec.count > 0, option, "size and count must be positive", "Correct or drop it.")
        require(0 < spec.scale[0] <= spec.scale[1] <= 1, f"{option}.scale", "not a range in (0, 1]", "Use e.g. 0.14 1.")
        require(0 < spec.ratio[0] <= spec.ratio[1], f"{option}.ratio", "not a range above 0", "Use e.g. 0.75 1.33.")
    require(config.augment.total_crops >= 2, "augment.crops", "SwAV compares at least two crops", "Raise a count.")
    ends = [stage.until_epoch for stage in config.augment.stages]
    require(
        ends == sorted(set(ends)) and min(ends, default=1) > 0,
        "augment.stages",
        f"their ends {ends} are not rising epochs above 0",
        "Put them in order.",
    )
    for i, stage in enumerate(config.augment.stages):
        require(
            len(stage.sizes) == len(config.augment.crops) and min(stage.sizes, default=0) > 0,
            f"augment.stages.{i}.sizes",
            f"{len(stage.sizes)} sizes for {len(config.augment.crops)} resolutions",
            "Give one above 0 for each.",
        )
    for name in ("flip_p", "jitter_p", "grey_p", "blur_p"):
        p = getattr(config.augment, name)
        require(0 <= p <= 1, f"augment.{name}", f"{p} is not a probability", "Use a value in [0, 1].")
    require(0 <= config.augment.hue <= 0.5, "augment.hue", "the shift exceeds half a turn", "Use at most 0.5.")
    require(config.data.page_window > 0, "page-window", "a window has at least one page", "The default is 64.")
    low, high = config.augment.blur_sigma
    require(0 < low <= high, "augment.blur_sigma", f"({low}, {high}) is not a range above 0", "Use e.g. 0.1 2.")
    require(
        config.swav.queue_length % max(config.optim.batch_size, 1) == 0,
        "swav.queue_length",
        f"{config.swav.queue_length} is not a multiple of the batch size {config.optim.batch_size}",
        "Keep whole batches in the queue.",
    )
    require(config.optim.batch_size >= 0, "optim.batch_size", "is negative", "Use 0 for the largest that fits.")
    require(config.optim.batch_size != 1, "optim.batch_size", "BatchNorm needs at least two images", "Use 2 or more.")
    require(config.optim.accumulate > 0, "optim.accumulate", "must be positive", "Use 1 for one piece.")
    require(config.optim.reference_batch >= 0, "optim.reference_batch", "is negative", "Use 0, or a batch size.")
    require(config.model.batch_norm_group >= 0, "model.batch_norm_group", "is negative", "Use 0 for all GPUs.")
    require(config.optim.epochs > 0, "optim.epochs", "there is nothing to train", "Use at least 1.")
    require(config.swav.temperature > 0, "swav.temperature", "must be positive", "The paper uses 0.1.")
    require(config.swav.epsilon > 0, "swav.epsilon", "must be positive", "The paper uses 0.05.")
    require(config.model.prototypes > 1, "model.prototypes", "one cluster says nothing", "Use more clusters.")
