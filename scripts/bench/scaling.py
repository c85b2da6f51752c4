"""Collectives and bytes of a step on 1, 2 and 4 processes (gloo, counted), and what a model makes of it for many GPUs.

python scripts/bench/scaling.py                      python scripts/bench/scaling.py --batch-norm sync

What is counted depends on the network, the recipe and the number of processes, not on the device or the size of the
crops, so a CPU with tiny crops tells what many GPUs exchange. The times of the model are arithmetic on stated
assumptions (docs/scaling.md), no measurements.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import socket
import sys
from dataclasses import replace

import scaling_table
import torch
from exchange import Exchange, Machine

from frl import console
from frl.config import AugmentConfig, CropSpec, ModelConfig, OptimConfig, RunConfig
from frl.monitoring.traffic import Traffic
from frl.runtime.distributed import world
from frl.training.build import build_objective
from frl.training.parallel import distribute

IMAGES = 2  # of a process: weak scaling
WARM_UP = 3  # DDP rearranges its buckets after the first step
CROPS = (CropSpec(size=32, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=6, scale=(0.05, 0.14)))


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
    found = {n: measure(n, replace(config, optim=OptimConfig(batch_size=IMAGES * n))) for n in options.processes}
    print(scaling_table.counted(found))
    machine = Machine(compute=options.images / 1600, between=options.network * 1e9)
    print(scaling_table.modelled(found[options.processes[-1]], machine))


if __name__ == "__main__":
    sys.exit(console.run("bench scaling", main))
