"""How the weights follow the loss."""

from __future__ import annotations

from dataclasses import dataclass

from frl.config.check import require


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

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(self.batch_size >= 0, "optim.batch_size", "is negative", "Use 0 for the largest that fits.")
        require(self.batch_size != 1, "optim.batch_size", "BatchNorm needs at least two images", "Use 2 or more.")
        require(self.accumulate > 0, "optim.accumulate", "must be positive", "Use 1 for one piece.")
        require(self.reference_batch >= 0, "optim.reference_batch", "is negative", "Use 0, or a batch size.")
        require(self.epochs > 0, "optim.epochs", "there is nothing to train", "Use at least 1.")
