"""The process group as torchrun describes it; a single process is a world of one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from frl.errors import ConfigError

T = TypeVar("T")
POLL = 0.05  # seconds between two looks at who has come
FAREWELL = 10.0  # seconds in which the others must have said goodbye once all are done


@dataclass(frozen=True)
class World:
    """This process's place among the ranks of a run.

    Attributes:
        rank: index of this process over all machines.
        size: number of processes over all machines.
        local_rank: index of this process on its machine.
        local_size: number of processes on this machine.
        device: the device this process trains on.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every rank is here (the process group's time limit applies)."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average ``values`` over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """``values`` of every rank, all of one shape, in the order of the ranks; copies."""
        if self.size == 1:
            return [values.clone()]
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values)
        return parts

    def gather_rows(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` of every rank one after the other; the ranks may hold different numbers of rows."""
        if self.size == 1:
            return values
        counts = [int(count) for count in self.gather(torch.tensor(len(values), device=values.device))]
        padded = values.new_zeros(max(counts), *values.shape[1:])
        padded[: len(values)] = values
        return torch.cat([part[:count] for part, count in zip(self.gather(padded), counts, strict=True)])

    def follow_main(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite ``tensors`` with those of the main rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def agreed(value: T) -> T:
    """Rank 0's value on every rank, for what ranks might decide differently; a collective call in a process group."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def pick_device(wanted: str, local_rank: int) -> torch.device:
    """The device for ``auto``, ``cuda`` or ``cpu``.

    Raises:
        ConfigError: if ``cuda`` is wanted and this process has no GPU of its own.
    """
    gpus = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and gpus == 0):
        return torch.device("cpu")
    if gpus <= local_rank:
        raise ConfigError("--device", f"process {local_rank} of this machine has no GPU of its own ({gpus} found)",
                          "Start fewer processes, or use --device cpu.")  # fmt: skip
    return torch.device("cuda", local_rank)


@contextmanager
def world(device: str = "auto", timeout: timedelta = timedelta(minutes=10)) -> Iterator[World]:
    """Join the process group that torchrun's environment describes, and leave it at the end, all ranks together.

    NCCL carries GPU tensors, gloo CPU tensors. A collective that waits longer than ``timeout`` fails, it does not hang;
    nor does a rank wait longer for the others to leave. One that leaves with an exception waits for nobody.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    size = int(os.environ.get("WORLD_SIZE", 1))
    place = World(
        rank=int(os.environ.get("RANK", 0)),
        size=size,
        local_rank=local_rank,
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        device=pick_device(device, local_rank),
    )
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    if size == 1:
        yield place
        return
    store = _meeting_place(place, timeout)
    dist.init_process_group(
        "nccl" if place.device.type == "cuda" else "gloo",
        store=store,
        rank=place.rank,
        world_size=size,
        timeout=timeout,
    )
    try:
        yield place
    except BaseException:
        with suppress(RuntimeError):
            store.set(_done(place.rank), "")
            store.set(_gone(place.rank), "")
        _leave_at_once(place)
        raise
    _take_leave(store, place, timeout.total_seconds())
    dist.destroy_process_group()


def _leave_at_once(place: World) -> None:
    """Leave the group without the others, who wait in a collective for this rank.

    NCCL destroys what connects the ranks in a collective of its own: this rank would wait for the others as they do for
    it, until a watchdog ends them all, and nobody would hear why. To abort needs nobody.
    """
    if place.device.type == "cuda":
        with suppress(RuntimeError):
            dist.distributed_c10d._abort_process_group()
    else:
        dist.destroy_process_group()


def _take_leave(store: dist.Store, place: World, time_limit: float) -> None:
    """Wait until all ranks are done, and let rank 0, in whose process the store may live, go last.

    A launcher may end the others as soon as one rank has ended, and rank 0 may still be saving. The ranks need not
    meet: who does not come in time, or has taken the store with it, has an error of its own to tell.
    """
    with suppress(RuntimeError):
        store.set(_done(place.rank), "")
        _wait_for(store, [_done(rank) for rank in range(place.size)], time_limit)
        store.set(_gone(place.rank), "")
        if place.is_main:
            _wait_for(store, [_gone(rank) for rank in range(place.size)], FAREWELL)


def _done(rank: int) -> str:
    return f"rank {rank} is done"


def _gone(rank: int) -> str:
    return f"rank {rank} needs the store no more"


def _wait_for(store: dist.Store, keys: list[str], time_limit: float) -> None:
    """Not ``store.wait``, in which no signal would be heard."""
    deadline = time.monotonic() + time_limit
    while not store.check(keys) and time.monotonic() < deadline:
        time.sleep(POLL)


def _meeting_place(place: World, timeout: timedelta) -> dist.Store:
    """Where the ranks tell each other their addresses.

    torchrun's restarted processes meet in the store of the dead ones, whose addresses are still in it; so each attempt
    has names of its own, where all ranks count alike: on one machine.
    """
    store, _, _ = next(rendezvous("env://", timeout=timeout))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"attempt {attempt}", store) if place.local_size == place.size else store
