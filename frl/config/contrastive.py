"""Objectives that compare two views of an image: SimCLR, MoCo v2 and v3, BYOL, SimSiam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from frl.config.check import require, require_above, require_least, require_within
from frl.config.objective import ObjectiveConfig, positives_in_words

if TYPE_CHECKING:
    from frl.config.run import RunConfig


def require_two_views(run: RunConfig, name: str, *, more: bool) -> None:
    """Refuse crops of which ``name`` cannot compare the first two; ``more``: whether it has a use for further ones.

    Raises:
        ConfigError: naming the option.
    """
    total, remedy = run.augment.total_crops, "Use one resolution with a count of 2, or two with a count of 1."
    require(total >= 2, "augment.crops", f"{name} compares two views of an image, and there is one crop", remedy)
    require(more or total == 2, "augment.crops", f"{name} compares two views of an image, not {total}", remedy)
    for stage in run.augment.by_stage:
        first, second, *_ = [spec.size for spec in stage.crops for _ in range(spec.count)]
        cause = f"the two views that {name} compares are of {first} and {second} px"
        require(first == second, "augment.crops", cause, remedy)


def require_two_images(run: RunConfig, name: str) -> None:
    """Refuse batches in which there is nothing to compare an image with, or to normalise it by.

    Raises:
        ConfigError: naming the option.
    """
    images, parts = run.optim.batch_size, run.optim.accumulate
    enough = images == 0 or images >= 2 * parts
    cause = f"{name} and its BatchNorm need two images at once, and {images} are shared by {parts} micro-batches"
    require(enough, "optim.batch_size", cause, f"Use {2 * parts} or more.")


def require_widths(**widths: int) -> None:
    """Refuse layers without a unit; raises like `require`."""
    for name, width in widths.items():
        require_least(f"objective.{name}", width, 1, "It is the width of a layer.")


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig(ObjectiveConfig, name="simclr", implementation="frl.objectives.simclr:SimCLR"):
    """Contrast among all images of a batch (Chen et al., 2020)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim")

    hidden_dim: int = 2048
    """Width of the projector's hidden layer."""
    feature_dim: int = 128
    """Width of the projected, normalised feature."""
    temperature: float = 0.1
    """Divides the cosines; the authors use 0.1 for batches of thousands, 0.5 for a few hundred."""
    positives: Literal["image", "identity"] = "image"
    """What belongs together: the two views of an image, or those of all images in a batch of one identity or track."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_views(run, "SimCLR", more=False)
        require_two_images(run, "SimCLR")
        require_widths(hidden_dim=self.hidden_dim, feature_dim=self.feature_dim)
        require_above("objective.temperature", self.temperature, 0, "The paper uses 0.1.")

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        return {"temperature": f"{self.temperature:g}", **positives_in_words(self.positives)}


@dataclass(frozen=True, kw_only=True)
class MoCoConfig(ObjectiveConfig, name="moco-v2", implementation="frl.objectives.moco:MoCo"):
    """Contrast with a queue of keys (He et al., 2020; Chen et al., 2020)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim", "head_batch_norm")

    hidden_dim: int = 2048
    """Width of the projector's hidden layer."""
    feature_dim: int = 128
    """Width of the projected, normalised feature."""
    head_batch_norm: bool = False
    """Whether BatchNorm follows both layers of the head, in the groups of bn_groups. The published head has none; with
    it features are apart from the first step: for runs of a few hundred steps."""
    queue_length: int = 65536
    """Keys of earlier steps, over all ranks; a multiple of the batch size."""
    momentum: float = 0.999
    """How much of the key encoder stays at every step; the rest follows the query encoder."""
    temperature: float = 0.2
    """Divides the cosines."""
    bn_groups: int = 8
    """Groups of the whole batch within which BatchNorm takes its statistics, other ones for keys than for queries
    (the authors: one on each of 8 GPUs); 1: undivided, for networks without BatchNorm."""
    positives: Literal["image", "identity"] = "image"
    """What belongs together: the views of an image, or those of all queued images of one identity or track."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_views(run, "MoCo", more=False)
        require_two_images(run, "MoCo")
        require_widths(hidden_dim=self.hidden_dim, feature_dim=self.feature_dim)
        require_above("objective.temperature", self.temperature, 0, "The paper uses 0.2.")
        require_within("objective.momentum", self.momentum, 0, 1, "The paper uses 0.999.")
        require_least("objective.queue_length", self.queue_length, 1, "The paper uses 65536.")
        require_least("objective.bn_groups", self.bn_groups, 1, "The paper's 8 GPUs make 8.")
        batch = run.optim.batch_size
        if batch:
            cause = f"{self.queue_length} is not a multiple of the batch size {batch}"
            near = max(1, round(self.queue_length / batch)) * batch
            require(self.queue_length % batch == 0, "objective.queue_length", cause, f"Use {near}.")
            divides = batch % self.bn_groups == 0 and batch >= 2 * self.bn_groups
            cause = f"{batch} images make no {self.bn_groups} equal groups of two or more"
            require(divides, "objective.bn_groups", cause, "Use a divisor of half the batch.")
        own = self.bn_groups == 1 or run.model.batch_norm == "local"
        cause = "statistics of several processes would give away which key belongs to a query"
        require(own, "model.batch_norm", cause, "Use local: the groups of --objective.bn-groups are the batch's.")

    def fitted(self, batch_size: int) -> Self:
        """With a queue of whole batches: the longest that is not longer, but one batch."""
        return replace(self, queue_length=max(1, self.queue_length // batch_size) * batch_size)

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        head = ", and in the head" if self.head_batch_norm else ""
        return {
            "temperature": f"{self.temperature:g}",
            "queue": f"{self.queue_length} keys",
            "teacher": f"momentum {self.momentum:g}",
            "BatchNorm": f"in {self.bn_groups} groups of the batch{head}",
            **positives_in_words(self.positives),
        }


@dataclass(frozen=True, kw_only=True)
class MoCoV3Config(ObjectiveConfig, name="moco-v3", implementation="frl.objectives.moco_v3:MoCoV3"):
    """Contrast with the teacher's keys of the batch (Chen, Xie and He, 2021)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim", "projector_layers")

    hidden_dim: int = 4096
    """Width of the hidden layers of projector and predictor."""
    feature_dim: int = 256
    """Width of the projected, normalised feature."""
    projector_layers: int = 2
    """Layers of the projector: the authors use 2 for a ResNet, 3 for a vision transformer."""
    momentum: float = 0.99
    """How much of the teacher stays at the first step; it rises to 1 along a half cosine."""
    temperature: float = 1.0
    """Divides the cosines (1 for ResNets, 0.2 for vision transformers)."""
    positives: Literal["image", "identity"] = "image"
    """What belongs together: the two views of an image, or those of all images in a batch of one identity or track."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_views(run, "MoCo v3", more=True)
        require_two_images(run, "MoCo v3")
        require_widths(hidden_dim=self.hidden_dim, feature_dim=self.feature_dim)
        require_least("objective.projector_layers", self.projector_layers, 1, "The paper uses 2 for a ResNet.")
        require_above("objective.temperature", self.temperature, 0, "The paper uses 1 for a ResNet.")
        require_within("objective.momentum", self.momentum, 0, 1, "The paper uses 0.99.")

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        teacher = f"momentum {self.momentum:g}, rising to 1"
        return {"temperature": f"{self.temperature:g}", "teacher": teacher, **positives_in_words(self.positives)}


@dataclass(frozen=True, kw_only=True)
class BYOLConfig(ObjectiveConfig, name="byol", implementation="frl.objectives.byol:BYOL"):
    """Prediction of a teacher's view, without negatives (Grill et al., 2020)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim", "head_batch_norm")

    hidden_dim: int = 4096
    """Width of the hidden layers of projector and predictor."""
    feature_dim: int = 256
    """Width of the projected feature."""
    head_batch_norm: bool = False
    """Whether BatchNorm without scale or shift ends the projector. The published one ends in a linear layer; with it
    features are apart from the first step: for small networks and runs of a few hundred steps."""
    momentum: float = 0.99
    """How much of the teacher stays at the first step; it rises to 1 along a half cosine. The authors use 0.97 for 40
    epochs, 0.99 for 100 and 300, 0.996 for 1000."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_views(run, "BYOL", more=True)
        require_two_images(run, "BYOL")
        require_widths(hidden_dim=self.hidden_dim, feature_dim=self.feature_dim)
        require_within("objective.momentum", self.momentum, 0, 1, "The paper uses 0.99 for 300 epochs.")

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        head = {"BatchNorm": "at the end of the projector, too"} if self.head_batch_norm else {}
        return {"teacher": f"momentum {self.momentum:g}, rising to 1", **head}


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig(ObjectiveConfig, name="simsiam", implementation="frl.objectives.simsiam:SimSiam"):
    """Prediction of the other view, without negatives and without a teacher (Chen and He, 2021)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim", "predictor_dim")

    hidden_dim: int = 2048
    """Width of the projector's hidden layers."""
    feature_dim: int = 2048
    """Width of the projected feature."""
    predictor_dim: int = 512
    """Width of the predictor's hidden layer: a quarter of the feature's."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_views(run, "SimSiam", more=True)
        require_two_images(run, "SimSiam")
        require_widths(hidden_dim=self.hidden_dim, feature_dim=self.feature_dim, predictor_dim=self.predictor_dim)

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        return {"feature": f"{self.feature_dim} wide, predicted through {self.predictor_dim}"}
