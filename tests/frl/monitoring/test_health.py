"""The vitals against float64 references; the collapse alarm: each sign alone, patience, silence while frozen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.config import HealthConfig, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.monitoring.health import CollapseAlarm, Vitals, diagnose, effective_rank, relative_entropy
from frl.monitoring.metrics import Skipped, Sums
from frl.runtime.distributed import World

HEALTHY = Vitals(loss=4.0, spread=0.8, rank=60.0, prototypes_used=0.9, prototype_entropy=0.95, assignment_entropy=0.3)
CONFIG = RunConfig(health=HealthConfig(patience_steps=100))
FINITE = torch.tensor(True)
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


def rankme(features: np.ndarray) -> float:
    """Garrido et al. (2023), eq. 1 and 2, word for word."""
    singular = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    p = singular / np.abs(singular).sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 80), width=st.integers(1, 24), directions=st.integers(1, 24), seed=st.integers(0, 2**32 - 1)
)
def test_the_rank_is_rankme(count, width, directions, seed):
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, directions)) @ random.standard_normal((directions, width))
    second_moment = torch.from_numpy(features.T @ features / count)
    assert effective_rank(second_moment).item() == pytest.approx(rankme(features), rel=1e-4)


@pytest.mark.parametrize("width", [1, 2, 16])
def test_the_rank_is_one_on_a_line_and_the_width_when_isotropic(width):
    assert effective_rank(torch.eye(width, dtype=torch.float64)).item() == pytest.approx(width)
    line = torch.ones(width, width, dtype=torch.float64)
    assert effective_rank(line).item() == pytest.approx(1, abs=1e-4)


def test_entropy_is_one_when_even_and_zero_on_one_prototype():
    assert relative_entropy(torch.full((7,), 1 / 7)).item() == pytest.approx(1)
    assert relative_entropy(torch.tensor([0.0, 1.0, 0.0])).item() == 0


def test_an_interval_has_the_vitals_of_all_its_steps_together():
    generator = torch.Generator().manual_seed(0)
    steps = []
    for _ in range(4):
        features = torch.nn.functional.normalize(torch.randn(32, 6, generator=generator) + 0.5, dim=1)
        usage = torch.rand(9, generator=generator)
        steps.append(
            {
                "loss": torch.rand((), generator=generator),
                "spread": torch.rand((), generator=generator),
                "assignment_entropy": torch.rand((), generator=generator),
                "features": features,
                "usage": usage / usage.sum(),
            }
        )
    sums = Sums(prototypes=9, width=6, device=ALONE.device)
    poisoned = {name: value * math.nan for name, value in steps[0].items()}
    for _ in range(2):  # the second interval starts from nothing
        for outputs in steps:
            sums.add(outputs, FINITE)
        for _ in range(2):
            sums.add(poisoned, ~FINITE)
        count, skipped, vitals, usage, stopping = sums.read(ALONE, stop_requested=False)
        assert (count, skipped, stopping) == (6, Skipped(count=2, in_a_row=2), False)
        sums.add(steps[0], FINITE)  # ends the row
        sums.read(ALONE, stop_requested=False)
        assert vitals.loss == pytest.approx(np.mean([s["loss"] for s in steps]))
        assert vitals.spread == pytest.approx(np.mean([s["spread"] for s in steps]))
        assert vitals.assignment_entropy == pytest.approx(np.mean([s["assignment_entropy"] for s in steps]))
        assert vitals.rank == pytest.approx(rankme(torch.cat([s["features"] for s in steps]).numpy()), rel=1e-4)
        mean_use = torch.stack([s["usage"] for s in steps]).double().mean(0).numpy()
        assert usage.numpy() == pytest.approx(mean_use, rel=1e-6)
        entropy = -(mean_use * np.log(mean_use)).sum() / math.log(9)
        assert vitals.prototype_entropy == pytest.approx(entropy, rel=1e-5)


def test_a_request_to_stop_is_heard():
    sums = Sums(prototypes=2, width=1, device=ALONE.device)
    zero = torch.zeros(())
    step = {"loss": zero, "spread": zero, "assignment_entropy": zero}
    sums.add({**step, "features": torch.ones(1, 1), "usage": torch.tensor([0.5, 0.5])}, FINITE)
    assert sums.read(ALONE, stop_requested=True)[-1] is True


def test_healthy_is_silent():
    assert diagnose(HEALTHY, CONFIG) is None


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ({"loss": 8.0}, ["ln K", "--swav.epsilon from 0.05 to 0.03", "--swav.freeze-prototypes-steps"]),
        ({"loss": float("nan")}, ["nan", "--optim.lr"]),
        ({"prototypes_used": 0.01}, ["prototypes", "--swav.sinkhorn-iterations from 3"]),
        ({"spread": 0.01}, ["alike", "frl preview", "--optim.lr from 1.2 to 0.6"]),
        ({"rank": 1.2}, ["1.2 of 128 directions", "--swav.freeze-prototypes-steps"]),
    ],
)
def test_each_sign_names_itself_and_what_to_change(sign, words):
    diagnosis = diagnose(replace(HEALTHY, **sign), CONFIG)
    assert all(word in diagnosis for word in words), diagnosis


def test_the_queue_is_proposed_to_small_batches_alone():
    sick = replace(HEALTHY, loss=8.0)
    small = replace(CONFIG, optim=OptimConfig(batch_size=256))
    assert "--swav.queue-length 3840" in diagnose(sick, small)
    queued = replace(small, swav=SwAVConfig(queue_length=3840))
    assert "queue-length" not in diagnose(sick, queued) and "--optim.batch-size" in diagnose(sick, queued)
    few_prototypes = replace(small, model=ModelConfig(prototypes=200))
    assert "queue-length" not in diagnose(sick, few_prototypes)


def test_the_alarm_waits_for_its_patience_and_starts_anew_after_a_good_interval():
    alarm = CollapseAlarm(CONFIG, first_step=0)
    sick = replace(HEALTHY, spread=0.0)
    assert [alarm.observe(step, sick) is not None for step in (50, 100, 150)] == [False, False, True]
    assert alarm.observe(200, HEALTHY) is None
    assert [alarm.observe(step, sick) is not None for step in (250, 300, 350)] == [False, False, True]


def test_a_lasting_collapse_is_told_once_in_each_patience():
    alarm = CollapseAlarm(CONFIG, first_step=0)
    sick = replace(HEALTHY, spread=0.0)
    assert [step for step in range(0, 400, 20) if alarm.observe(step, sick)] == [100, 200, 300]


def test_frozen_steps_do_not_count():
    alarm = CollapseAlarm(CONFIG, first_step=1000)
    sick = replace(HEALTHY, loss=8.0)
    assert all(alarm.observe(step, sick) is None for step in range(0, 1100, 50))
    assert alarm.observe(1100, sick) is not None
