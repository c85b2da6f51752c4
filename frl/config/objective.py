"""What the network learns."""

from __future__ import annotations

from dataclasses import dataclass

from frl.config.check import require_above, require_least


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

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_above("swav.temperature", self.temperature, 0, "The paper uses 0.1.")
        require_above("swav.epsilon", self.epsilon, 0, "The paper uses 0.05.")
        require_least("swav.sinkhorn_iterations", self.sinkhorn_iterations, 1, "The paper uses 3.")
        require_least("swav.queue_length", self.queue_length, 0, "Use 0 for no queue.")
        require_least("swav.queue_from_epoch", self.queue_from_epoch, 0, "Use 0 for the start.")
        require_least("swav.freeze_prototypes_steps", self.freeze_prototypes_steps, -1, "Use -1 for the first epoch.")
