"""Heads: where a map's mass lies is the point, and a head begins with the mean."""

import pytest
import torch

from frl.tasks.heads import MAPS, LinearHead, MapsHead, soft_argmax


def test_the_mean_place_of_a_single_cell_is_that_cell():
    maps = torch.full((1, 3, 8, 16), -1e4)
    for point, (row, column) in enumerate([(0, 0), (7, 15), (3, 10)]):
        maps[0, point, row, column] = 1e4
    found = soft_argmax(maps)[0]
    cells = torch.tensor([[0, 0], [15, 7], [10, 3]])
    torch.testing.assert_close(found, (cells + 0.5) / torch.tensor([16, 8]) - 0.5)


def test_the_mean_place_of_two_cells_is_between_them_and_of_all_the_centre():
    maps = torch.full((1, 1, 8, 8), -1e4)
    maps[0, 0, 2, 3] = maps[0, 0, 2, 4] = 0
    torch.testing.assert_close(soft_argmax(maps)[0, 0], torch.tensor([0.0, 2.5 / 8 - 0.5]))
    assert soft_argmax(torch.zeros(1, 1, 8, 8)).abs().max() < 1e-6


def test_a_linear_head_begins_with_the_mean():
    head, mean = LinearHead(16, 3), torch.tensor([0.2, -0.4, torch.nan])
    head.start_at(mean)
    said = head(torch.zeros(5, 16))
    torch.testing.assert_close(said, mean.nan_to_num().expand(5, 3))


def test_a_bounded_head_stays_within_1_and_begins_with_the_mean():
    head = LinearHead(16, 2, bounded=True)
    head.start_at(torch.tensor([0.3, -0.9]))
    torch.testing.assert_close(head(torch.zeros(2, 16))[0], torch.tensor([0.3, -0.9]))
    assert head(100 * torch.randn(50, 16)).abs().max() <= 1


@pytest.mark.parametrize("side", [1, 2, 7, 8, 16, 64, 80])
@pytest.mark.parametrize("axes", [2, 3])
def test_maps_are_of_one_size_whatever_the_features_are(side, axes):
    head = MapsHead(6, side, 5, axes, hidden=4)
    seen = []
    head.maps.register_forward_hook(lambda module, given, maps: seen.append(maps.shape[2]))
    said = head(torch.randn(3, 6, side, side))
    assert said.shape == (3, 5 * axes) and said.dtype == torch.float32
    assert MAPS / 2 < seen[0] <= max(MAPS, side)
    flat = said.view(3, 5, axes)[..., :2]
    assert flat.abs().max() < 0.5, "means of cells lie within the image"
    said.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
