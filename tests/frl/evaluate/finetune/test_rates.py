"""Each layer's rate is a pure function of the step."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from frl.config.finetune import FinetuneConfig
from frl.errors import ConfigError
from frl.evaluate import untrained
from frl.evaluate.finetune.network import predictor
from frl.evaluate.finetune.rates import groups_of, learning_rate, momentum, optimiser_of, set_rates_of
from frl.tasks.numbers import Numbers

CONFIG = FinetuneConfig(size=32, steps=100, lr=1e-3, head_lr=4e-3, layer_decay=0.5, warmup=0.1, checks=4)
AGE = Numbers(field="age", entries=("age",), offset=(0.0,), scale=(1.0,))


def test_the_schedule_rises_falls_and_ends_at_0() -> None:
    rates = [learning_rate(step, CONFIG) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == rates[10] == 1e-3 == max(rates)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == 0 and rates[55] == pytest.approx(0.5e-3)
    assert learning_rate(0, dataclasses.replace(CONFIG, warmup=0)) == 1e-3


def test_deeper_layers_learn_faster_and_only_matrices_decay() -> None:
    network = predictor(untrained("resnet18-w8"), AGE, CONFIG)
    optimiser = optimiser_of(network, CONFIG)
    set_rates_of(optimiser, 10, CONFIG)
    rate = {id(param): group["lr"] for group in optimiser.param_groups for param in group["params"]}
    backbone = network.backbone
    for depth, layer in enumerate((backbone.conv1, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)):
        assert all(rate[id(param)] == pytest.approx(1e-3 * 0.5 ** (4 - depth)) for param in layer.parameters())
    assert rate[id(network.head.layer.weight)] == pytest.approx(4e-3)
    for group in optimiser.param_groups:
        assert group["weight_decay"] == (CONFIG.weight_decay if group["params"][0].ndim > 1 else 0)
        assert len({param.ndim > 1 for param in group["params"]}) == 1


def test_what_does_not_learn_is_in_no_group() -> None:
    network = predictor(untrained("resnet18-w8"), AGE, CONFIG)
    network.backbone.conv1.weight.requires_grad_(False)
    given = [id(param) for group in groups_of(network, CONFIG) for param in group["params"]]
    assert len(given) == len(set(given))
    assert set(given) == {id(param) for param in network.parameters() if param.requires_grad}


def test_the_mean_of_few_weights_is_even_and_of_many_as_configured() -> None:
    assert momentum(0, CONFIG) == pytest.approx(0.1)
    assert momentum(100_000, CONFIG) == CONFIG.ema
    assert momentum(5, dataclasses.replace(CONFIG, ema=0)) == 0


def test_checks_are_equally_far_apart_and_end_with_the_last_step() -> None:
    assert CONFIG.check_steps == (25, 50, 75, 100)
    assert dataclasses.replace(CONFIG, steps=3, checks=3).check_steps == (1, 2, 3)
    assert dataclasses.replace(CONFIG, steps=10, checks=4).check_steps[-1] == 10


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"size": 0}, "size"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 1}, "batch-size"),
        ({"lr": 0.0}, "lr"),
        ({"head_lr": float("nan")}, "head-lr"),
        ({"layer_decay": 1.5}, "layer-decay"),
        ({"weight_decay": -1.0}, "weight-decay"),
        ({"warmup": 1.1}, "warmup"),
        ({"ema": 1.0}, "ema"),
        ({"checks": 0}, "checks"),
        ({"checks": 101}, "checks"),
        ({"validation": 1.0}, "validation"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_cannot_work_are_refused(change: dict, option: str) -> None:
    with pytest.raises(ConfigError, match=f"--finetune.{option}"):
        dataclasses.replace(CONFIG, **change).check()
    CONFIG.check()


def test_the_seed_draws_the_head_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = predictor(untrained("resnet18-w8"), AGE, CONFIG)
    assert torch.equal(torch.rand(3), expected)
    same = predictor(untrained("resnet18-w8"), AGE, CONFIG)
    other = predictor(untrained("resnet18-w8"), AGE, dataclasses.replace(CONFIG, seed=1))
    assert torch.equal(first.head.layer.weight, same.head.layer.weight)
    assert not torch.equal(first.head.layer.weight, other.head.layer.weight)
