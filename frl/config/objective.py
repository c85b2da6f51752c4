"""What the network learns."""

from __future__ import annotations

from dataclasses import dataclass

from frl.config.check import require


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
        require(self.temperature > 0, "swav.temperature", "must be positive", "The paper uses 0.1.")
        require(self.epsilon > 0, "swav.epsilon", "must be positive", "The paper uses 0.05.")
