"""Options of the objectives that learn from a teacher's distribution: DINO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from frl.config.check import require, require_above, require_least, require_within
from frl.config.contrastive import require_two_images
from frl.config.objective import ObjectiveConfig, require_two_crops

if TYPE_CHECKING:
    from frl.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class DINOConfig(ObjectiveConfig, name="dino", implementation="frl.objectives.dino:DINO"):
    """Self-distillation without labels (Caron et al., 2021)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "bottleneck_dim", "outputs", "head_batch_norm")

    hidden_dim: int = 2048
    """Width of the head's two hidden layers."""
    bottleneck_dim: int = 256
    """Width of the normalised feature before the last layer."""
    outputs: int = 65536
    """Outputs of the head, over which teacher and student give distributions."""
    head_batch_norm: bool = False
    """Whether the head's hidden layers have BatchNorm."""
    temperature: float = 0.1
    """Temperature of the student's softmax."""
    teacher_temperature: float = 0.04
    """Temperature of the teacher's softmax after the warm-up; lower is sharper."""
    warmup_teacher_temperature: float = 0.04
    """Temperature of the teacher's softmax at the start."""
    warmup_teacher_temperature_epochs: float = 0
    """Epochs in which it goes from the one to the other along a line."""
    teacher_momentum: float = 0.996
    """Of the teacher's weights at the start; grows to 1 along a half cosine."""
    centering: Literal["mean", "sinkhorn"] = "mean"
    """What keeps the teacher from giving all images one output. mean: the running mean of its outputs is taken away, as
    published. sinkhorn: its distributions are balanced over the batch by three Sinkhorn-Knopp rounds, as in DINOv2."""
    center_momentum: float = 0.9
    """Of the mean output that is taken away from the teacher's."""
    freeze_last_layer_epochs: float = 1
    """Epochs during which the last layer does not learn."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_crops(run, "DINO")
        require_two_images(run, "DINO")
        require_least("objective.hidden_dim", self.hidden_dim, 1, "The paper uses 2048.")
        require_least("objective.bottleneck_dim", self.bottleneck_dim, 1, "The paper uses 256.")
        require_least("objective.outputs", self.outputs, 2, "The paper uses 65536.")
        require_above("objective.temperature", self.temperature, 0, "The paper uses 0.1.")
        require_above("objective.teacher_temperature", self.teacher_temperature, 0, "The paper uses 0.04.")
        option = "objective.warmup_teacher_temperature"
        require_above(option, self.warmup_teacher_temperature, 0, "The paper uses 0.04.")
        require_least(f"{option}_epochs", self.warmup_teacher_temperature_epochs, 0, "Use 0 for none.")
        require_within("objective.teacher_momentum", self.teacher_momentum, 0, 1, "The paper uses 0.996.")
        cause = f"{self.center_momentum} is not in [0, 1)"
        require(0 <= self.center_momentum < 1, "objective.center_momentum", cause, "The paper uses 0.9.")
        unused = self.centering != "mean" and self.center_momentum != type(self).center_momentum
        cause = f"--objective.centering {self.centering} has no running mean"
        require(not unused, "objective.center_momentum", cause, "Leave it out, or use --objective.centering mean.")
        require_least("objective.freeze_last_layer_epochs", self.freeze_last_layer_epochs, 0, "Use 0 for none.")

    def too_late(self, epochs: int) -> dict[str, str]:
        """What never happens in a run of so many epochs, in words, by the option that would have it happen later."""
        found = {}
        if self.freeze_last_layer_epochs >= epochs:
            found["freeze_last_layer_epochs"] = "the last layer never learns"
        changes = self.warmup_teacher_temperature != self.teacher_temperature
        if changes and self.warmup_teacher_temperature_epochs > epochs:
            found["warmup_teacher_temperature_epochs"] = "the teacher's temperature never reaches its end"
        return found

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        start, end = self.warmup_teacher_temperature, self.teacher_temperature
        warm = f"{start:g} to {end:g} in {self.warmup_teacher_temperature_epochs:g} epochs"
        teacher = f"temperature {end:g}" if start == end else f"temperature {warm}"
        balanced = {} if self.centering == "mean" else {"centering": "Sinkhorn-Knopp over the batch, as in DINOv2"}
        return {
            "outputs": str(self.outputs),
            "teacher": f"{teacher}, momentum {self.teacher_momentum:g} to 1",
            **balanced,
        }
