"""The queue of keys against a list, and what a checkpoint brings back."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frl.objectives.queue import KeyQueue

YES, NO = torch.tensor(True), torch.tensor(False)


def keys_of(step: int, count: int) -> torch.Tensor:
    return torch.arange(count * 2.0).view(count, 2) + 100 * (step + 1)


def oldest_first(queue: KeyQueue) -> torch.Tensor:
    return queue.keys.roll(-int(queue.pushed), 0)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8))
def test_it_is_a_list_that_loses_its_oldest_and_knows_nothing_of_skipped_steps(length, pushes):
    queue = KeyQueue(length, 2)
    expected = deque(queue.keys.tolist(), maxlen=length)
    for step, (count, finite) in enumerate(pushes):
        count = min(count, length)
        keys = keys_of(step, count)
        queue.push(keys if finite else keys * torch.nan, YES if finite else NO)
        if finite:
            expected.extend(keys.tolist())
    assert oldest_first(queue).tolist() == list(expected)
    assert queue.filled == min(length, sum(min(count, length) for count, finite in pushes if finite))


def test_it_starts_with_random_unit_vectors_of_the_seed():
    torch.manual_seed(3)
    one = KeyQueue(64, 8)
    torch.manual_seed(3)
    assert torch.equal(one.keys, KeyQueue(64, 8).keys)
    torch.testing.assert_close(one.keys.norm(dim=1), torch.ones(64))
    assert torch.linalg.matrix_rank(one.keys) == 8 and one.filled == 0


@pytest.mark.parametrize("pushes", [1, 3, 5])
def test_one_of_the_same_length_goes_on_bit_for_bit(pushes):
    queue, other = KeyQueue(8, 2), KeyQueue(8, 2)
    for step in range(pushes):
        queue.push(keys_of(step, 4), YES)
    other.load_progress(queue.progress())
    for each in (queue, other):
        each.push(keys_of(9, 4), YES)
    assert torch.equal(queue.keys, other.keys) and torch.equal(queue.pushed, other.pushed)


@pytest.mark.parametrize(("pushes", "length"), [(1, 12), (1, 4), (5, 12), (5, 4), (3, 16)])
def test_one_of_another_length_keeps_the_newest(pushes, length):
    queue, other = KeyQueue(8, 2), KeyQueue(length, 2)
    for step in range(pushes):
        queue.push(keys_of(step, 4), YES)
    other.load_progress(queue.progress())
    kept = min(4 * pushes, 8, length)
    assert other.filled == kept
    assert torch.equal(oldest_first(other)[-kept:], oldest_first(queue)[-kept:])
    other.push(keys_of(9, 4), YES)
    assert torch.equal(oldest_first(other)[-4:], keys_of(9, 4))


def test_keys_of_another_width_are_left():
    queue, other = KeyQueue(8, 3), KeyQueue(8, 2)
    before = other.keys.clone()
    other.load_progress(queue.progress())
    assert torch.equal(other.keys, before) and other.pushed == 0
