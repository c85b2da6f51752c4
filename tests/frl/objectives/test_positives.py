"""Images of one identity as positives: which they are, and SwAV's loss read literally."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny_methods import OBJECTIVES, batch_of, objective_of, run_of

from frl.cli import main
from frl.objectives.positives import mean_of_identity, same_identity


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=9))
def test_unknown_samples_are_like_themselves_alone(labels: list[int]) -> None:
    found = same_identity(torch.tensor(labels), torch.tensor(labels))
    expected = [
        [i == j or (one >= 0 and one == other) for j, other in enumerate(labels)] for i, one in enumerate(labels)
    ]
    assert found.tolist() == expected


def test_the_mean_is_over_the_samples_of_an_identity() -> None:
    values, labels = torch.rand(2, 4, 5, dtype=torch.float64), torch.tensor([7, -1, 7, 2])
    found = mean_of_identity(values, labels, ranks=1)
    shared = (values[:, 0] + values[:, 2]) / 2
    torch.testing.assert_close(found, torch.stack([shared, values[:, 1], shared, values[:, 3]], dim=1))


def test_swav_predicts_the_assignments_of_each_sample_of_the_identity() -> None:
    """Pair by pair: a sample's crop predicts another crop of itself, and of each other sample of its identity."""
    config = run_of("swav of identities")
    objective = objective_of(config).eval()
    views, labels = batch_of(config, 0)
    loss = objective(views, labels).loss
    features = objective.embed(views).detach()
    scores = objective.score(features)
    assignments, _ = objective.assign(features[:2], scores[:2])
    terms = []
    for a in range(2):
        for v in (other for other in range(4) if other != a):
            for i, label in enumerate(labels):
                alike = [j for j, other in enumerate(labels) if j == i or (label >= 0 and other == label)]
                log_p = F.log_softmax(scores[v, i] / objective.config.temperature, 0)
                terms.append(torch.stack([-(assignments[a, j] * log_p).sum() for j in alike]).mean())
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-5, atol=0)
    assert len(set(labels.tolist())) < len(labels) - 1, "some identities have several samples"


@pytest.mark.parametrize("labels", [torch.arange(16), torch.full((16,), -1)])
def test_identities_of_one_image_each_change_nothing(labels: torch.Tensor) -> None:
    config = run_of("swav of identities")
    views, _ = batch_of(config, 0)
    plain = objective_of(replace(config, objective=replace(OBJECTIVES["swav of identities"], positives="image")))
    torch.testing.assert_close(objective_of(config)(views, labels).loss, plain(views).loss, rtol=1e-6, atol=0)


def test_an_option_of_another_objective_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "dino-cpu", "--objective.prototypes", "8"]) == 1
    assert "--objective.prototypes: dino has no such option" in capsys.readouterr().err
