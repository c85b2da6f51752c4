"""A request to one rank stops all ranks after the same step, without waiting for the next log line."""

import signal
import time

import pytest
import torch
from tests_support import run_ranks

from frl.runtime.distributed import World
from frl.runtime.termination import Termination
from frl.runtime.waiting import HostBarrier
from frl.training.stopping import StopAgreement


def stopped(rank: int, size: int, asked: int) -> tuple[int, str]:
    """After which step a loop ends whose rank ``asked`` is told to stop in step 7, and by what."""
    place = World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))
    termination = Termination()
    agreement = StopAgreement(termination, HostBarrier(place), step=3, seconds=0.2)
    for step in range(4, 4000):
        time.sleep(0.01)
        if step == 7 and rank == asked:
            termination.receive(signal.SIGTERM)
        if why := agreement.after(step):
            return step, why.name
    return -1, ""


@pytest.mark.parametrize("asked", [0, 1])
def test_all_ranks_stop_after_the_same_step(asked):
    (one, why), (other, also) = run_ranks(stopped, 2, asked)
    assert one == other > 6
    assert why == also == "SIGTERM"


def test_a_single_process_stops_after_the_step_in_which_it_was_asked():
    assert stopped(0, 1, asked=0) == (7, "SIGTERM")
