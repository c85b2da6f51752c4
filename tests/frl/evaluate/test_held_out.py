"""Held-out data share no subject with the rest."""

import numpy as np
import pytest

from frl.evaluate.held_out import held_out

SUBJECTS = np.repeat(np.arange(40), np.random.default_rng(0).integers(1, 9, 40))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_whole_subjects_are_held_out(share):
    aside = held_out(SUBJECTS, share, seed=1)
    assert not set(SUBJECTS[aside]) & set(SUBJECTS[~aside])
    assert share <= aside.mean() < share + 9 / len(SUBJECTS)


def test_unknown_subjects_are_each_their_own():
    aside = held_out(np.full(100, -1), 0.1, seed=1)
    assert aside.sum() == 10
    assert not np.array_equal(aside, held_out(np.full(100, -1), 0.1, seed=2))
    assert np.array_equal(aside, held_out(np.full(100, -1), 0.1, seed=1))


def test_nothing_is_held_out_where_nothing_would_be_left():
    assert not held_out(np.zeros(50, int), 0.1, seed=0).any()
    assert not held_out(SUBJECTS, 0, seed=0).any()
    assert not held_out(np.array([-1]), 0.5, seed=0).any()
