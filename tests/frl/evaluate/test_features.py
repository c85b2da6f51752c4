"""Features come from evaluation mode, in order, and leave the network as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frl.batch import Batch
from frl.errors import LoaderError
from frl.evaluate import RawPixels, extract_features, untrained


def batches(images: torch.Tensor, batch_size: int) -> list[Batch]:
    ids = torch.arange(len(images))
    return [
        Batch([i], s, {"identity": s * 10})
        for i, s in zip(images.split(batch_size), ids.split(batch_size), strict=True)
    ]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1))
    net[1].running_mean.normal_()
    return net.train()


IMAGES = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_equal_to_one_pass_in_evaluation_mode(network: nn.Module, batch_size: int) -> None:
    network.eval()
    with torch.no_grad():
        expected = network(IMAGES).flatten(1)
    network.train()
    vectors, labels = extract_features(network, batches(IMAGES, batch_size), normalise=False)
    torch.testing.assert_close(vectors, expected)
    assert labels.tolist() == [0, 10, 20, 30, 40, 50, 60]


def test_normalised_features_have_unit_length_and_the_same_direction(network: nn.Module) -> None:
    plain, _ = extract_features(network, batches(IMAGES, 3), normalise=False)
    unit, _ = extract_features(network, batches(IMAGES, 3))
    torch.testing.assert_close(unit, plain / plain.norm(dim=1, keepdim=True))


def test_modes_and_statistics_are_left_as_they_were(network: nn.Module) -> None:
    network[1].eval()  # a frozen BatchNorm in a training network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    extract_features(network, batches(IMAGES, 3))
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_modes_are_restored_when_a_batch_fails(network: nn.Module) -> None:
    with pytest.raises(RuntimeError):
        extract_features(network, batches(torch.zeros(2, 4, 8, 8), 2))
    assert network.training and network[2].training


def test_autocast_computes_in_lower_precision_and_returns_float32(network: nn.Module) -> None:
    exact, _ = extract_features(network, batches(IMAGES, 3), normalise=False)
    rounded, _ = extract_features(network, batches(IMAGES, 3), normalise=False, autocast=torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0.03)


def test_several_views_or_crops_are_refused(network: nn.Module) -> None:
    ids = torch.arange(2)
    for views in ([IMAGES[:2], IMAGES[:2]], [IMAGES[:4]]):
        with pytest.raises(LoaderError, match="one view"):
            extract_features(network, [Batch(views, ids, {"identity": ids})])


def test_no_images_are_refused(network: nn.Module) -> None:
    with pytest.raises(LoaderError, match="no image"):
        extract_features(network, [])


def test_raw_pixels_keep_small_images_and_average_large_ones() -> None:
    assert torch.equal(RawPixels(8)(IMAGES), IMAGES.flatten(1))
    halves = torch.arange(4.0).repeat(1, 3, 4, 1)  # columns 0 1 2 3
    # The anti-aliased triangle filter weighs the columns 3:3:1 (left) and 1:3:3 (right).
    expected = torch.tensor([5 / 7, 16 / 7]).repeat(1, 3, 2, 1)
    torch.testing.assert_close(RawPixels(2)(halves), expected.flatten(1))


def test_an_untrained_network_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first, again, other = untrained("resnet18", 3), untrained("resnet18", 3), untrained("resnet18", 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert not first.training
