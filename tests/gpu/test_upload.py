"""Copies beside the computation: they do not wait for it, it waits for them, and no memory is written too early."""

import pytest
import torch

from pipelines.page_locked import page_locked
from pipelines.upload import CopyStream, uploaded

CYCLES = 200_000_000  # of a GPU: about a tenth of a second

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def test_a_copy_does_not_wait_for_what_computes(gpu):
    busy, stream = torch.cuda.Event(), CopyStream(gpu)
    source = torch.arange(1 << 20).pin_memory()
    torch.cuda._sleep(CYCLES)
    busy.record()
    (copy,), complete = stream.copy([source])
    complete.synchronize()
    assert not busy.query(), "the copy waited for the computation"
    stream.hand_over([copy], complete)
    assert torch.equal(copy.cpu(), source)


def test_what_computes_waits_for_its_copy(gpu):
    stream, source = CopyStream(gpu), torch.arange(1 << 20).pin_memory()
    with torch.cuda.stream(stream.stream):
        torch.cuda._sleep(CYCLES)
    (copy,), complete = stream.copy([source])
    stream.hand_over([copy], complete)
    assert int(copy.sum()) == int(source.sum())


def test_no_batch_is_overwritten_while_it_is_read(gpu):
    """The consumer lets go of each batch long before the GPU has read it."""
    sums = []
    batches = (torch.full((1 << 22,), number).pin_memory() for number in range(20))
    for number, (tensor,) in uploaded(enumerate(batches), lambda batch: [batch[1]], CopyStream(gpu)):
        torch.cuda._sleep(CYCLES // 10)
        sums.append((number[0], tensor.sum()))
        del tensor
    assert all(int(found) == number << 22 for number, found in sums)


def test_memory_that_is_not_page_locked_arrives_as_well(gpu):
    stream = CopyStream(gpu)
    there = torch.ones(3, device=gpu)
    (copy, same), complete = stream.copy([torch.arange(5), there])
    stream.hand_over([copy, same], complete)
    assert copy.tolist() == [0, 1, 2, 3, 4] and same is there


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32, torch.float64])
def test_page_locked_copies_are_equal(gpu, dtype):
    """Of more elements than torch would copy on one thread, and of a part of a tensor, too."""
    whole = torch.arange(1 << 17).reshape(-1, 4).to(dtype)
    for tensor in (whole, whole[:, 1:3], torch.tensor(1, dtype=dtype)):
        locked = page_locked(tensor)
        assert locked.is_pinned() and locked.dtype == dtype and torch.equal(locked, tensor)
        assert page_locked(locked) is locked
