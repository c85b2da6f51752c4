"""What the network learns: one configuration for each objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from frl.config.check import require, require_above, require_least
from frl.errors import ConfigError

if TYPE_CHECKING:
    from frl.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Options of an objective. A subclass states its name and where its module is, and is thereby known:

        @dataclass(frozen=True, kw_only=True)
        class MyConfig(ObjectiveConfig, name="mine", implementation="my_package.mine:Mine"): ...

    Attributes:
        name: in configurations, presets and messages.
        implementation: module and class of the ``frl.objectives.Objective``; imported only when a run is built.
        known: every objective's configuration by its name.
        shapes: options that shape the weights, which a run that goes on therefore cannot change.
    """

    name: ClassVar[str]
    implementation: ClassVar[str]
    shapes: ClassVar[tuple[str, ...]] = ()
    known: ClassVar[dict[str, type[ObjectiveConfig]]] = {}

    def __init_subclass__(cls, *, name: str, implementation: str) -> None:
        there = ObjectiveConfig.known.get(name)
        if there is not None and there.implementation != implementation:
            cause = f"{there.__module__}.{there.__qualname__} is the objective {name!r} already"
            raise ConfigError(cls.__qualname__, cause, "Give it another name.")
        cls.name = name
        cls.implementation = implementation
        ObjectiveConfig.known[name] = cls

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """

    def fitted(self, batch_size: int) -> Self:
        """The same for another batch size, where an option depends on it."""
        return self

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        return {}

    def too_late(self, epochs: int) -> dict[str, str]:
        """What never happens in a run of so many epochs, in words, by the option that would have it happen later."""
        return {}


def require_two_crops(run: RunConfig, name: str) -> None:
    """Refuse a single crop, with which ``name`` has nothing to compare.

    Raises:
        ConfigError: naming the option.
    """
    require(run.augment.total_crops >= 2, "augment.crops", f"{name} compares at least two crops", "Raise a count.")


def positives_in_words(positives: Literal["image", "identity"]) -> dict[str, str]:
    """A fact of an objective whose positives may be images of one identity; none where they are views of an image."""
    return {} if positives == "image" else {"positives": "images of one identity"}


@dataclass(frozen=True, kw_only=True)
class SwAVConfig(ObjectiveConfig, name="swav", implementation="frl.objectives.swav:SwAV"):
    """Swapped prediction of cluster assignments (Caron et al., 2020)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim", "prototypes")

    hidden_dim: int = 2048
    """Width of the projector's hidden layer."""
    feature_dim: int = 128
    """Width of the projected, normalised feature."""
    prototypes: int = 3000
    """Number of prototypes (clusters)."""
    temperature: float = 0.1
    """Temperature of the softmax over prototypes."""
    epsilon: float = 0.05
    """Entropy regularisation of the Sinkhorn assignment."""
    sinkhorn_iterations: int = 3
    """Alternating normalisations of the assignment."""
    queue_length: int = 0
    """Features kept from earlier steps for the assignment, over all ranks; 0: none. 3840 helps small batches."""
    queue_from_epoch: int = 15
    """Epoch from which features are queued; the queue takes part once it is full."""
    freeze_prototypes_steps: int = -1
    """Steps during which the prototypes do not learn; -1: the first epoch."""
    positives: Literal["image", "identity"] = "image"
    """What shall fall into one cluster: the crops of an image, or of all images in a batch of one identity or track."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_crops(run, "SwAV")
        require_least("objective.hidden_dim", self.hidden_dim, 1, "The paper uses 2048.")
        require_least("objective.feature_dim", self.feature_dim, 1, "The paper uses 128.")
        require(self.prototypes > 1, "objective.prototypes", "one cluster says nothing", "Use more clusters.")
        require_above("objective.temperature", self.temperature, 0, "The paper uses 0.1.")
        require_above("objective.epsilon", self.epsilon, 0, "The paper uses 0.05.")
        require_least("objective.sinkhorn_iterations", self.sinkhorn_iterations, 1, "The paper uses 3.")
        require_least("objective.queue_length", self.queue_length, 0, "Use 0 for no queue.")
        require_least("objective.queue_from_epoch", self.queue_from_epoch, 0, "Use 0 for the start.")
        require_least("objective.freeze_prototypes_steps", self.freeze_prototypes_steps, -1, "Use -1: the first epoch.")
        batch = run.optim.batch_size
        cause = f"{self.queue_length} is not a multiple of the batch size {batch}"
        whole = batch == 0 or self.queue_length % batch == 0
        require(whole, "objective.queue_length", cause, "Keep whole batches in the queue.")

    def fitted(self, batch_size: int) -> Self:
        """With a queue of whole batches: the longest that is not longer."""
        return replace(self, queue_length=self.queue_length // batch_size * batch_size)

    def too_late(self, epochs: int) -> dict[str, str]:
        """What never happens in a run of so many epochs, in words, by the option that would have it happen later."""
        found = {}
        if self.queue_length and self.queue_from_epoch >= epochs:
            found["queue_from_epoch"] = "the queue is never used"
        if self.freeze_prototypes_steps == -1 and epochs == 1:
            found["freeze_prototypes_steps"] = "the prototypes never learn"
        return found

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        queue = f"{self.queue_length} from epoch {self.queue_from_epoch}" if self.queue_length else "none"
        positives = positives_in_words(self.positives)
        return {"prototypes": str(self.prototypes), "epsilon": f"{self.epsilon:g}", "queue": queue, **positives}
