"""What processes exchange in a step, and a model of how long many GPUs would take over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from frl.monitoring.traffic import Traffic


@dataclass(frozen=True)
class Exchange:
    """What one process hands to collectives in a step: operations and bytes.

    Attributes:
        buckets: all-reduces of gradients.
        gradients: their bytes.
        sums: all-reduces of Sinkhorn.
        masses: their bytes.
        layers: all-reduces of BatchNorm, both ways.
        statistics: their bytes.
    """

    buckets: int
    gradients: int
    sums: int
    masses: int
    layers: int
    statistics: int

    @classmethod
    def of(cls, forward: Traffic, backward: Traffic) -> Exchange:
        """Sinkhorn sums in the forward pass, DDP in the backward pass, BatchNorm in both, by operations of its own."""
        return cls(
            buckets=backward.collectives["allreduce"],
            gradients=backward.payload["allreduce"],
            sums=forward.collectives["allreduce"],
            masses=forward.payload["allreduce"],
            layers=forward.collectives["all_reduce"] + backward.collectives["all_reduce"],
            statistics=forward.payload["all_reduce"] + backward.payload["all_reduce"],
        )


@dataclass(frozen=True)
class Machine:
    """The assumptions of the model; seconds, and bytes a second.

    Attributes:
        compute: forward, backward and optimiser of one GPU.
        inside: rate of an all-reduce among the GPUs of a machine, per GPU (NCCL's "bus bandwidth").
        between: the same over the network of many machines.
        latency: of a small all-reduce within a machine.
        hop: added per doubling of the machines.
        overlap: share of the compute during which gradients travel.
    """

    compute: float = 128 / 1600
    inside: float = 300e9
    between: float = 40e9
    latency: float = 30e-6
    hop: float = 10e-6
    overlap: float = 0.6

    def all_reduce(self, payload: float, gpus: int) -> float:
        """Seconds for ``payload`` bytes over ``gpus``, eight to a machine."""
        rate = self.inside if gpus <= 8 else self.between
        return self.latency + self.hop * math.log2(max(1, gpus / 8)) + 2 * (gpus - 1) / gpus * payload / rate

    def step(self, gpus: int, exchanged: Exchange) -> float:
        """Seconds of a step: what cannot hide behind the compute is added to it."""
        hidden = max(0.0, self.all_reduce(exchanged.gradients, gpus) - self.overlap * self.compute)
        masses = exchanged.sums * self.all_reduce(exchanged.masses / max(exchanged.sums, 1), gpus)
        layers = exchanged.layers * self.all_reduce(exchanged.statistics / max(exchanged.layers, 1), gpus)
        return self.compute + hidden + masses + layers
