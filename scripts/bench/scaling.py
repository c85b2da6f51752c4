"""Collectives and bytes of a step on 1, 2 and 4 processes (gloo, counted), and what a model makes of it for many GPUs.

python scripts/bench/scaling.py                      python scripts/bench/scaling.py --batch-norm sync

What is counted depends on the network, the recipe and the number of processes, not on the device or the size of the
crops, so a CPU with tiny crops tells what many GPUs exchange. The times of the model are arithmetic on stated
assumptions (docs/scaling.md), no measurements.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing as mp
import os
import socket
import sys
from dataclasses import dataclass, replace

import torch

from frl import console
from frl.config import AugmentConfig, CropSpec, ModelConfig, OptimConfig, RunConfig
from frl.monitoring.traffic import Traffic
from frl.runtime.distributed import world
from frl.training.build import build_objective
from frl.training.parallel import distribute

IMAGES = 2  # of a process: weak scaling
WARM_UP = 3  # DDP rearranges its buckets after the first step
CROPS = (CropSpec(size=32, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=6, scale=(0.05, 0.14)))


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


def count(rank: int, size: int, port: int, config: RunConfig, results: mp.Queue) -> None:
    """Count one step of one process, after a few that do not count."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with world("cpu") as place:
        objective = build_objective(config, 1000, place)
        model = distribute(objective, config, place)
        for _ in range(WARM_UP + 1):
            views = [torch.randn(spec.count * IMAGES, 3, spec.size, spec.size) for spec in CROPS]
            objective.zero_grad(set_to_none=True)
            with Traffic() as forward:
                loss = model(views).loss
            with Traffic() as backward:
                loss.backward()
    if rank == 0:
        results.put(Exchange.of(forward, backward))


def measure(size: int, config: RunConfig) -> Exchange:
    """What a step of ``size`` processes exchanges, seen from the first."""
    context = mp.get_context("spawn")
    results = context.Queue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [context.Process(target=count, args=(rank, size, port, config, results)) for rank in range(size)]
    for process in ranks:
        process.start()
    try:
        return results.get(timeout=300)
    finally:
        for process in ranks:
            process.join(30)
            process.kill()


def main() -> None:
    """Parse, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--batch-norm", default="local", choices=("local", "sync"))
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--compression", default="none", choices=("none", "bf16"), help="of the gradients")
    parser.add_argument("--images", type=int, default=128, help="the model's, per GPU and step, at 1,600 a second")
    parser.add_argument("--network", type=float, default=40, help="the model's, GB/s a GPU between machines")
    options = parser.parse_args()
    config = RunConfig(
        augment=AugmentConfig(crops=CROPS),
        model=ModelConfig(arch=options.arch, batch_norm=options.batch_norm),
        precision="fp32",
        compile="off",
        gradient_compression=options.compression,
    )
    print(f"{options.arch}, BatchNorm {options.batch_norm}, gradients compressed: {options.compression}")
    print("counted, of one process and step: all-reduces and MB of")
    print(f"{'processes':>9} {'gradients':>16} {'Sinkhorn':>16} {'BatchNorm':>16}")
    for size in options.processes:
        found = measure(size, replace(config, optim=OptimConfig(batch_size=IMAGES * size)))
        print(
            f"{size:>9} {found.buckets:>5} {found.gradients / 1e6:>10.3f} {found.sums:>5} {found.masses / 1e6:>10.3f} "
            f"{found.layers:>5} {found.statistics / 1e6:>10.3f}"
        )
    machine = Machine(compute=options.images / 1600, between=options.network * 1e9)
    print(f"modelled, not measured, from the last line and {machine}:")
    print(f"{'GPUs':>9} {'ms a step':>10} {'efficiency':>10}")
    for gpus in (1, 8, 64, 512):
        seconds = machine.step(gpus, found) if gpus > 1 else machine.compute
        print(f"{gpus:>9} {1e3 * seconds:>10.2f} {machine.compute / seconds:>10.1%}")


if __name__ == "__main__":
    sys.exit(console.run("bench scaling", main))
