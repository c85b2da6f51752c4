"""Options of learning from identity labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from frl.config.check import require, require_above, require_least
from frl.config.contrastive import require_two_images
from frl.config.objective import ObjectiveConfig

if TYPE_CHECKING:
    from frl.config.run import RunConfig

PUBLISHED_MARGINS = {"cosface": 0.4, "arcface": 0.5}


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(ObjectiveConfig, name="supervised", implementation="frl.objectives.supervised:Supervised"):
    """Classification of identities: softmax, CosFace (Wang et al., 2018) or ArcFace (Deng et al., 2019)."""

    shapes: ClassVar[tuple[str, ...]] = ("embedding_dim", "loss")

    loss: Literal["softmax", "cosface", "arcface"] = "arcface"
    """softmax: a linear classifier with bias. cosface, arcface: cosines to the classes, less a margin at the right one:
    in the cosine, or in the angle."""
    embedding_dim: int = 512
    """Width of the embedding that is classified: a linear layer and BatchNorm after the pooled features."""
    scale: float = 64.0
    """By which the cosines of cosface and arcface are multiplied (the inverse of a temperature)."""
    margin: float = -1.0
    """Margin of cosface (of the cosine) or arcface (radians); -1: the published one, 0.4 or 0.5."""
    share_classes: Literal["auto", "on", "off"] = "auto"
    """Whether every rank holds the weights of its share of the classes only; auto: from 50,000 identities up, or where
    classes are sampled."""
    sample_classes: float = 1.0
    """Share of the wrong classes that a step compares with; others are drawn for the next (Partial FC)."""

    @property
    def margin_in_use(self) -> float:
        """The margin given, or the published one; of softmax 0."""
        return PUBLISHED_MARGINS.get(self.loss, 0.0) if self.margin == -1 else self.margin

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_images(run, "classification")
        require_least("objective.embedding_dim", self.embedding_dim, 1, "The usual one is 512.")
        require_above("objective.scale", self.scale, 0, "The papers use 64.")
        given = self.margin != -1
        require(not given or self.loss != "softmax", "objective.margin", "softmax has none", "Use cosface or arcface.")
        largest = 1.57 if self.loss == "arcface" else 1.0
        cause = f"{self.margin} is not a number from 0 to {largest}"
        fits = not given or 0 <= self.margin <= largest
        require(fits, "objective.margin", cause, "The papers use 0.4 (cosface), 0.5 (arcface).")
        share = self.sample_classes
        cause, remedy = f"{share} is not a share above 0, up to 1", "Use 1 for all, or e.g. 0.1."
        require(0 < share <= 1, "objective.sample_classes", cause, remedy)
        cause = "classes are sampled within the shares of the ranks, which are off"
        remedy = "Use --objective.share-classes auto, or --objective.sample-classes 1."
        require(share == 1 or self.share_classes != "off", "objective.sample_classes", cause, remedy)

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        margin = "" if self.loss == "softmax" else f", scale {self.scale:g}, margin {self.margin_in_use:g}"
        sampled = "" if self.sample_classes == 1 else f", {self.sample_classes:.0%} of the classes a step"
        return {"loss": f"{self.loss}{margin}{sampled}", "embedding": str(self.embedding_dim)}
