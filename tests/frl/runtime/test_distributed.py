"""Leaving the group: together, rank 0 last, and without a wait for those that failed."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tests_support import start_ranks

from frl.runtime import distributed
from frl.runtime.distributed import world


def work(folder: Path, seconds: tuple[float, ...], failing: int | None) -> None:
    """Be busy for so long, then note whose work was done when this rank had left."""
    with world("cpu", timeout=timedelta(seconds=200)) as place:
        place.barrier()
        time.sleep(seconds[place.rank])
        (folder / f"done.{place.rank}").touch()
        if place.rank == failing:
            raise RuntimeError("out of order")
    (folder / f"left.{place.rank}").write_text(" ".join(sorted(path.name for path in folder.glob("done.*"))))


def run(folder: Path, *seconds: float, failing: int | None = None) -> list[int | None]:
    ranks = start_ranks(work, len(seconds), folder, seconds, failing, log=folder / "log")
    for rank in ranks:
        rank.join(280)
    return [rank.exitcode for rank in ranks]


@pytest.mark.parametrize("seconds", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.5, 1.0)])
def test_no_rank_ends_before_the_last_is_done(tmp_path: Path, seconds: tuple[float, ...]) -> None:
    """A launcher ends the others when one has ended, and rank 0 may still be saving."""
    assert run(tmp_path, *seconds) == [0] * len(seconds), (tmp_path / "log").read_text()
    everybody = " ".join(f"done.{rank}" for rank in range(len(seconds)))
    assert {path.read_text() for path in tmp_path.glob("left.*")} == {everybody}


@pytest.mark.parametrize("failing", [0, 1])
def test_nobody_waits_for_one_that_failed(tmp_path: Path, failing: int) -> None:
    """The time limit of a minute would end this test."""
    codes = run(tmp_path, 0.0, 0.0, failing=failing)
    assert codes == [int(rank == failing) for rank in range(2)], (tmp_path / "log").read_text()


class Noted(dict):
    """In the place of the store."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def check(self, keys: list[str]) -> bool:
        return True


@pytest.mark.parametrize("fails", [True, False])
def test_who_fails_waits_for_nobody_to_take_nccl_apart(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Its communicators are destroyed together, by ranks none of which waits in a collective; one alone aborts them."""
    done: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "pick_device", lambda device, local_rank: torch.device("cuda", local_rank))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(distributed, "_meeting_place", lambda place, timeout: store)
    monkeypatch.setattr(dist, "init_process_group", lambda *of, **options: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("destroyed"))
    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", lambda: done.append("aborted"))
    store = Noted()
    with pytest.raises(RuntimeError) if fails else nullcontext(), world():
        if fails:
            raise RuntimeError("3.jpg does not decode")
    assert done == ["aborted" if fails else "destroyed"]
    assert store.keys() == {"rank 0 is done", "rank 0 needs the store no more"}
