"""Fine-tuning learns, goes on exactly where it was stopped, and several ranks are one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests_support import run_ranks
from torch import Tensor

from frl.batch import LabelledBatch
from frl.config.finetune import FinetuneConfig, WarpConfig
from frl.errors import CheckpointError, ConfigError, TrainingError
from frl.evaluate import untrained
from frl.evaluate.finetune import Check, Finetuned, Judged, finetune
from frl.evaluate.finetune.loop import FlipTested, Tuning
from frl.evaluate.finetune.network import predictor
from frl.evaluate.truths import read_truth
from frl.runtime.distributed import World
from frl.tasks.registry import Landmarks
from frl.tasks.task import Score, Truth
from pipelines.labelled import LabelledFaces
from tests.labelled_faces import write_faces

ARCH, SIZE = "resnet18-w8-nopool", 32
STILL = WarpConfig(rotation=0, scale=0, shift=0, flip_p=0, erase_p=0, jitter_p=0, grey_p=0)
QUICK = FinetuneConfig(size=SIZE, steps=6, batch_size=8, checks=3, lr=2e-3, head_lr=5e-3, warmup=0.3)
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "faces.beton", identities=12)


@contextmanager
def opened(beton: Path, config: FinetuneConfig) -> Iterator[LabelledFaces]:
    faces = LabelledFaces((beton,), size=SIZE, augment=config.augment, device="cpu")
    try:
        yield faces
    finally:
        faces.close()


def truth_of(faces: LabelledFaces, rows: np.ndarray) -> Truth:
    (beton,) = faces.betons.betons
    return read_truth(beton).rows(rows)


def task_of(faces: LabelledFaces) -> Landmarks:
    return Landmarks.of({spec.name: spec for spec in faces.betons.targets})


TRAIN, HELD, TEST = np.arange(16), np.arange(16, 20), np.arange(20, 24)


def tuned(
    beton: Path, config: FinetuneConfig = QUICK, folder: Path | None = None, wrap: Any = lambda loader: loader
) -> tuple[Finetuned, list[Check]]:
    """A run on 16 faces, chosen on 4 others."""
    checks: list[Check] = []
    with opened(beton, config) as faces:
        loader = faces.training(TRAIN, ("landmarks",), batch_size=config.batch_size, seed=config.seed)
        result = finetune(
            untrained(ARCH),
            task_of(faces),
            wrap(loader),
            Judged(faces.whole(HELD, batch_size=3), truth_of(faces, HELD)),
            faces.whole(TEST, batch_size=3),
            config,
            folder=folder,
            on_check=checks.append,
        )
    return result, checks


def assert_same(ours: Finetuned, theirs: Finetuned) -> None:
    assert np.array_equal(ours.predictions, theirs.predictions)
    assert ours.history == theirs.history and ours.step == theirs.step
    for (name, one), other in zip(ours.network.state_dict().items(), theirs.network.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several would wait for each other wherever the machine has other things to do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("head", "steps", "rate"), [("linear", 250, 3e-3), ("maps", 150, 1e-2)])
def test_eight_faces_are_learned_by_heart(beton: Path, head: Any, steps: int, rate: float) -> None:
    config = FinetuneConfig(
        head=head,
        size=SIZE,
        steps=steps,
        batch_size=8,
        checks=10,
        lr=rate,
        head_lr=rate,
        layer_decay=1,
        weight_decay=0,
        augment=STILL,
    )
    with opened(beton, config) as faces:
        eight, task = np.arange(0, 16, 2), task_of(faces)
        loader = faces.training(eight, ("landmarks",), batch_size=8, seed=0)
        result = finetune(untrained(ARCH), task, loader, None, faces.whole(eight, batch_size=8), config)
        error = task.score(result.predictions, truth_of(faces, eight))["nme"].value
        mean = task.constant(task.encode(loader.targets, loader.sides).numpy())
        without_looking = task.score(np.tile(mean, (8, 1)), truth_of(faces, eight))["nme"].value
    assert result.history[-1].loss < 0.03 < 0.09 < result.history[0].loss
    assert error < 0.15 * without_looking, f"{error:.3f} where the mean shape has {without_looking:.3f}"


class Interrupted:
    """A loader whose process is killed before a step."""

    def __init__(self, loader: Any, step: int) -> None:
        self.loader, self.step = loader, step
        self.fingerprint, self.targets, self.sides = loader.fingerprint, loader.targets, loader.sides

    def batches(self, start: int, stop: int) -> Iterator[LabelledBatch]:
        for step, batch in enumerate(self.loader.batches(start, stop), start):
            if step == self.step:
                raise KeyboardInterrupt
            yield batch


@pytest.mark.parametrize("step", [1, 3, 5])
def test_an_interrupted_run_goes_on_bit_for_bit(beton: Path, tmp_path: Path, step: int) -> None:
    whole, _ = tuned(beton)
    with pytest.raises(KeyboardInterrupt):
        tuned(beton, folder=tmp_path, wrap=lambda loader: Interrupted(loader, step))
    resumed, checks = tuned(beton, folder=tmp_path)
    assert_same(resumed, whole)
    assert [check.step for check in checks] == [stop for stop in (2, 4, 6) if stop > step // 2 * 2]
    again, checks = tuned(beton, folder=tmp_path)
    assert_same(again, whole)
    assert not checks, "a finished run is not repeated"
    assert len(list(tmp_path.iterdir())) == 1


def test_another_run_in_the_folder_is_refused(beton: Path, tmp_path: Path) -> None:
    tuned(beton, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"differs in config\.lr: 0\.002 -> 0\.001"):
        tuned(beton, dataclasses.replace(QUICK, lr=1e-3), folder=tmp_path)


def test_the_initialisation_stays_as_it_is_and_decides_the_result(beton: Path) -> None:
    backbone = untrained(ARCH)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with opened(beton, QUICK) as faces:
        loader = faces.training(TRAIN, ("landmarks",), batch_size=8, seed=0)
        test = faces.whole(TEST, batch_size=4)
        first, same, other = (
            finetune(network, task_of(faces), loader, None, test, QUICK).predictions
            for network in (backbone, backbone, untrained(ARCH, seed=1))
        )
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert np.array_equal(first, same) and not np.allclose(first, other)


class Planned(Landmarks):
    """Says of each judgement what the test wants."""

    values: Any = None

    def score(self, predicted: Any, truth: Any) -> dict[str, Score]:
        value = Planned.values.pop(0)
        return {"nme": Score(value=value, higher_is_better=False, text="")}


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ([3.0, 1.0, 2.0], 4),
        ([1.0, 1.0, 1.0], 2),
        ([float("nan"), 2.0, float("nan")], 4),
        ([3.0, 2.0, 1.0], 6),
        ([float("nan")] * 3, 6),
    ],
)
def test_the_best_of_the_checks_is_kept(beton: Path, values: list[float], chosen: int) -> None:
    Planned.values = list(values)
    with opened(beton, QUICK) as faces:
        loader = faces.training(TRAIN, ("landmarks",), batch_size=8, seed=0)
        task = Planned.of({spec.name: spec for spec in faces.betons.targets})
        judged = Judged(faces.whole(HELD, batch_size=4), truth_of(faces, HELD))
        test = faces.whole(TEST, batch_size=4)
        result = finetune(untrained(ARCH), task, loader, judged, test, QUICK)
        tuning = Tuning(untrained(ARCH), task, loader, QUICK, ALONE)
        for stop in QUICK.check_steps:
            if stop <= chosen:
                tuning.train(stop)
                tuning.judge(None)
        expected = tuning.predict(test)
    assert result.step == chosen
    assert np.array_equal(result.predictions, expected)


def test_without_held_out_data_the_last_weights_are_kept(beton: Path) -> None:
    with opened(beton, QUICK) as faces:
        loader = faces.training(TRAIN, ("landmarks",), batch_size=8, seed=0)
        result = finetune(untrained(ARCH), task_of(faces), loader, None, faces.whole(TEST, batch_size=4), QUICK)
    assert result.step == QUICK.steps and [check.score for check in result.history] == [None] * 3


def weights_of(beton: Path, world: World, steps: int = 3) -> dict[str, Tensor]:
    """The gradients of the first step and the averaged weights after a few, on the ranks of ``world``."""
    config = dataclasses.replace(QUICK, steps=steps, checks=1)
    with opened(beton, config) as faces:
        loader = faces.training(np.arange(24), ("landmarks",), batch_size=8, seed=0, rank=world.rank, world=world.size)
        tuning = Tuning(untrained(ARCH), task_of(faces), loader, config, world)
        tuning.train(1)
        gradients = {f"gradient of {name}": param.grad.clone() for name, param in tuning.network.named_parameters()}
        tuning.train(steps)
        tuning.judge(None)
        said = tuning.predict(faces.whole(TEST, batch_size=4, part=(world.rank, world.size)))
    return {**tuning.averaged_state, **gradients, "said": torch.from_numpy(said)}


def rank_of(rank: int, size: int, beton: Path) -> Any:
    world = World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))
    return {name: value.numpy().copy() for name, value in weights_of(beton, world).items()}


def test_two_ranks_are_one_process_with_the_joined_batch(beton: Path) -> None:
    alone = weights_of(beton, ALONE)
    first, second = run_ranks(rank_of, 2, beton)
    start = predictor(untrained(ARCH), _task(beton), QUICK).state_dict()
    for name, value in alone.items():
        assert np.array_equal(first[name], second[name]), name
        difference = np.linalg.norm(first[name] - value.numpy())
        if name in start:
            # Adam's first steps hardly depend on a gradient's size, and so much on the rounding of the smallest.
            assert difference <= 0.05 * float((value - start[name]).double().norm()) + 1e-5, name
        elif name.startswith("gradient"):
            assert difference <= 1e-3 * float(value.norm()) + 1e-7, name
    apart = np.abs(first["said"] - alone["said"].numpy()).mean()
    assert apart < 0.03 * alone["said"].abs().mean()


def _task(beton: Path) -> Landmarks:
    with opened(beton, QUICK) as faces:
        return task_of(faces)


def test_frozen_statistics_stay_and_others_move(beton: Path) -> None:
    for batch_norm, moves in (("frozen", False), ("train", True)):
        config = dataclasses.replace(QUICK, batch_norm=batch_norm)
        result, _ = tuned(beton, config)
        mean = result.network.backbone.bn1.running_mean
        assert (mean != 0).any() == moves


def test_flip_testing_is_a_mean_of_both_views(beton: Path) -> None:
    task = _task(beton)
    network = predictor(untrained(ARCH), task, QUICK).eval()
    images = torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        both = FlipTested(network, task)(images)
        torch.testing.assert_close(FlipTested(network, task)(images.flip(3)), task.mirror(both))
        torch.testing.assert_close(both, (network(images) + task.mirror(network(images.flip(3)))) / 2)


def test_a_rate_that_is_far_too_large_ends_with_an_error(beton: Path) -> None:
    with pytest.raises(TrainingError, match="Lower --finetune.lr"):
        tuned(beton, dataclasses.replace(QUICK, lr=1e30, head_lr=1e30, warmup=0, checks=1))


def test_a_head_of_maps_needs_points(beton: Path) -> None:
    class Mood:
        name, outputs, bounded = "mood", 3, False

    with pytest.raises(ConfigError, match="maps say where points are"):
        predictor(untrained(ARCH), Mood(), dataclasses.replace(QUICK, head="maps"))
