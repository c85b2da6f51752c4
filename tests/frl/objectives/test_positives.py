"""Images of one identity as positives: which they are, and the losses read literally or against those of others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny_methods import OBJECTIVES, batch_of, objective_of, run_of

from frl.cli import main
from frl.config import ObjectiveConfig
from frl.objectives.contrast import contrast_of_several, info_nce, unit
from frl.objectives.positives import mean_of_identity, same_identity
from frl.objectives.simclr import nt_xent

EXACT = {"rtol": 1e-10, "atol": 1e-10}
OF_IDENTITIES = [name for name in OBJECTIVES if name.endswith("of identities")]


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


def of_images(name: str) -> ObjectiveConfig:
    """The same objective whose positives are the views of an image."""
    return replace(OBJECTIVES[name], positives="image")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", OF_IDENTITIES)
@pytest.mark.parametrize("labels", [torch.arange(16), torch.full((16,), -1)])
def test_identities_of_one_image_each_change_nothing(name: str, labels: torch.Tensor) -> None:
    config = run_of(name)
    views, _ = batch_of(config, 0)
    plain = objective_of(replace(config, objective=of_images(name)))
    torch.testing.assert_close(objective_of(config)(views, labels).loss, plain(views).loss, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", OF_IDENTITIES)
def test_images_of_an_identity_change_the_loss(name: str) -> None:
    """MoCo's at the second step, when their keys are in the queue."""
    config = run_of(name)
    found = []
    for objective in (objective_of(config), objective_of(replace(config, objective=of_images(name)))):
        for step in range(2):
            loss = objective(*batch_of(config, step)).loss
            objective.after_step(step, torch.tensor(True))
        found.append(loss.item())
    assert abs(found[0] - found[1]) > 1e-3


def random_features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_gradient(loss: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_simclr_of_identities_is_the_supervised_contrastive_loss(temperature: float) -> None:
    """Against pytorch-metric-learning, whose unlabelled images have labels of their own; values and gradients."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    labels = torch.tensor([0, 1, -1, 0, 2, 1, 0, -1])
    one, other = (random_features(8, 5, seed=seed).requires_grad_() for seed in range(2))
    both = unit(torch.stack([one, other]))
    ours, _ = nt_xent(both, both, 0, temperature, same_identity(labels, labels))
    theirs = losses.SupConLoss(temperature=temperature)
    own_labels = labels.where(labels >= 0, torch.arange(8) + 100)
    expected = theirs(torch.cat([one, other]), own_labels.repeat(2))
    torch.testing.assert_close(with_gradient(ours, one, other), with_gradient(expected, one, other), **EXACT)


def test_moco_of_identities_finds_the_queued_keys_of_its_person() -> None:
    """Three steps against lists of keys and labels, query by query; an unlabelled query finds its own key alone."""
    config = run_of("moco-v2 of identities")
    objective, plain = (
        objective_of(config).eval(),
        objective_of(replace(config, objective=of_images("moco-v2 of identities"))).eval(),
    )
    keys, labels = list(objective.queue.keys.clone()), [-1] * len(objective.queue.keys)
    several = 0
    for step in range(3):
        views, mine = batch_of(config, step)
        query_view, key_view = objective.crops(views)
        queries, own = plain.queries(query_view), plain.keys(key_view)
        terms = []
        for query, key, label in zip(queries, own, mine.tolist(), strict=True):
            candidates = torch.stack([key, *keys]) @ query / objective.config.temperature
            alike = [0, *(1 + at for at, other in enumerate(labels) if label >= 0 and other == label)]
            several += len(alike) > 1
            terms.append(-F.log_softmax(candidates, 0)[alike].mean())
        torch.testing.assert_close(objective(views, mine).loss, torch.stack(terms).mean(), **EXACT)
        objective.after_step(step, torch.tensor(True))
        keys[step * 16 : step * 16 + 16], labels[step * 16 : step * 16 + 16] = list(own), mine.tolist()
        plain.load_state_dict(objective.state_dict())
    assert several > 16


def test_one_positive_each_is_info_nce() -> None:
    cosines, samples = random_features(5, 9).tanh(), torch.arange(5)
    alike = torch.nn.functional.one_hot(samples + 2, 9).bool()
    one, figures = info_nce(cosines, samples + 2, 0.3, own=samples)
    several, of_several = contrast_of_several(cosines, alike, 0.3, own=samples)
    torch.testing.assert_close([several, *of_several.values()], [one, *figures.values()], **EXACT)


def test_an_option_of_another_objective_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "dino-cpu", "--objective.prototypes", "8"]) == 1
    assert "--objective.prototypes: dino has no such option" in capsys.readouterr().err
