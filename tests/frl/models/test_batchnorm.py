"""Synchronised BatchNorm: ranks against one process with the joint batch in float64, and compiled."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_support import run_ranks
from torch import nn

from frl.config import ModelConfig, OptimConfig, RunConfig
from frl.models.batchnorm import Group, SyncBatchNorm, join_group, shares_statistics, statistics_held, synchronise
from frl.monitoring.traffic import Traffic
from frl.runtime.distributed import World

IMAGES, RANKS = 16, 2


def network() -> nn.Sequential:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5), nn.BatchNorm1d(5))
    net = nn.Sequential(*convolution, *head, nn.Linear(5, 5), nn.BatchNorm1d(5, affine=False))
    for layer in (net[1], net[6]):
        nn.init.normal_(layer.weight, 1, 0.3), nn.init.normal_(layer.bias)
    return net


def outcome(net: nn.Module, images: torch.Tensor, targets: torch.Tensor, call=None) -> dict[str, np.ndarray]:
    """Outputs, gradients and running statistics after one forward and backward pass."""
    images = images.clone().requires_grad_()
    outputs = (call or net)(images)
    (outputs * targets).sum().backward()
    found = {"outputs": outputs, "images": images.grad}
    found |= {f"gradient {name}": parameter.grad for name, parameter in net.named_parameters()}
    found |= {name: buffer for name, buffer in net.named_buffers()}
    return {name: value.detach().double().numpy() for name, value in found.items()}


def data(rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 3, 8, 8, generator=generator) * 2 + 3
    return images[rows], torch.randn(IMAGES, 5, generator=generator)[rows]


def ranks_outcomes(rank: int, world: int) -> list[dict[str, np.ndarray]]:
    """With all ranks, compiled, and each by itself; and how many collectives a layer takes."""
    share = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    found = []
    for group, backend in ((1, None), (0, "aot_eager"), (0, None)):
        net = network()
        synchronise(net, join_group(group))
        call = torch.compile(net, fullgraph=True, backend=backend) if backend else net
        found.append(outcome(net, *data(share), call))
    with Traffic() as traffic:
        outcome(net, *data(share))
    found.append({"collectives": traffic.collectives.total()})
    return found


def assert_joint(parts: list[dict], rows: slice) -> None:
    """The ranks' outcomes, put together, are those of one float64 process with all their images."""
    images, targets = data(rows)
    joint = outcome(network().double(), images.double(), targets.double())
    for name, expected in joint.items():
        values = [part[name] for part in parts]
        if name in ("outputs", "images"):
            together = np.concatenate(values)
        elif name.startswith("gradient"):
            together = np.sum(values, axis=0)
        else:
            together = values[0]
            assert all(np.array_equal(value, together) for value in values), f"{name} differs between ranks"
        np.testing.assert_allclose(together, expected, rtol=2e-5, atol=2e-5, err_msg=name)


def test_ranks_equal_one_process_with_the_joint_batch():
    by_rank = run_ranks(ranks_outcomes, RANKS)
    for rank, found in enumerate(by_rank):
        assert_joint([found[0]], slice(rank * IMAGES // RANKS, (rank + 1) * IMAGES // RANKS))
    for way in (1, 2):
        assert_joint([found[way] for found in by_rank], slice(None))
    assert all(found[3]["collectives"] == 6 for found in by_rank), "three layers, one each way"


@pytest.mark.parametrize(
    ("setting", "ranks", "batch", "shared"),
    [
        ("auto", 2, 128, False),
        ("auto", 2, 126, True),
        ("auto", 1, 8, False),
        ("local", 2, 8, False),
        ("sync", 2, 4096, True),
        ("sync", 1, 8, False),
    ],
)
def test_statistics_are_shared_where_a_rank_has_few_images(setting, ranks, batch, shared):
    config = RunConfig(model=ModelConfig(batch_norm=setting), optim=OptimConfig(batch_size=batch))
    world = World(rank=0, size=ranks, local_rank=0, local_size=ranks, device=torch.device("cpu"))
    assert shares_statistics(config, world) == shared


def test_micro_batches_count_towards_the_choice():
    config = RunConfig(optim=OptimConfig(batch_size=128))
    world = World(rank=0, size=2, local_rank=0, local_size=2, device=torch.device("cpu"))
    assert not shares_statistics(config, world)
    assert shares_statistics(replace(config, optim=replace(config.optim, accumulate=2)), world)


def test_state_and_evaluation_are_those_of_the_layer_it_replaces():
    net, twin = network(), network()
    outcome(net, *data())
    twin.load_state_dict(net.state_dict())
    synchronise(twin, Group("unused", 1))
    assert sum(isinstance(layer, SyncBatchNorm) for layer in twin.modules()) == 3
    assert twin.state_dict().keys() == net.state_dict().keys()
    assert torch.equal(twin.eval()(data()[0]), net.eval()(data()[0]))


def test_held_statistics_do_not_move_and_normalise_by_the_batch():
    net, twin = network(), network()
    with statistics_held(net):
        held = outcome(net, *data())
    free = outcome(twin, *data())
    np.testing.assert_array_equal(held["outputs"], free["outputs"])
    assert not held["1.running_mean"].any() and net[1].num_batches_tracked == 0
    assert free["1.running_mean"].all() and free["1.num_batches_tracked"] == 1
    outcome(net, *data())
    assert net[1].num_batches_tracked == 1


def test_what_does_not_learn_still_does_not():
    net = network().requires_grad_(False)
    synchronise(net, Group("", 2))
    assert isinstance(net[1], SyncBatchNorm)
    assert not any(parameter.requires_grad for parameter in net.parameters())
