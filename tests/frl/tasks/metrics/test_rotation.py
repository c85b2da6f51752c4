"""Angles and matrices, in our order of turns and in that of 300W-LP."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from frl.tasks.metrics.rotation import angles, angles_300wlp, matrices, matrices_300wlp, to_300wlp

POSES = np.random.default_rng(0).uniform([-120, -80, -170], [120, 80, 170], (200, 3))


@pytest.mark.parametrize(("there", "back"), [(matrices, angles), (matrices_300wlp, angles_300wlp)])
def test_the_way_there_and_back_is_the_identity(there: Callable, back: Callable) -> None:
    turns = there(POSES)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (200, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(back(turns), POSES, atol=1e-8)


def test_a_turn_of_the_image_adds_to_the_roll_in_our_order_alone() -> None:
    turn, turned = matrices(np.array([[0, 0, 25.0]]))[0], POSES + [0, 0, 5.0]
    np.testing.assert_allclose(matrices(np.array([[0, 0, 5.0]]))[0] @ matrices(POSES), matrices(turned), atol=1e-12)
    assert np.abs(turn @ matrices_300wlp(POSES) - matrices_300wlp(POSES + [0, 0, 25])).max() > 0.1


def test_orders_agree_where_there_is_one_turn_and_not_where_there_are_several() -> None:
    one = np.array([[30.0, 0, 0], [0, 20, 0], [0, 0, -40]])
    np.testing.assert_allclose(to_300wlp(one), one, atol=1e-9)
    assert np.abs(to_300wlp(np.array([[30.0, 20, -40]])) - [30, 20, -40]).max() > 5
    assert np.isnan(to_300wlp(np.array([[30.0, np.nan, 0]]))).all()
