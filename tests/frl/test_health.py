"""The collapse alarm: each sign alone, patience, and silence while the prototypes are frozen."""

from dataclasses import replace

import pytest

from frl.config import HealthConfig
from frl.health import CollapseAlarm, Vitals, diagnose

HEALTHY = Vitals(loss=4.0, prototypes_used=0.9, spread=0.8)
CONFIG = HealthConfig(patience_steps=100)


def test_healthy_is_silent():
    assert diagnose(HEALTHY, 3000, CONFIG) is None


@pytest.mark.parametrize(
    ("sign", "word"),
    [
        ({"loss": 8.0}, "ln K"),
        ({"loss": float("nan")}, "nan"),
        ({"prototypes_used": 0.01}, "prototypes"),
        ({"spread": 0.01}, "alike"),
    ],
)
def test_each_sign_names_itself_and_an_option(sign, word):
    diagnosis = diagnose(replace(HEALTHY, **sign), 3000, CONFIG)
    assert word in diagnosis and "--" in diagnosis


def test_the_alarm_waits_for_its_patience_and_starts_anew_after_a_good_interval():
    alarm = CollapseAlarm(3000, CONFIG, first_step=0)
    sick = replace(HEALTHY, spread=0.0)
    assert [alarm.observe(step, sick) is not None for step in (50, 100, 150)] == [False, False, True]
    assert alarm.observe(200, HEALTHY) is None
    assert [alarm.observe(step, sick) is not None for step in (250, 300, 350)] == [False, False, True]


def test_frozen_steps_do_not_count():
    alarm = CollapseAlarm(3000, CONFIG, first_step=1000)
    sick = replace(HEALTHY, loss=8.0)
    assert all(alarm.observe(step, sick) is None for step in range(0, 1100, 50))
    assert alarm.observe(1100, sick) is not None
