"""Each objective collapses on purpose, by the known way it can, and its alarm says so in the words of its options."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_two_views import ALONE, BATCH, STEPS, objective_of, run_of, views_of
from torch import nn

from frl.config import HealthConfig, RunConfig
from frl.monitoring.health import CollapseAlarm, diagnose
from frl.monitoring.metrics import Sums
from frl.objectives import Diagnosis, Objective, Vitals
from frl.training.step import Step

PATIENCE, INTERVAL, LIMIT = 20, 10, 400


def alarm_of(config: RunConfig, objective: Objective, *, identical: bool = False) -> Diagnosis | None:
    """Train until the alarm, at most ``LIMIT`` steps; the same few batches again and again."""
    config = replace(config, health=HealthConfig(patience_steps=PATIENCE))
    step = Step(config, objective, LIMIT, ALONE)
    alarm, sums = CollapseAlarm(config, objective), Sums(ALONE.device)
    for index in range(LIMIT):
        views = views_of(index % STEPS)
        if identical:
            views = [views[0][:1].expand_as(views[0])]
        sums.add(step(views), step.finite)
        if step.taken % INTERVAL == 0 and (diagnosis := alarm.observe(step.taken, sums.read(ALONE)[2])):
            return diagnosis
    return None


def without_predictor(name: str, **options: float) -> tuple[RunConfig, Objective]:
    config = run_of(name, **options)
    config = replace(config, optim=replace(config.optim, start_lr=0.3, lr=0.3, warmup_epochs=0, epochs=1))
    objective = objective_of(config)
    objective.predictor = nn.Identity()
    return config, objective


def test_simsiam_without_predictor_and_stop_gradient(monkeypatch):
    config, objective = without_predictor("simsiam")

    def moving(predictions, targets):
        one, other = (F.normalize(each, dim=1) for each in predictions)
        return (one * other).sum(1).mean()

    monkeypatch.setattr("frl.objectives.simsiam.agreement", moving)
    diagnosis = alarm_of(config, objective)
    assert diagnosis and "--objective.predictor-dim from 6" in str(diagnosis), diagnosis


def test_byol_without_predictor_and_teacher():
    config, objective = without_predictor("byol", momentum=0.0)
    objective.momentum_after = lambda step: 0.0
    diagnosis = alarm_of(config, objective)
    assert diagnosis and "--objective.momentum from 0 to 0.5" in str(diagnosis), diagnosis


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_as_published_they_stay_apart(name):
    config = run_of(name)
    config = replace(config, optim=replace(config.optim, start_lr=0.05, lr=0.05, warmup_epochs=0, epochs=1))
    assert alarm_of(config, objective_of(config)) is None


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("simclr", "--objective.temperature from 0.1"),
        ("moco-v2", "--objective.queue-length from 48: its oldest keys are 3 steps old"),
        ("moco-v3", "--objective.momentum from 0.9 to 0.95"),
    ],
)
def test_contrast_among_identical_images(name, remedy):
    config = run_of(name)
    diagnosis = alarm_of(config, objective_of(config), identical=True)
    assert diagnosis and remedy in str(diagnosis) and "frl preview" in str(diagnosis), diagnosis


@pytest.mark.parametrize(
    ("name", "guessing"),
    [
        ("simclr", torch.tensor(2.0 * BATCH - 1).log()),
        ("moco-v2", torch.tensor(3.0 * BATCH + 1).log()),
        ("moco-v3", 4 * 0.3 * torch.tensor(float(BATCH)).log()),
    ],
)
def test_a_loss_of_guessing_is_told_and_one_below_is_not(name, guessing):
    """Of features that are all alike, the objective's own loss is the value that its health calls guessing."""
    config = run_of(name)
    objective = objective_of(config)
    vitals = Vitals(loss=guessing.item(), feature_std=0.9, effective_rank=9.0, width=12, images=BATCH)
    told = str(diagnose(vitals, objective, config))
    assert f"{guessing.item():.3f}, the value of guessing" in told and "Try, in this order" in told
    assert diagnose(replace(vitals, loss=0.9 * guessing.item()), objective, config) is None


@pytest.mark.parametrize("name", ["simclr", "moco-v2", "moco-v3"])
def test_features_that_are_alike_have_the_loss_of_guessing(name):
    config = run_of(name)
    objective = objective_of(config)
    same = nn.Linear(3 * 16 * 16, 12).double()
    nn.init.zeros_(same.weight)
    for part in ("backbone", "teacher"):
        setattr(objective, part, nn.Flatten())
    objective.projector = objective.teacher_projector = same
    objective.predictor = nn.Identity()
    if name == "moco-v2":
        objective.queue.keys.copy_(F.normalize(same.bias.detach(), dim=0).expand_as(objective.queue.keys))
    loss = objective(views_of(0)).loss.item()
    vitals = Vitals(loss=loss, feature_std=0.9, effective_rank=9.0, width=12, images=BATCH)
    assert f"the loss {loss:.3f} stays at" in str(diagnose(vitals, objective, config))
    assert f"= {loss:.3f}, the value of guessing" in str(diagnose(vitals, objective, config))


def test_moco_is_watched_once_its_queue_is_full_of_keys():
    assert objective_of(run_of("moco-v2")).watched_from == 3
