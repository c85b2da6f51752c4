"""The number format of a run: measured where both could be the faster one, clearly, and once a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import CONFIG, run

from frl.config import CropSpec, RunConfig
from frl.models import compiled
from frl.models.compiled import MOST_ROUNDS, TRIED_PIXELS, Contest, faster_precision
from frl.runtime import checkpoint
from frl.runtime.distributed import World
from frl.training import build
from frl.training.build import with_precision

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
AUTO = replace(CONFIG, precision="auto")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The formats of the passes that were tried, in order; ``SECONDS`` says how long each takes, from the first on."""
    taken: list[str] = []

    def trial(self: Contest, encoders: object, clock: object) -> tuple[float, torch.Tensor]:
        assert clock is time.thread_time and torch.get_num_threads() == 1
        taken.append(str(self.views[0][1].dtype))
        return SECONDS[taken[-1]][taken.count(taken[-1]) - 1], torch.zeros(1)

    monkeypatch.setattr(Contest, "trial", trial)
    yield taken
    SECONDS.clear()


SECONDS: dict[str, list[float]] = {}
BF16, FP32 = "torch.bfloat16", "torch.float32"


@pytest.mark.parametrize(
    ("bf16", "fp32", "chosen", "rounds"),
    [
        ([5.0], [9.0, 10.0], "bf16", 1),  # of fp32 the first pass does not count
        ([9.0, 9.9], [99.0, 10.0, 9.0], "fp32", 2),
        ([10.0, 9.0], [9.0, 1.0, 1.0], "fp32", 2),  # bf16 has a second try
        ([10.0, 0.5], [9.0, 1.0, 1.0], "bf16", 2),
        ([8.0, 7.0], [9.0, 10.0, 10.0], "bf16", 2),  # close at first, and clear the second time
        ([8.6, 8.6, 8.6], [9.0, 10.0, 10.0, 10.0], "fp32", MOST_ROUNDS),  # close to the end, and not clearly faster
        ([8.4, 8.4, 8.4], [9.0, 10.0, 10.0, 10.0], "bf16", MOST_ROUNDS),
    ],
)
def test_bf16_is_taken_where_it_wins_clearly_and_a_close_result_is_looked_at_again(
    bf16: list[float], fp32: list[float], chosen: str, rounds: int, passes: list[str]
) -> None:
    SECONDS.update({BF16: bf16, FP32: fp32})
    assert faster_precision(AUTO, CPU) == chosen
    assert passes == [FP32, *[BF16, FP32] * rounds]


@pytest.mark.parametrize(
    ("size", "count", "batch", "accumulate", "images"),
    [(32, 2, 8, 1, 8), (32, 2, 4096, 1, 64), (32, 2, 64, 4, 16), (64, 2, 4096, 1, 16), (512, 2, 64, 1, 2)],
)
def test_as_many_of_the_largest_crops_are_tried_as_the_run_has_and_a_moment_allows(
    size: int, count: int, batch: int, accumulate: int, images: int, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    SECONDS.update({BF16: [1.0], FP32: [2.0, 2.0]})
    shapes = []
    monkeypatch.setattr(compiled, "Contest", noting(shapes))
    crops = (CropSpec(size=16, count=3, scale=(0.1, 0.3)), CropSpec(size=size, count=count, scale=(0.3, 1.0)))
    optim = replace(AUTO.optim, batch_size=batch, accumulate=accumulate)
    config = replace(AUTO, augment=replace(AUTO.augment, crops=crops), optim=optim)
    faster_precision(config, CPU)
    assert shapes == [[(count * images, 3, size, size)]] * 2
    assert images == 2 or count * images * size**2 <= TRIED_PIXELS


def noting(shapes: list[list[tuple[int, ...]]]) -> type[Contest]:
    class Noting(Contest):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            shapes.append([tuple(view.shape) for _, view in self.views])

    return Noting


def test_the_formats_are_really_tried_and_torch_has_its_threads_again(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    chosen = faster_precision(AUTO, CPU)
    assert torch.get_num_threads() == threads
    assert capsys.readouterr().out.strip().endswith(f": {chosen}")


def test_a_run_that_goes_on_tries_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def measured(config: RunConfig, world: World) -> str:
        tried.append(config.out)
        return "bf16"

    monkeypatch.setattr(build, "computes_bf16", lambda device: True)
    monkeypatch.setattr(build, "faster_precision", measured)
    config = replace(AUTO, out=tmp_path / "run", max_steps=2)
    run(config)
    run(replace(config, max_steps=3))
    moved = tmp_path / "moved"
    shutil.copytree(config.out / "checkpoints", moved / "checkpoints")  # without config.json
    run(replace(config, out=moved, max_steps=4))
    assert tried == [config.out]
    for out, step in ((config.out, 3), (moved, 4)):
        state = checkpoint.load_newest(out / "checkpoints")
        assert (state["step"], state["config"]["precision"]) == (step, "bf16")


def test_nothing_is_tried_where_the_answer_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(config: RunConfig, world: World) -> str:
        raise AssertionError("measured")

    monkeypatch.setattr(build, "faster_precision", measured)
    monkeypatch.setattr(build, "computes_bf16", lambda device: False)
    assert with_precision(AUTO, CPU).precision == "fp32"
    monkeypatch.setattr(build, "computes_bf16", lambda device: True)
    assert with_precision(replace(AUTO, deterministic=True), CPU).precision == "fp32"
    assert with_precision(replace(AUTO, precision="bf16"), CPU).precision == "bf16"
