"""Ranks that wait for work of unknown length: as long as there is a sign of life, and no longer."""

import time

import pytest
import torch
from tests_support import run_ranks

from frl.errors import TrainingError
from frl.runtime.distributed import World
from frl.runtime.waiting import HostBarrier

PATIENCE = 4.0  # seconds; what a busy machine may do to a thread is far less


def place(rank: int, size: int) -> World:
    return World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))


def waits(rank: int, size: int) -> tuple[float, str]:
    """Seconds until work of rank 1 beyond the patience was done; then what is said of a rank that is gone."""
    barrier = HostBarrier(place(rank, size), patience=PATIENCE, beat=0.1)
    began = time.monotonic()
    with barrier.at_work():
        if rank == 1:
            time.sleep(1.5 * PATIENCE)
    barrier.meet()
    waited = time.monotonic() - began
    if rank == 1:
        time.sleep(2 * PATIENCE)  # no sign of life, and no coming
        return waited, ""
    with pytest.raises(TrainingError) as error:
        barrier.meet()
    return waited, str(error.value)


def test_work_that_shows_life_is_waited_for_and_silence_is_not():
    (waited, words), _ = run_ranks(waits, 2)
    assert waited >= 1.5 * PATIENCE
    assert "1 of 2 ranks did not come" in words


def test_alone_there_is_nobody_to_wait_for():
    barrier = HostBarrier(place(0, 1))
    with barrier.at_work():
        barrier.meet()


def rows(rank: int, size: int) -> torch.Tensor:
    """Rank r has r + 1 rows, numbered through."""
    return place(rank, size).gather_rows(torch.arange(rank + 1.0).unsqueeze(1) + 10 * rank)


def test_rows_of_ranks_that_hold_different_numbers_follow_each_other():
    for found in run_ranks(rows, 2):
        assert found.flatten().tolist() == [0, 10, 11]
