"""Two ranks under torchrun: another number of ranks, SIGTERM, and a killed rank (faults: T3, T4, T5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import ranks_run
from pictures import encode
from PIL import Image
from ranks_run import train_on
from tests_support import start_ranks
from torch.distributed import TCPStore

import frl
from frl.beton import BetonWriter
from frl.runtime import checkpoint
from frl.runtime.distributed import world
from frl.runtime.termination import REPEATS

STEPS = 15  # 3 epochs of 5 steps of 8 samples
BATCH = 8


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """43 small pictures: five steps of eight, and three that an epoch leaves out."""
    path = tmp_path_factory.mktemp("data") / "faces.beton"
    rng = np.random.default_rng(0)
    with BetonWriter(path, capacity=43, page_size=1 << 21) as writer:
        for index in range(43):
            noise = Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8))
            writer.append(encode(noise), 36, 36, -1, f"{index}.jpg")
    return path


def finish(processes: list[ForkServerProcess], seconds: float) -> list[int | None]:
    """Wait for the end of all, and return their exit codes; what hangs is ended and fails the test."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert None not in codes, f"still running after {seconds} s"
    return codes


def wait_for(condition: Callable[[], bool], log: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {log.read_text()}"
        time.sleep(0.02)


def saved_steps(out: Path) -> list[int]:
    return [checkpoint.load(path)["step"] for path in checkpoint.saved(out / "checkpoints")]


def consumed(out: Path, ranks: int) -> dict[int, list[int]]:
    """The samples of each global step that were trained on, sorted."""
    steps: dict[int, list[int]] = {}
    for rank in range(ranks):
        for line in (out / f"consumed.{rank}.jsonl").read_text().splitlines():
            step, samples = json.loads(line)
            steps[step] = sorted(steps.get(step, []) + samples)
    return steps


@pytest.mark.timeout(300)
def test_the_samples_of_every_step_are_the_same_on_any_number_of_ranks(beton: Path, tmp_path: Path) -> None:
    """T3: 2 ranks, then 1, then 2 against 1 rank all the way; stops lie in the middle of epochs."""
    alone, changing, log = tmp_path / "alone", tmp_path / "changing", tmp_path / "log"
    for out, legs in ((alone, [(1, STEPS)]), (changing, [(2, 4), (1, 8), (2, STEPS)])):
        for ranks, until in legs:
            codes = finish(start_ranks(train_on, ranks, beton, out, until, 0.0, log=log), 250)
            assert codes == [0] * ranks, log.read_text()
    expected, found = consumed(alone, 1), consumed(changing, 2)
    assert sorted(found) == list(range(STEPS))
    assert found == expected
    for epoch in range(3):
        samples = Counter(sample for step in range(5 * epoch, 5 * epoch + 5) for sample in found[step])
        assert len(samples) == 5 * BATCH and set(samples.values()) == {1}, "none lost, none repeated"


@pytest.mark.parametrize("asked", [0, 1])
def test_sigterm_to_one_rank_stops_both_at_the_same_step(beton: Path, tmp_path: Path, asked: int) -> None:
    """T4: whichever rank is asked."""
    log = tmp_path / "log"
    ranks = start_ranks(train_on, 2, beton, tmp_path, STEPS, 1.0, log=log)
    wait_for(lambda: bool(saved_steps(tmp_path)), log)
    ranks[asked].terminate()
    assert finish(ranks, 250) == [0, 0], log.read_text()
    step = saved_steps(tmp_path)[-1]
    assert step < STEPS and f"stopped by SIGTERM after step {step}" in log.read_text()
    assert sorted(consumed(tmp_path, 2))[-1] == step - 1


def test_a_second_sigterm_ends_the_process_at_once(beton: Path, tmp_path: Path) -> None:
    """T4: a request waits for the end of a step, which may take long; a repeat within seconds is the same request."""
    log = tmp_path / "log"
    ranks = start_ranks(train_on, 1, beton, tmp_path, STEPS, 120.0, log=log)
    wait_for((tmp_path / "environment.jsonl").exists, log)  # written when requests are heard
    ranks[0].terminate()
    time.sleep(0.2)
    ranks[0].terminate()
    time.sleep(REPEATS[signal.SIGTERM] + 0.2)
    assert ranks[0].is_alive()
    for _ in range(20):  # a busy machine hands over the first one late, and what follows within seconds is its repeat
        ranks[0].terminate()
        ranks[0].join(REPEATS[signal.SIGTERM] + 1)
        if not ranks[0].is_alive():
            break
    assert finish(ranks, 250) == [-signal.SIGTERM]


def meet(port: int, attempt: int) -> None:
    """Join the group as torchrun's ``attempt``, rank 1 late; the first attempt dies without a farewell."""
    os.environ.update(MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True")
    os.environ.update(TORCHELASTIC_RESTART_COUNT=str(attempt))
    time.sleep(1.5 * int(os.environ["RANK"]))
    with world("cpu", timeout=timedelta(seconds=200)) as place:
        place.barrier()
        if attempt == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def test_restarted_ranks_do_not_look_for_the_dead(tmp_path: Path) -> None:
    """T5: torchrun keeps the store in which the ranks tell each other their addresses."""
    store, log = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), tmp_path / "log"
    assert finish(start_ranks(meet, 2, store.port, 0, log=log), 250) == [-signal.SIGKILL] * 2, log.read_text()
    assert finish(start_ranks(meet, 2, store.port, 1, log=log), 250) == [0, 0], log.read_text()


def test_a_killed_rank_is_replaced_and_the_run_ends_by_itself(beton: Path, tmp_path: Path) -> None:
    """T5, under torchrun itself."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", ranks_run.__file__, str(beton), str(tmp_path), str(STEPS), "0.3"]
    # The script's folder leads its path, and tests/frl in it would stand in for a package that comes by a hook only.
    root = str(Path(frl.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    with open(log, "w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as torchrun:
        try:
            wait_for(lambda: bool(saved_steps(tmp_path)) or torchrun.poll() is not None, log)
            os.kill(int((tmp_path / "pids" / "1").read_text()), signal.SIGKILL)
            assert torchrun.wait(280) == 0, log.read_text()
        finally:
            torchrun.kill()
    assert saved_steps(tmp_path)[-1] == STEPS
