"""Laws of the objectives that compare two views: ranks, order, micro-batches, groups, and where no gradient flows."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from tests_support import run_ranks
from tiny_two_views import ALONE, BATCH, OBJECTIVES, gradients, objective_of, run_of, views_of
from torch import nn

from frl.config import CropSpec
from frl.models.compiled import choose_encoders
from frl.monitoring.health import feature_std
from frl.objectives.agreement import agreement
from frl.objectives.contrast import info_nce, unit
from frl.runtime.distributed import World
from frl.training.parallel import distribute
from frl.training.step import forward_backward

YES, NO = torch.tensor(True), torch.tensor(False)
NAMES = sorted(OBJECTIVES)


def step_of(rank: int, world: int, name: str) -> torch.Tensor:
    """Loss, gradients and queued keys of two steps on this rank's share, averaged by DDP.

    In eval mode, so that BatchNorm does not differ; but MoCo's groups are the same on any number of ranks.
    """
    config = run_of(name)
    place = World(rank=rank, size=world, local_rank=rank, local_size=world, device=torch.device("cpu"))
    objective = objective_of(config, ranks=world).train(name == "moco-v2")
    model = distribute(objective, config, place)
    found = []
    for step in range(2):
        objective.zero_grad()
        views = views_of(step, rank=rank, world=world)
        output = forward_backward(model, objective, views, micro_batches=1, autocast=nullcontext)
        objective.after_step(step, YES)
        loss = place.mean(output.loss.clone())
        found += [loss.view(1), gradients(objective)]
    progress = objective.progress(place)
    return torch.cat([*found, *(value.double().flatten() for value in progress.values())])


def steps_of(rank: int, world: int) -> torch.Tensor:
    return torch.cat([step_of(rank, world, name) for name in NAMES])


def test_two_ranks_equal_one_process_with_the_joined_batch():
    alone = steps_of(0, 1)
    for found in run_ranks(steps_of, 2):
        torch.testing.assert_close(found, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_samples_does_not_matter(name):
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(5))
    config = run_of(name, **({"bn_groups": 1} if name == "moco-v2" else {}))
    found = []
    for samples in (None, order):
        objective = objective_of(config)
        output = objective(views_of(0, order=samples))
        output.loss.backward()
        found.append(torch.cat([output.loss.detach().view(1), gradients(objective)]))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_make_the_gradients_of_the_whole_batch(name):
    """Without BatchNorm's batches, or with MoCo's groups, which are the same: nothing but rounding differs."""
    whole, parts = (
        objective_of(replace(config, optim=replace(config.optim, accumulate=accumulate))).train(name == "moco-v2")
        for config, accumulate in ((run_of(name), 1), (run_of(name), 4))
    )
    expected = forward_backward(whole, whole, views_of(0), micro_batches=1, autocast=nullcontext)
    found = forward_backward(parts, parts, views_of(0), micro_batches=4, autocast=nullcontext)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients(parts), gradients(whole), rtol=1e-10, atol=1e-10)
    for objective in (whole, parts):
        objective.after_step(0, YES)
    for key, value in whole.progress(ALONE).items():
        torch.testing.assert_close(parts.progress(ALONE)[key], value, rtol=1e-10, atol=1e-10)


def test_contrast_ignores_the_order_of_the_candidates():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(6, 9, generator=generator, dtype=torch.float64) * 2 - 1
    positives, order = torch.arange(6), torch.randperm(9, generator=generator)
    loss, figures = info_nce(cosines, positives, 0.3)
    again, others = info_nce(cosines[:, order], order.argsort()[positives], 0.3)
    torch.testing.assert_close([again, *others.values()], [loss, *figures.values()])


@pytest.mark.parametrize("own", [False, True])
def test_features_that_are_alike_guess(own):
    samples = torch.arange(5)
    loss, figures = info_nce(torch.ones(5, 8), samples, 0.1, own=samples + 3 if own else None)
    assert loss.item() == pytest.approx(math.log(7 if own else 8))
    assert figures["contrast_top1"] == 0
    assert figures["positive_similarity"].item() == pytest.approx(1)
    assert figures["negative_similarity"].item() == pytest.approx(1)


def test_the_figures_of_contrast_are_those_of_their_definition():
    cosines = torch.tensor([[0.9, 0.1, -0.3], [0.5, 0.2, 0.4]])
    _, figures = info_nce(cosines, torch.tensor([0, 1]), 0.5)
    assert figures["positive_similarity"].item() == pytest.approx((0.9 + 0.2) / 2)
    assert figures["negative_similarity"].item() == pytest.approx((0.1 - 0.3 + 0.5 + 0.4) / 4)
    assert figures["contrast_top1"].item() == 0.5


@pytest.mark.parametrize("name", ["byol", "simsiam", "moco-v3"])
def test_the_gradient_is_that_of_the_predictions_alone(name):
    """By finite differences along a random direction: with targets that stand still, and not with targets that move."""
    objective = objective_of(run_of(name)).eval()
    if name != "simsiam":  # a teacher that is the student, so that it would move
        objective.teacher, objective.teacher_projector = objective.backbone, objective.projector
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in learning]
    objective(views_of(0)).loss.backward()
    slope = sum((p.grad * d).sum() for p, d in zip(learning, direction, strict=True) if p.grad is not None)

    @torch.no_grad()
    def loss_at(distance: float, still: bool) -> torch.Tensor:
        targets = fixed if still else None
        torch._foreach_add_(learning, direction, alpha=distance)
        loss = loss_with(objective, targets)
        torch._foreach_sub_(learning, direction, alpha=distance)
        return loss

    fixed = targets_of(objective)
    numeric = {still: (loss_at(1e-6, still) - loss_at(-1e-6, still)) / 2e-6 for still in (True, False)}
    assert slope.item() == pytest.approx(numeric[True].item(), rel=1e-5, abs=1e-7)
    assert slope.item() != pytest.approx(numeric[False].item(), rel=1e-2)


@torch.no_grad()
def targets_of(objective) -> list[torch.Tensor]:
    return [objective.projector(pooled).clone() for pooled in objective.encode_each(views_of(0))]


def loss_with(objective, targets: list[torch.Tensor] | None) -> torch.Tensor:
    """The loss read literally, to given targets or those of now."""
    predictions = [objective.predictor(each) for each in targets_of(objective)]
    targets = targets_of(objective) if targets is None else targets
    if objective.config.name == "moco-v3":
        temperature = objective.config.temperature
        return sum(
            info_nce(unit(p) @ unit(z).T, torch.arange(BATCH), temperature)[0] * 2 * temperature
            for p, z in zip(predictions, reversed(targets), strict=True)
        )
    cosine = agreement(predictions, targets)
    return 4 - 4 * cosine if objective.config.name == "byol" else -cosine


@pytest.mark.parametrize("name", ["moco-v2", "moco-v3", "byol"])
def test_the_teacher_learns_nothing_by_gradients_and_leaves_the_students_statistics_alone(name):
    config = run_of(name, **({"bn_groups": 1} if name == "moco-v2" else {}))
    objective = objective_of(config)
    objective(views_of(0)).loss.backward()
    taught = [*objective.teacher.parameters(), *objective.teacher_projector.parameters()]
    assert taught and all(parameter.grad is None and not parameter.requires_grad for parameter in taught)
    passes = {name: buffer.item() for name, buffer in objective.named_buffers() if name.endswith("batches_tracked")}
    of_the_student = {count for name, count in passes.items() if name.startswith("backbone")}
    assert of_the_student == {1 if config.objective.name == "moco-v2" else 2}
    before = [parameter.clone() for parameter in taught]
    for parameter in objective.parameters():
        parameter.data += 0.1 if parameter.requires_grad else 0
    objective.after_step(0, NO)
    assert all(torch.equal(now, then) for now, then in zip(taught, before, strict=True))


class Leak(nn.Module):
    """Features that are their batch's statistics and nothing else: what BatchNorm can give away of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((0, 2, 3)).expand(len(x), 3) * 100


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_query_and_its_key_share_as_few_images_statistics_as_a_random_pair(groups):
    """Each query group meets each key group in as many images: the statistics say nothing of who belongs to whom."""
    objective = objective_of(run_of("moco-v2", bn_groups=groups))
    objective.backbone = objective.teacher = Leak()
    objective.projector = objective.teacher_projector = nn.Identity()
    image = views_of(0)[0][:BATCH]
    queries, keys = objective.queries(image), objective.keys(image)
    query_group = torch.unique(queries, dim=0, return_inverse=True)[1]
    key_group = torch.unique(keys, dim=0, return_inverse=True)[1]
    pairs = torch.bincount(groups * query_group + key_group, minlength=groups**2)
    assert pairs.tolist() == [BATCH // groups**2] * groups**2


def test_a_head_with_batchnorm_sees_the_groups_that_the_backbone_sees():
    objective = objective_of(run_of("moco-v2", bn_groups=4, head_batch_norm=True))
    objective(views_of(0))
    for head in (objective.projector, objective.teacher_projector):
        norms = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
        assert [norm.num_batches_tracked.item() for norm in norms] == [4, 4]
    image = views_of(1)[0][:BATCH]
    expected = [objective.projector(objective.backbone(part)) for part in image.chunk(4)]
    torch.testing.assert_close(objective.queries(image), unit(torch.cat(expected)))


def test_a_projector_that_ends_in_batchnorm_keeps_images_apart():
    """Of images that are nearly alike, too; student and teacher each by the statistics of their own batch."""
    image = views_of(0)[0][:BATCH]
    alike = [torch.cat([image[:1] + 0.1 * image, image[:1] - 0.1 * image])]
    objective, published = objective_of(run_of("byol", head_batch_norm=True)), objective_of(run_of("byol"))
    for projected in (*objective.taught(alike), objective.projector(objective.backbone(alike[0][:BATCH]))):
        torch.testing.assert_close(projected.mean(0), torch.zeros_like(projected[0]), atol=1e-9, rtol=0)
        torch.testing.assert_close(projected.var(0, correction=0), torch.ones_like(projected[0]), atol=0.01, rtol=0)
    apart, published_apart = (feature_std(each(alike).features) for each in (objective, published))
    assert apart > published_apart + 0.1


def test_further_crops_only_predict():
    """BYOL on two large and two small crops: eight directed pairs less those of a view with itself."""
    config = run_of("byol")
    crops = (CropSpec(size=16, count=2, scale=(0.3, 1.0)), CropSpec(size=12, count=2, scale=(0.1, 0.3)))
    config = replace(config, augment=replace(config.augment, crops=crops))
    objective = objective_of(config).eval()
    small = torch.randn(2 * BATCH, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    views = [*views_of(0), small]
    loss = objective(views).loss
    each = [view for resolution in views for view in resolution.chunk(2)]
    predictions = [objective.predictor(objective.projector(objective.backbone(view))) for view in each]
    targets = [objective.teacher_projector(objective.teacher(view)) for view in each[:2]]
    distances = [
        (unit(p) - unit(z)).square().sum(1).mean()
        for i, p in enumerate(predictions)
        for j, z in enumerate(targets)
        if i != j
    ]
    torch.testing.assert_close(loss, 2 * torch.stack(distances).mean())


def test_two_resolutions_of_one_crop_are_two_views():
    config = run_of("byol")
    spec = replace(config.augment.crops[0], count=1)
    apart = replace(config, augment=replace(config.augment, crops=(spec, spec)))
    for name in NAMES:
        one, two = (objective_of(replace(c, objective=OBJECTIVES[name])).eval() for c in (config, apart))
        torch.testing.assert_close(two(list(views_of(0)[0].chunk(2))).loss, one(views_of(0)).loss)


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_only_the_network_is_rounded(name):
    """The loss of bf16 features is that of the same features in float32."""
    objective = objective_of(run_of(name)).float()
    views = [view.float() for view in views_of(0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = objective(views)
    assert output.loss.dtype == output.features.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in output.scalars.values())
    torch.testing.assert_close(output.features.norm(dim=1), torch.ones(BATCH), rtol=0, atol=1e-5)
    output.loss.backward()
    assert gradients(objective).isfinite().all() and gradients(objective).any()


@pytest.mark.parametrize("name", NAMES)
def test_compiled_encoders_make_the_same_loss_and_gradients(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    config = replace(run_of(name), compile="on")
    eager, compiled = objective_of(config), objective_of(config)
    for backbone in compiled.backbones:
        compiled.encoders[backbone] = choose_encoders(getattr(compiled, backbone), config, ALONE)
    losses = []
    for objective in (eager, compiled):
        losses.append(objective(views_of(0)).loss)
        losses[-1].backward()
    torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients(compiled), gradients(eager), rtol=1e-10, atol=1e-10)
    for name, buffer in eager.named_buffers():
        torch.testing.assert_close(compiled.get_buffer(name), buffer, rtol=1e-10, atol=1e-10)
