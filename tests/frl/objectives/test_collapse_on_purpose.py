"""What holds an objective up is taken away: it collapses within seconds, and its alarm says how and what to change."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_methods import diagnosis_after, run_of

HEALTHY: dict[str, dict[str, Any]] = {
    "swav of identities": {"positives": "image"},
    "dino": {},
    "dino, balanced": {},
    "barlow": {"lr": 0.02, "redundancy_weight": 0.1},
    "vicreg": {"lr": 0.01},
    "softmax": {},
    "cosface": {},
    "arcface": {},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_learns_gives_no_alarm(name: str) -> None:
    assert diagnosis_after(run_of(name, **HEALTHY[name]), 150) is None


@pytest.mark.parametrize(
    ("name", "without", "sign", "remedy"),
    [
        ("swav of identities", {"epsilon": 1.0}, "stays at ln K", "lower --objective.epsilon from 1 to 0.6"),
        ("dino", {"center_momentum": 1.0}, "all images into", "lower --objective.center-momentum from 1 to 0.9"),
        (
            "dino",
            {"teacher_temperature": 1.0, "warmup_teacher_temperature": 1.0},
            "undecided over all outputs",
            "lower --objective.teacher-temperature from 1 to 0.5",
        ),
        (
            "dino, balanced",
            {"teacher_temperature": 1.0, "warmup_teacher_temperature": 1.0},
            "undecided over all outputs",
            "lower --objective.teacher-temperature from 1 to 0.5",
        ),
        (
            "barlow",
            {"redundancy_weight": 0.0},
            "copies of each other",
            "raise --objective.redundancy-weight from 0 to 0.0051",
        ),
        ("vicreg", {"variance_weight": 0.0}, "hardly vary", "raise --objective.variance-weight from 0 to 25"),
        ("softmax", {"lr": 1e-6}, "ln of 7 identities = 1.946", "lengthen --optim.warmup-epochs"),
        ("arcface", {"lr": 1e-6}, "ln of 7 identities = 1.946", "lower --objective.margin from 0.5 to 0.25"),
    ],
)
def test_what_collapses_says_so(name: str, without: dict[str, Any], sign: str, remedy: str) -> None:
    found = diagnosis_after(run_of(name, **HEALTHY[name] | without), 200)
    assert found is not None and sign in found.sign
    assert any(text.startswith(remedy) or remedy in text for text in found.remedies), found
