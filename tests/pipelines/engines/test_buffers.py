"""Memory of batches: used again when nobody holds it, never before."""

from __future__ import annotations

import torch

from pipelines.engines.buffers import Buffers


def test_memory_comes_back_when_the_last_view_is_gone() -> None:
    buffers = Buffers(pin=False)
    first = buffers.take(100)
    where, view = first.data_ptr(), first.view(10, 10)[3:]
    del first
    assert buffers.take(100).data_ptr() != where, "a view holds it"
    array = view.numpy()
    del view
    assert buffers.take(100).data_ptr() != where, "an array on the view holds it"
    del array
    found = [buffers.take(100) for _ in range(2)]
    assert where in [tensor.data_ptr() for tensor in found]


def test_what_is_held_is_not_overwritten() -> None:
    buffers = Buffers(pin=False)
    held = []
    for value in range(20):
        lent = buffers.take(1000)
        lent.fill_(value)
        if value % 3 == 0:
            held.append((value, lent[500:]))
        del lent
    assert all((tensor == value).all() for value, tensor in held)
    assert len(buffers.idle) == 1, "one buffer served all that were not held"


def test_memory_of_another_size_is_let_go() -> None:
    buffers = Buffers(pin=False)
    old = buffers.take(100)
    buffers.take(200)
    assert len(buffers.idle) == 1 and buffers.idle[0].size == 200
    del old
    assert [memory.size for memory in buffers.idle] == [200]


def test_a_tensor_is_plain_memory() -> None:
    lent = Buffers(pin=False).take(12)
    assert lent.dtype == torch.uint8 and lent.shape == (12,) and lent.is_contiguous()


class TakenMeanwhile(list):
    """Memory that another thread takes between a look at whether there is some and the grasp."""

    def __bool__(self) -> bool:
        there = len(self) > 0
        self.clear()
        return there


def test_two_threads_that_want_the_last_idle_memory_both_get_some():
    buffers = Buffers(pin=False)
    buffers.take(12)  # and back at once
    assert len(buffers.idle) == 1
    buffers.idle = TakenMeanwhile(buffers.idle)
    assert len(buffers.take(12)) == 12
