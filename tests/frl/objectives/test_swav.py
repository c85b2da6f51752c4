"""The objective: its loss against a literal reading of the paper, the queue, the freeze, and two ranks against one."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests_support import run_ranks
from torch.nn.parallel import DistributedDataParallel

from frl.config import SwAVConfig
from frl.models.backbone import build_backbone
from frl.objectives import Setting
from frl.objectives.sinkhorn import sinkhorn
from frl.objectives.swav import SwAV, swapped_prediction_loss
from frl.runtime.distributed import World
from frl.training.memory import Ledger
from frl.training.nonfinite import BufferGuard

SMALL = SwAVConfig(hidden_dim=32, feature_dim=16, prototypes=12, queue_from_epoch=0, freeze_prototypes_steps=0)
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
FINITE = torch.tensor(True)


def make_objective(*, ranks: int = 1, **options) -> SwAV:
    torch.manual_seed(0)
    backbone, width = build_backbone("resnet18")
    return SwAV(replace(SMALL, **options), backbone, width, Setting(crop_counts=(2, 3), batch_size=4, ranks=ranks))


def views(batch: int, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count * batch, 3, size, size, generator=generator) for count, size in ((2, 32), (3, 16))]


def literal_loss(assignments: torch.Tensor, scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """Equation by equation: for each assigned crop, the mean cross-entropy to all others."""
    total = torch.zeros(())
    for a, q in enumerate(assignments):
        others = [v for v in range(len(scores)) if v != a]
        total += sum(-(q * F.log_softmax(scores[v] / temperature, 1)).sum(1).mean() for v in others) / len(others)
    return total / len(assignments)


def test_loss_equals_the_paper_read_literally_with_its_gradient():
    generator = torch.Generator().manual_seed(0)
    scores = (torch.rand(5, 7, 12, generator=generator) * 2 - 1).requires_grad_()
    twin = scores.detach().clone().requires_grad_()
    assignments = sinkhorn(scores.detach()[:2], 0.05, 3).exp()
    ours, literal = swapped_prediction_loss(assignments, scores, 0.1), literal_loss(assignments, twin, 0.1)
    ours.backward()
    literal.backward()
    torch.testing.assert_close(ours, literal, rtol=1e-5, atol=0)
    torch.testing.assert_close(scores.grad, twin.grad, rtol=1e-4, atol=1e-7)


def test_loss_keeps_the_logits_and_a_copy_of_the_assignments_but_no_softmax():
    scores = torch.rand(8, 16, 300, requires_grad=True)
    assignments = sinkhorn(scores.detach()[:2], 0.05, 3).exp()
    with Ledger() as ledger:
        loss = swapped_prediction_loss(assignments, scores, 0.1)
    assert loss.requires_grad
    assert scores.nbytes <= ledger.live < 1.3 * scores.nbytes


def test_loss_of_guessing_is_ln_k():
    uniform = torch.full((2, 6, 12), 1 / 12)
    assert swapped_prediction_loss(uniform, torch.zeros(8, 6, 12), 0.1).item() == pytest.approx(math.log(12))


def test_forward_takes_crop_major_views():
    objective = make_objective().eval()
    batch = views(4)
    loss = objective(batch).loss
    pooled = torch.cat([objective.backbone(view) for view in batch])
    scores = objective.score(F.normalize(objective.projector(pooled), dim=1)).unflatten(0, (5, 4))
    expected = literal_loss(sinkhorn(scores[:2].detach(), 0.05, 3).exp(), scores, 0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


def test_assignments_carry_no_gradient_to_the_target_branch():
    objective = make_objective()
    objective(views(4)).loss.backward()
    assert not objective.queue.requires_grad
    assert objective.prototypes.weight.grad.abs().sum() > 0


def test_prototypes_stay_unit_and_frozen_for_the_first_steps():
    objective = make_objective(freeze_prototypes_steps=2)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.1)
    start = objective.prototypes.weight.detach().clone()
    moved = []
    for step in range(3):
        optimiser.zero_grad()
        objective(views(4, seed=step)).loss.backward()
        objective.before_step(step)
        optimiser.step()
        objective.after_step(step, FINITE)
        moved.append(not torch.allclose(objective.prototypes.weight, start, atol=1e-6))
        norms = objective.prototypes.weight.norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(12))
    assert moved == [False, False, True]


def unit_features(step: int) -> torch.Tensor:
    return F.normalize(torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(step)), dim=-1)


def uses_queue(objective: SwAV, features: torch.Tensor) -> bool:
    """Assign a batch, as a step does; whether the queue took part."""
    scores = objective.score(features)
    return not torch.equal(objective.assign(features, scores)[0], sinkhorn(scores, 0.05, 3).exp())


def test_queue_keeps_the_newest_features_begins_when_due_and_waits_until_full():
    objective = make_objective(queue_length=8, queue_from_epoch=3)
    history, with_queue = [], []
    for step in range(7):
        history.insert(0, unit_features(step))
        with_queue.append(uses_queue(objective, history[0]))
        objective.step = step + 1
    assert with_queue == [False] * 5 + [True] * 2
    torch.testing.assert_close(objective.queue, torch.cat(history[:2], dim=1))


def test_skipped_steps_fill_no_queue():
    objective = make_objective(queue_length=8)
    guard, with_queue = BufferGuard(objective), []
    for step, finite in enumerate([True, False, False, True, True]):
        guard.remember()
        with_queue.append(uses_queue(objective, unit_features(step)))
        guard.settle(torch.tensor(finite))
        objective.step = step + 1
    assert with_queue == [False] * 4 + [True]
    torch.testing.assert_close(objective.queue, torch.cat([unit_features(4), unit_features(3)], dim=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_loss_and_assignments_keep_float32_under_autocast(dtype):
    objective, batch = make_objective(), views(4)
    features = objective.embed(batch).detach()
    scores = objective.score(features)
    plain = objective.assign(features[:2], scores[:2])
    loss = swapped_prediction_loss(plain[0], scores, 0.1)
    with torch.autocast("cpu", dtype=dtype):
        found = objective.assign(features[:2], objective.score(features)[:2])
        assert torch.equal(swapped_prediction_loss(found[0], scores, 0.1), loss)
    assert torch.equal(found[0], plain[0]) and torch.equal(found[1], plain[1])


@pytest.mark.parametrize("length", [8, 16])
def test_a_queue_of_another_length_goes_on_with_what_it_holds(length):
    objective = make_objective(queue_length=12)
    for step in range(3):
        uses_queue(objective, unit_features(step))
    other = make_objective(queue_length=length)
    other.load_progress(3, objective.progress(ALONE), ALONE)
    kept = min(length, 12)
    torch.testing.assert_close(other.queue[:, :kept], objective.queue[:, :kept])
    assert other.queued == kept


@pytest.mark.parametrize(("crops", "batch"), [(1, 4), (3, 4), (2, 8)])
def test_a_queue_of_other_crops_or_of_another_batch_is_left_with_a_warning(crops, batch):
    objective = make_objective(queue_length=8)
    saved = {"queue": F.normalize(torch.randn(crops, 2, batch, 16), dim=-1)}
    with pytest.warns(UserWarning, match=f"queue is of {crops} crops of {batch} images.* 2 crops of 4 .* fills anew"):
        objective.load_progress(2, saved, ALONE)
    assert objective.step == 2 and objective.queued == 0 and not objective.queue.any()


@pytest.mark.filterwarnings("error")
def test_without_a_queue_there_is_none_to_fill():
    for length, saved in ((0, torch.ones(3, 2, 4, 16)), (8, torch.zeros(0))):
        objective = make_objective(queue_length=length)
        objective.load_progress(2, {"queue": saved}, ALONE)
        assert objective.queued == 0


def test_assignments_with_the_queue_are_balanced_together():
    objective = make_objective(queue_length=4)
    first, second = (F.normalize(torch.randn(2, 4, 16), dim=-1) for _ in range(2))
    score = lambda x: objective.score(x.flatten(0, 1)).view(2, 4, 12)  # noqa: E731
    objective.assign(first, score(first))
    objective.step = 1
    together = sinkhorn(torch.cat([score(second), score(first)], dim=1), 0.05, 3)[:, :4].exp()
    torch.testing.assert_close(objective.assign(second, score(second))[0], together)


@pytest.mark.parametrize("world", [1, 2])
def test_queue_survives_a_change_of_world(world):
    objective = make_objective(queue_length=8)
    blocks = [torch.randn(2, 4, 16) for _ in range(2)]
    for block in blocks:
        objective.assign(block, objective.score(block.flatten(0, 1)).view(2, 4, 12))
    saved = objective.progress(ALONE)["queue"]
    parts = []
    for rank in range(world):
        other = make_objective(queue_length=8, ranks=world)
        other.load_progress(2, {"queue": saved}, replace(ALONE, rank=rank, size=world))
        parts.append(other.progress(ALONE)["queue"])
    torch.testing.assert_close(torch.cat(parts, dim=2), saved)
    torch.testing.assert_close(saved, torch.stack(blocks[::-1], dim=1))


def gradients(rank: int, world: int) -> torch.Tensor:
    """Gradients of one step on this rank's share, averaged by DDP; eval mode, so that BatchNorm does not differ."""
    objective = make_objective(ranks=world).eval()
    model = DistributedDataParallel(objective) if world > 1 else objective
    model.broadcast_buffers = False
    share = [view.unflatten(0, (count, 8)).chunk(world, 1)[rank].flatten(0, 1) for view, count in zip(views(8), (2, 3))]  # noqa: B905
    model(share).loss.backward()
    return torch.cat([p.grad.flatten() for p in objective.parameters()])


def test_two_ranks_equal_one_process():
    one = gradients(0, 1)
    for two in run_ranks(gradients, 2):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-6)


def test_usage_is_a_distribution():
    assert make_objective()(views(4)).histograms["prototype_mass"].sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("epsilon", [1e-3, 0.05, 10.0])
def test_entropy_of_an_assignment_is_that_of_its_definition_in_float64(epsilon):
    objective = make_objective(epsilon=epsilon)
    features = F.normalize(torch.randn(2, 5, 16), dim=-1)
    q, found = objective.assign(features, objective.score(features))
    expected = torch.special.entr(q.double()).sum(-1).mean()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_compiled_encoders_are_used_per_resolution():
    objective = make_objective()
    seen: list[int] = []

    def encoder(view: torch.Tensor) -> torch.Tensor:
        seen.append(view.shape[-1])
        return objective.backbone(view)

    clone = copy.copy(objective)
    clone.encoders = {"backbone": [encoder, encoder]}
    clone(views(2))
    assert seen == [32, 16]
