"""Running a function on several gloo ranks, as torchrun would, with an end to every wait."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _rank_main(rank: int, world: int, port: int, function: Callable[..., Any], arguments: tuple, queue: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=40))
        result = function(rank, world, *arguments)
        dist.barrier()
        dist.destroy_process_group()
        # Plain bytes, not shared memory: the file would vanish with this process.
        queue.put((rank, _plain(result), None))
    except BaseException:
        queue.put((rank, None, traceback.format_exc()))


def _plain(value: Any) -> Any:
    return value.numpy().copy() if isinstance(value, torch.Tensor) else value


def run_ranks(function: Callable[..., Any], world: int, *arguments: Any) -> list[Any]:
    """``[function(rank, world, *arguments) for every rank]``, each rank a process of one gloo group."""
    context = mp.get_context("spawn")
    queue = context.Queue()
    port = _free_port()
    ranks = [
        context.Process(target=_rank_main, args=(rank, world, port, function, arguments, queue), daemon=True)
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    try:
        results = [queue.get(timeout=90) for _ in ranks]
    finally:
        for process in ranks:
            process.join(5)
            process.kill()
    failures = [failure for _, _, failure in results if failure]
    assert not failures, failures[0]
    ordered = [value for _, value, _ in sorted(results, key=lambda result: result[0])]
    return [torch.from_numpy(value) if hasattr(value, "dtype") else value for value in ordered]
