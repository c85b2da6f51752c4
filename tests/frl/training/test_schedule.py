"""Learning rate and weight decay: their end points, and the published schedules computed step by step."""

import math
from dataclasses import replace

import numpy as np
import pytest

from frl.config import OptimConfig
from frl.training.schedule import learning_rate, warmup_cosine, weight_decay

OPTIM = OptimConfig(epochs=20, lr=4.8, start_lr=0.3, final_lr=0.0048, warmup_epochs=10)


def test_end_points_are_exact():
    assert learning_rate(0, 50, OPTIM) == 0.3
    assert learning_rate(499, 50, OPTIM) == pytest.approx(4.8)
    assert learning_rate(500, 50, OPTIM) == 4.8
    assert learning_rate(1000, 50, OPTIM) == pytest.approx(0.0048)


def test_equals_the_published_tables():
    # SwAV fills two tables before training: a linspace over the warm-up, then a half cosine over the rest.
    warmup, total = 500, 1000
    rest = total - warmup
    table = np.concatenate([
        np.linspace(0.3, 4.8, warmup),
        [0.0048 + 0.5 * (4.8 - 0.0048) * (1 + math.cos(math.pi * t / rest)) for t in range(rest)],
    ])  # fmt: skip
    ours = [learning_rate(step, 50, OPTIM) for step in range(total)]
    np.testing.assert_allclose(ours, table, rtol=1e-12)


def test_rises_then_falls():
    rates = np.array([learning_rate(step, 50, OPTIM) for step in range(1000)])
    assert (np.diff(rates[:500]) > 0).all()
    assert (np.diff(rates[500:]) < 0).all()


@pytest.mark.parametrize("warmup", [0, 1])
def test_without_warm_up_it_starts_at_the_peak(warmup):
    assert warmup_cosine(0, total=10, warmup=warmup, start=0.1, peak=1.0, final=0.0) == 1.0


def test_stays_at_the_final_rate_past_the_end():
    assert warmup_cosine(99, total=10, warmup=2, start=0.1, peak=1.0, final=0.25) == 0.25


def test_the_rates_follow_the_batch_size_linearly_from_the_reference():
    optim = OptimConfig(batch_size=256, reference_batch=1024)
    stated = replace(optim, batch_size=1024)
    for step in (0, 7, 40, 3999):
        assert learning_rate(step, 10, optim) == pytest.approx(learning_rate(step, 10, stated) / 4)
    assert learning_rate(5, 10, stated) == learning_rate(5, 10, replace(stated, reference_batch=0))


def test_the_weight_decay_equals_the_published_table():
    # DINO fills a table without warm-up: final + (base - final) * (1 + cos(pi * step / total)) / 2.
    optim = OptimConfig(epochs=20, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=10)
    steps = np.arange(1000)
    table = 0.4 + 0.5 * (0.04 - 0.4) * (1 + np.cos(np.pi * steps / 1000))
    np.testing.assert_allclose([weight_decay(int(step), 50, optim) for step in steps], table, rtol=1e-12)
    assert weight_decay(0, 50, optim) == pytest.approx(0.04) and weight_decay(1000, 50, optim) == 0.4
    assert weight_decay(0, 50, replace(optim, final_weight_decay=0.0)) == pytest.approx(0.04)


def test_without_a_final_value_the_weight_decay_is_constant():
    optim = OptimConfig(epochs=20, weight_decay=1e-6)
    assert {weight_decay(step, 50, optim) for step in range(1000)} == {1e-6}
