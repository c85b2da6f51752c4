"""Processes of their own for tests: alone, or as gloo ranks as torchrun would start them; every wait has an end.

They are forked from a server that has imported the program once (see ``conftest.py``), not started from nothing: that
takes seconds each.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
import weakref
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore


def _open_store() -> TCPStore:
    """Where ranks meet: in this process, as torchrun has it in its own. So no port is free for a moment, for another
    test to take, and no rank takes the store away from the others when it ends."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _join_torchrun(rank: int, world: int, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")


def _logged(log: Path, place: tuple[int, int, int] | None, function: Callable[..., Any], arguments: tuple) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1), os.dup2(output, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    if place is not None:
        _join_torchrun(*place)
    function(*arguments)


def start(function: Callable[..., Any], *arguments: Any, log: Path) -> ForkServerProcess:
    """A process that runs ``function(*arguments)`` and writes what it prints to the end of ``log``."""
    process = multiprocessing.get_context("forkserver").Process(
        target=_logged, args=(log, None, function, arguments), daemon=True
    )
    process.start()
    return process


def start_ranks(function: Callable[..., Any], world: int, *arguments: Any, log: Path) -> list[ForkServerProcess]:
    """``world`` processes that each run ``function(*arguments)`` in torchrun's environment, printing to ``log``."""
    context, store = multiprocessing.get_context("forkserver"), _open_store()
    ranks = [
        context.Process(target=_logged, args=(log, (rank, world, store.port), function, arguments), daemon=True)
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
        weakref.finalize(process, id, store)  # the store is there as long as somebody knows of a rank
    return ranks


def _rank_main(rank: int, world: int, port: int, function: Callable[..., Any], arguments: tuple, queue: Any) -> None:
    _join_torchrun(rank, world, port)
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=120))
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
    context = multiprocessing.get_context("forkserver")
    queue, store = context.Queue(), _open_store()
    ranks = [
        context.Process(target=_rank_main, args=(rank, world, store.port, function, arguments, queue), daemon=True)
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    try:
        results = [queue.get(timeout=300) for _ in ranks]
    finally:
        for process in ranks:
            process.join(5)
            process.kill()
    failures = [failure for _, _, failure in results if failure]
    assert not failures, failures[0]
    ordered = [value for _, value, _ in sorted(results, key=lambda result: result[0])]
    return [torch.from_numpy(value) if hasattr(value, "dtype") else value for value in ordered]
