"""The vitals against float64 references; the collapse alarm: each sign alone, patience, silence while frozen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.config import HealthConfig, OptimConfig, RunConfig, SwAVConfig
from frl.monitoring.health import CollapseAlarm, effective_rank, feature_std
from frl.monitoring.health import diagnose as diagnose_objective
from frl.monitoring.metrics import Skipped, Sums
from frl.objectives import Diagnosis, Setting, StepOutput, Vitals
from frl.objectives.diagnosis import relative_entropy
from frl.objectives.swav import SwAV
from frl.runtime.distributed import World

HEALTHY = Vitals(
    loss=4.0,
    feature_std=0.8,
    effective_rank=60.0,
    width=128,
    images=64,
    scalars={"prototypes_used": 0.9, "prototype_entropy": 0.95, "assignment_entropy": 0.3},
)
CONFIG = RunConfig(health=HealthConfig(patience_steps=100))
FINITE = torch.tensor(True)
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


def swav(run: RunConfig, steps_per_epoch: int = 0) -> SwAV:
    """The objective of a run over a backbone that does nothing."""
    return SwAV(
        run.objective, torch.nn.Identity(), 4, Setting(crop_counts=(2,), batch_size=8, steps_per_epoch=steps_per_epoch)
    )


def diagnose(vitals: Vitals, run: RunConfig) -> Diagnosis | None:
    return diagnose_objective(vitals, swav(run), run)


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


def test_the_standard_deviation_is_one_for_isotropic_and_zero_for_collapsed_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(512, 16, generator=generator), dim=1)
    assert feature_std(features).item() == pytest.approx(1, abs=0.05)
    assert feature_std(torch.full((64, 16), 0.25)).item() == 0


def test_entropy_is_one_when_even_and_zero_on_one_prototype():
    assert relative_entropy(torch.full((7,), 1 / 7)).item() == pytest.approx(1)
    assert relative_entropy(torch.tensor([0.0, 1.0, 0.0])).item() == 0


def test_an_interval_has_the_vitals_of_all_its_steps_together():
    generator = torch.Generator().manual_seed(0)
    steps = []
    for _ in range(4):
        features = torch.nn.functional.normalize(torch.randn(32, 6, generator=generator) + 0.5, dim=1)
        usage = torch.rand(9, generator=generator)
        entropy = torch.rand((), generator=generator)
        loss = torch.rand((), generator=generator)
        steps.append(StepOutput(loss, features, {"entropy": entropy}, {"usage": usage / usage.sum()}))
    sums = Sums(ALONE.device)
    poisoned = torch.utils._pytree.tree_map(lambda value: value * math.nan, steps[0])
    for _ in range(2):  # the second interval starts from nothing
        for outputs in steps:
            sums.add(outputs, FINITE)
        for _ in range(2):
            sums.add(poisoned, ~FINITE)
        count, skipped, vitals = sums.read(ALONE)
        assert (count, skipped) == (6, Skipped(count=2, in_a_row=2))
        sums.add(steps[0], FINITE)  # ends the row
        sums.read(ALONE)
        assert vitals.loss == pytest.approx(np.mean([s.loss for s in steps]))
        assert vitals.feature_std == pytest.approx(np.mean([feature_std(s.features) for s in steps]))
        assert vitals.scalars["entropy"] == pytest.approx(np.mean([s.scalars["entropy"] for s in steps]))
        assert vitals.effective_rank == pytest.approx(rankme(torch.cat([s.features for s in steps]).numpy()), rel=1e-4)
        mean_use = torch.stack([s.histograms["usage"] for s in steps]).double().mean(0).numpy()
        assert vitals.histograms["usage"].numpy() == pytest.approx(mean_use, rel=1e-6)
        assert (vitals.width, vitals.images) == (6, 32)


def test_healthy_is_silent():
    assert diagnose(HEALTHY, CONFIG) is None


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ({"loss": 8.0}, ["ln K", "--objective.epsilon from 0.05 to 0.03", "--objective.freeze-prototypes-steps"]),
        ({"loss": float("nan")}, ["nan", "--optim.lr"]),
        ({"scalars": {"prototypes_used": 0.01}}, ["prototypes", "--objective.sinkhorn-iterations from 3"]),
        ({"feature_std": 0.01}, ["alike", "frl preview", "--optim.lr from 4.8 to 2.4"]),
        ({"effective_rank": 1.2}, ["1.2 of 128 directions", "--objective.freeze-prototypes-steps"]),
    ],
)
def test_each_sign_names_itself_and_what_to_change(sign, words):
    diagnosis = str(diagnose(replace(HEALTHY, **sign), CONFIG))
    assert all(word in diagnosis for word in words), diagnosis


def test_the_queue_is_proposed_to_small_batches_alone():
    sick = replace(HEALTHY, loss=8.0)
    small = replace(CONFIG, optim=OptimConfig(batch_size=256))
    assert "--objective.queue-length 3840" in str(diagnose(sick, small))
    queued = replace(small, objective=SwAVConfig(queue_length=3840))
    assert "queue-length" not in str(diagnose(sick, queued)) and "--optim.batch-size" in str(diagnose(sick, queued))
    few_prototypes = replace(small, objective=SwAVConfig(prototypes=200))
    assert "queue-length" not in str(diagnose(sick, few_prototypes))


def test_the_alarm_waits_for_its_patience_and_starts_anew_after_a_good_interval():
    alarm = CollapseAlarm(CONFIG, swav(CONFIG))
    sick = replace(HEALTHY, feature_std=0.0)
    assert [alarm.observe(step, sick) is not None for step in (50, 100, 150)] == [False, False, True]
    assert alarm.observe(200, HEALTHY) is None
    assert [alarm.observe(step, sick) is not None for step in (250, 300, 350)] == [False, False, True]


def test_a_lasting_collapse_is_told_once_in_each_patience():
    alarm = CollapseAlarm(CONFIG, swav(CONFIG))
    sick = replace(HEALTHY, feature_std=0.0)
    assert [step for step in range(0, 400, 20) if alarm.observe(step, sick)] == [100, 200, 300]


def test_frozen_steps_do_not_count():
    alarm = CollapseAlarm(CONFIG, swav(CONFIG, steps_per_epoch=1000))
    sick = replace(HEALTHY, loss=8.0)
    assert all(alarm.observe(step, sick) is None for step in range(0, 1100, 50))
    assert alarm.observe(1100, sick) is not None
