"""The order in which batches are copied, handed over and given on; the streams themselves: tests/gpu/test_upload.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch

from frl.errors import LoaderError
from pipelines import upload
from pipelines.upload import AHEAD, CopyStream, on_device, uploaded

WAIT = 60  # seconds, for what happens at once


@dataclass(frozen=True)
class Released:
    """In the place of an event."""

    stream: Recorded
    number: int

    def synchronize(self) -> None:
        self.stream.note("wait for", self.number)


class Recorded:
    """In the place of a stream: notes what is asked of it, and of which batch; a copy is the tensor plus 100."""

    def __init__(self) -> None:
        self.begun = [threading.Event() for _ in range(10)]
        self.events: list[tuple[str, int, bool]] = []

    def copy(self, tensors: list[torch.Tensor]) -> tuple[list[torch.Tensor], int]:
        number = int(tensors[0])
        self.note("copy", number)
        self.begun[number].set()
        return [tensor + 100 for tensor in tensors], number

    def hand_over(self, copies: list[torch.Tensor], complete: int) -> None:
        assert int(copies[0]) == complete + 100
        self.note("hand over", complete)

    def let_go(self) -> Released:
        number = sum(what == "let go" for what, _, _ in self.events)
        self.note("let go", number)
        return Released(self, number)

    def note(self, what: str, number: int) -> None:
        self.events.append((what, number, threading.current_thread() is threading.main_thread()))


def tensors_of(batch: int) -> list[torch.Tensor]:
    return [torch.tensor(batch), torch.tensor(batch + 0.5)]


def test_the_next_copy_has_begun_while_a_batch_is_in_use() -> None:
    stream = Recorded()
    for batch, copies in uploaded(range(4), tensors_of, stream):  # type: ignore[type-var]
        stream.note("use", batch)
        assert [float(copy) for copy in copies] == [batch + 100, batch + 100.5]
        assert batch == 3 or stream.begun[batch + 1].wait(WAIT)
    here = [(what, number) for what, number, on_main in stream.events if on_main]
    assert here == [(what, number) for number in range(4) for what in ("hand over", "use", "let go")]
    assert {what for what, _, on_main in stream.events if not on_main} == {"copy", "wait for"}


def test_no_batch_is_copied_before_the_device_has_used_the_third_before_it() -> None:
    """The caller may be steps ahead of the device, and each such step would hold a batch of its own."""
    stream = Recorded()
    for _ in uploaded(range(9), tensors_of, stream):  # type: ignore[type-var]
        pass
    there = [(what, number) for what, number, on_main in stream.events if not on_main]
    expected = [("copy", number) for number in range(3)]
    for number in range(3, 9):
        expected += [("wait for", number - 3), ("copy", number)]
    assert there == expected


def test_few_batches_are_on_the_device_at_once() -> None:
    stream = Recorded()
    batches = uploaded(range(9), tensors_of, stream)  # type: ignore[type-var]
    next(batches)
    assert stream.begun[AHEAD + 1].wait(WAIT)  # one waits, one is copied and cannot be put
    assert not stream.begun[AHEAD + 2].wait(0.3)
    batches.close()


def test_an_error_comes_after_the_batches_before_it() -> None:
    def failing() -> Iterator[int]:
        yield from (0, 1)
        raise LoaderError("a.jpg", "does not decode", "Look at it.")

    found = []
    with pytest.raises(LoaderError, match=r"a\.jpg"):
        for batch, _ in uploaded(failing(), tensors_of, Recorded()):  # type: ignore[type-var]
            found.append(batch)  # noqa: PERF401 (an error is to come)
    assert found == [0, 1]


def test_the_thread_ends_with_the_consumer() -> None:
    before = set(threading.enumerate())
    batches = uploaded(iter(range(9)), tensors_of, Recorded())  # type: ignore[type-var]
    next(batches)
    (started,) = set(threading.enumerate()) - before
    batches.close()
    assert not started.is_alive()


def test_without_a_stream_nothing_is_copied_and_no_thread_started() -> None:
    before = set(threading.enumerate())
    for batch, tensors in uploaded(range(3), tensors_of, None):
        assert [float(tensor) for tensor in tensors] == [batch, batch + 0.5]
        assert set(threading.enumerate()) <= before


class OnDevice(torch.Tensor):
    """As a tensor on a GPU that an engine made: notes for which streams its memory is kept."""

    is_cuda = True  # type: ignore[assignment]

    def record_stream(self, stream: object) -> None:
        self.kept_for = stream


def test_what_an_engine_made_on_the_device_is_kept_until_the_caller_has_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the caller's")
    made = torch.zeros(2).as_subclass(OnDevice)
    assert on_device(made, torch.device("cuda", 0)) is made and made.kept_for == "the caller's"
    there = on_device(torch.ones(2), torch.device("cpu"))
    assert there.tolist() == [1, 1]


def test_a_copying_thread_works_on_the_stream_s_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new thread begins on the first GPU, which may be another rank's."""
    asked: list[object] = []

    class Stream:
        device = torch.device("cuda", 3)

        def __init__(self, device: torch.device) -> None: ...

        def record_event(self) -> str:
            return "complete"

    @contextmanager
    def current(stream: Stream) -> Iterator[None]:
        asked.append("stream")
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(upload, "page_locked", lambda tensor: tensor)
    stream = CopyStream(torch.device("cpu"))
    (copy,), complete = stream.copy([torch.ones(2)])
    assert copy.tolist() == [1, 1] and complete == "complete"  # type: ignore[comparison-overlap]
    assert asked == [torch.device("cuda", 3), "stream"]
