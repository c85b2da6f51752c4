"""How the weights follow the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frl.config.check import require, require_above, require_least

# Options that not every optimiser reads.
OPTIONS_OF = {
    "momentum": ("larc", "lars", "sgd"),
    "nesterov": ("larc", "lars", "sgd"),
    "betas": ("adamw",),
    "trust": ("larc", "lars"),
}


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser, and a learning rate with linear warm-up and cosine decay."""

    optimiser: Literal["larc", "lars", "adamw", "sgd"] = "larc"
    """larc: SGD whose steps follow the weights' norms, as in the paper; lars: the same, but for biases and
    normalisation layers; adamw; sgd."""
    batch_size: int = 1024
    """Images per step over all ranks; 0: the largest that the GPUs hold (a resumed run keeps its own)."""
    accumulate: int = 1
    """Micro-batches per step: memory for one, assignments over all. BatchNorm sees a micro-batch at a time."""
    epochs: int = 400
    """Passes over the data."""
    lr: float = 4.8
    """Peak learning rate, for a batch of reference_batch (the paper's code: 4.8 at 1024; SwAV's: 4.8 at 4096)."""
    start_lr: float = 0.3
    """Learning rate of the first warm-up step, for a batch of reference_batch."""
    final_lr: float = 0.0048
    """Learning rate of the last step, for a batch of reference_batch."""
    reference_batch: int = 0
    """Batch size for which the three learning rates are given; they grow linearly with batch_size. 0: batch_size."""
    warmup_epochs: float = 10
    """Epochs of linear warm-up."""
    momentum: float = 0.9
    """SGD momentum, of larc, lars and sgd."""
    nesterov: bool = False
    """Nesterov's momentum instead of the plain one, for larc, lars and sgd."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of adamw's first and second moment."""
    weight_decay: float = 1e-6
    """L2 penalty, inside the rescaling of larc and lars as in the paper's code; adamw's is decoupled."""
    final_weight_decay: float | None = None
    """Weight decay of the last step, reached by a half cosine from weight_decay; none: it is constant."""
    exclude_bias_and_norm: Literal["auto", "on", "off"] = "auto"
    """Whether biases and normalisation layers are neither decayed nor rescaled; auto: under lars and adamw, as their
    users publish them."""
    trust: float = 0.001
    """Trust coefficient of larc and lars; 0: plain SGD."""

    @property
    def lr_scale(self) -> float:
        """By what the learning rates are multiplied: they follow the batch size linearly."""
        return self.batch_size / self.reference_batch if self.reference_batch else 1.0

    @property
    def excludes_bias_and_norm(self) -> bool:
        """Whether biases and normalisation layers are neither decayed nor rescaled."""
        if self.exclude_bias_and_norm == "auto":
            return self.optimiser in ("lars", "adamw")
        return self.exclude_bias_and_norm == "on"

    @property
    def moments(self) -> int:
        """Numbers that the optimiser keeps beside each weight."""
        return 2 if self.optimiser == "adamw" else 1

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_least("optim.batch_size", self.batch_size, 0, "Use 0 for the largest that fits.")
        require(self.batch_size != 1, "optim.batch_size", "BatchNorm needs at least two images", "Use 2 or more.")
        require_least("optim.accumulate", self.accumulate, 1, "Use 1 for one piece.")
        require_least("optim.reference_batch", self.reference_batch, 0, "Use 0, or a batch size.")
        require_least("optim.epochs", self.epochs, 1, "There would be nothing to train.")
        require_above("optim.lr", self.lr, 0, "Give the peak for a batch of --optim.reference-batch images.")
        require_least("optim.start_lr", self.start_lr, 0, "Use 0 to begin from nothing.")
        require_least("optim.final_lr", self.final_lr, 0, "Use 0 to end with nothing.")
        require_least("optim.warmup_epochs", self.warmup_epochs, 0, "Use 0 for no warm-up.")
        require(0 <= self.momentum < 1, "optim.momentum", f"{self.momentum} is not in [0, 1)", "The usual one is 0.9.")
        require_least("optim.weight_decay", self.weight_decay, 0, "Use 0 for none.")
        require_least("optim.trust", self.trust, 0, "Use 0 for plain SGD.")
        for beta in self.betas:
            require(0 <= beta < 1, "optim.betas", f"{beta} is not in [0, 1)", "The usual ones are 0.9 and 0.999.")
        if self.final_weight_decay is not None:
            require_least("optim.final_weight_decay", self.final_weight_decay, 0, "Use none for a constant one.")
        cause = "without momentum there is nothing to look ahead by"
        require(not self.nesterov or self.momentum > 0, "optim.nesterov", cause, "Use --optim.momentum 0.9.")
        for name, optimisers in OPTIONS_OF.items():
            default = type(self).__dataclass_fields__[name].default
            used = self.optimiser in optimisers or getattr(self, name) == default
            cause = f"is an option of {' and '.join(optimisers)}, and {self.optimiser} would ignore it"
            require(used, f"optim.{name}", cause, f"Leave it at {default}, or choose another --optim.optimiser.")
