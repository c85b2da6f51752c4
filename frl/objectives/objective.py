"""What the trainer asks of an objective, and what an objective tells of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from frl.config import RunConfig
from frl.models.calls import Call
from frl.objectives.diagnosis import Diagnosis, Metric, Vitals
from frl.runtime.distributed import World

Encoder = Callable[[Tensor], Tensor]
Views = Sequence[Tensor]
"""One ``(count * B, 3, size, size)`` tensor for each resolution, crop-major."""


class StepOutput(NamedTuple):
    """What an objective says of a batch. Everything stays on the device; all but ``loss`` is without gradient.

    A named tuple, because ``DistributedDataParallel`` looks for the tensors that a forward pass gives.

    Attributes:
        loss: scalar.
        features: ``(B, D)`` unit vectors of one view of each image; their rank and standard deviation are watched.
        scalars: named scalars; their means over steps and ranks are logged.
        histograms: named vectors, likewise.
    """

    loss: Tensor
    features: Tensor
    scalars: dict[str, Tensor] = {}  # noqa: RUF012 (a named tuple's default, never changed)
    histograms: dict[str, Tensor] = {}  # noqa: RUF012


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the micro-batches of a step are to predict, made of all of them together.

    Attributes:
        parts: for each micro-batch what its forward pass is given.
        scalars, histograms: what is to be logged of them, as in ``StepOutput``.
    """

    parts: Sequence[Any]
    scalars: dict[str, Tensor] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an objective may know of the run it is part of.

    Attributes:
        crop_counts: crops per image of each resolution.
        batch_size: images of a step over all ranks.
        accumulate: micro-batches of a step.
        ranks: processes that train together; 1 if this one is alone, and then no objective calls a collective.
        steps_per_epoch: steps of an epoch.
        epochs: of the run.
        identities: distinct labels in the data, 0 if it has none.
        seed: of the run, for what an objective draws at random.
    """

    crop_counts: tuple[int, ...]
    batch_size: int
    accumulate: int = 1
    ranks: int = 1
    steps_per_epoch: int = 1
    epochs: int = 1
    identities: int = 0
    seed: int = 0

    @classmethod
    def of(cls, config: RunConfig, steps_per_epoch: int, ranks: int, identities: int = 0) -> Setting:
        """The setting that a run's configuration describes."""
        return cls(
            crop_counts=tuple(spec.count for spec in config.augment.crops),
            batch_size=config.optim.batch_size,
            accumulate=config.optim.accumulate,
            ranks=ranks,
            steps_per_epoch=steps_per_epoch,
            epochs=config.optim.epochs,
            identities=identities,
            seed=config.seed,
        )

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.epochs


class Objective(nn.Module, ABC):
    """From the views of a batch to the loss; knows what of itself a checkpoint needs, and when it is sick.

    A subclass is made of its configuration, a backbone with random weights and the width of its pooled features, and
    the run's ``Setting``: ``Mine(config, backbone, width, setting)``. Its parameters that require a gradient are
    trained; its persistent state is saved. Buffers that a forward pass changes are put back by the trainer after a step
    that did not count; what ``after_step`` changes is the objective's own care.

    Attributes:
        backbone: what is probed and exported.
        backbones: names of the attributes that are backbones: compiled, and prepared for the device, by the trainer.
        encoders: for each of them how it is called for each resolution: eagerly, or as a compiled graph.
        shared_out: parameters of which every rank holds its share of the rows alone, by their names in the state, with
            the number of rows in all. Nothing averages their gradients, which are those of the whole batch's loss.
    """

    backbone: nn.Module
    backbones: ClassVar[tuple[str, ...]] = ("backbone",)
    encoders: dict[str, Sequence[Encoder]]
    shared_out: Mapping[str, int]

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__()
        self.backbone = backbone
        self.setting = setting
        self.encoders = {}
        self.shared_out = {}

    @property
    def crop_counts(self) -> tuple[int, ...]:
        """Crops per image of each resolution."""
        return self.setting.crop_counts

    def encode(self, views: Views, backbone: str = "backbone") -> Tensor:
        """Pooled features ``(V * B, width)`` of the views, crop-major; BatchNorm sees a resolution at a time.

        Args:
            views: of the first resolutions, or of all.
            backbone: the attribute that encodes them.
        """
        encoders = self.encoders.get(backbone) or [getattr(self, backbone)] * len(views)
        return torch.cat([encode(view) for encode, view in zip(encoders[: len(views)], views, strict=True)])

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """How a forward pass calls a backbone, which is compiled for that: here as ``encode`` of all views does.

        Args:
            backbone: its attribute.
            images: of a micro-batch on this rank.
            sizes: in pixels, of the resolutions.
        """
        return [Call(place, count * images) for place, count in enumerate(self.crop_counts)]

    @abstractmethod
    def forward(self, views: Views, labels: Tensor | None = None, targets: Any = None) -> StepOutput:
        """The loss of a batch, or of a micro-batch.

        Args:
            views: of B images.
            labels: ``(B,)`` int64 identities, -1 where unknown; None if the loader gives none.
            targets: this micro-batch's part of what ``targets`` made; None: the batch stands alone.
        """

    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets | None:
        """Targets that depend on the whole batch, for micro-batches of views and labels; a pass without gradient.

        None if the loss of a micro-batch needs nothing of the others: then no such pass is made.
        """
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, as groups of torch's kind: each of the parameters that require gradients in one of them.

        A group may hold, beside its ``params``, ``lr_scale``: by what its learning rate is multiplied; and
        ``fixed_lr``: true if that is the peak of the schedule at every step.
        """
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def before_step(self, step: int) -> None:
        """Between the backward pass and the optimiser's step number ``step``."""

    def after_step(self, step: int, finite: Tensor) -> None:
        """After the optimiser's step; an EMA teacher moves here, and only where ``finite`` (bool scalar) is true."""

    def progress(self, world: World) -> dict[str, Tensor]:
        """What a checkpoint needs beside ``state_dict``, such as a queue, of all ranks. A collective call."""
        return {}

    def load_progress(self, step: int, saved: Mapping[str, Tensor], world: World) -> None:
        """Go on from ``step`` with what ``progress`` gave, perhaps on another number of ranks."""

    @classmethod
    @abstractmethod
    def metrics(cls, config: Any) -> tuple[Metric, ...]:
        """How the figures of ``StepOutput`` are titled, bounded and drawn; ``config``: the objective's."""

    def summarise(self, histograms: Mapping[str, Tensor]) -> dict[str, float]:
        """Further figures, of the means of the histograms over an interval (on the CPU)."""
        return {}

    @property
    def watched_from(self) -> int:
        """The first step at which a sick representation is cause for alarm."""
        return 0

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """Name a collapse that only this objective can have, with its remedies; None if there is none."""
        return None

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions, the best first, each with its reason."""
        return ()
