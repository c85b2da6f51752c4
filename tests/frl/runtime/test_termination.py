"""Requests to stop, by real signals: the first counts, a machine's repeats do not, a person who insists ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from frl.runtime import termination
from frl.runtime.termination import Meaning, Termination, termination_requests

WAITS = """
import sys, time
from frl.runtime.termination import termination_requests
with termination_requests() as termination:
    print("ready", flush=True)
    while not termination.requested:
        time.sleep(0.01)
    print(termination.signal.name, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
def test_the_first_signal_is_a_request_and_is_remembered(number: Signals) -> None:
    before = [signal.getsignal(each) for each in (SIGINT, SIGTERM, SIGHUP)]
    with termination_requests() as requests:
        assert not requests.requested and requests.signal is None
        signal.raise_signal(number)
        assert requests.requested and requests.signal is number
        signal.raise_signal(number)  # the same, from torchrun
        signal.raise_signal(SIGTERM)
        assert requests.signal is number
    assert [signal.getsignal(each) for each in (SIGINT, SIGTERM, SIGHUP)] == before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(termination.time, "monotonic", lambda: now[0])
    yield now


@pytest.mark.parametrize(
    ("first", "then", "after_s", "meaning"),
    [
        (SIGTERM, SIGTERM, 4.9, Meaning.REPEAT),
        (SIGTERM, SIGTERM, 5.1, Meaning.INSISTENCE),
        (SIGINT, SIGINT, 0.9, Meaning.REPEAT),
        (SIGINT, SIGINT, 1.1, Meaning.INSISTENCE),
        (SIGTERM, SIGINT, 1.1, Meaning.INSISTENCE),
        (SIGINT, SIGTERM, 4.9, Meaning.REPEAT),
        (SIGHUP, SIGTERM, 4.9, Meaning.REPEAT),
    ],
)
def test_what_comes_again_at_once_is_the_same_request(clock, first, then, after_s, meaning) -> None:
    requests = Termination()
    assert requests.receive(first) is Meaning.REQUEST
    clock[0] += after_s
    assert requests.receive(then) is meaning and requests.signal is first


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None and started.stdout.readline() == "ready\n"
        yield started
        started.kill()


def test_a_second_ctrl_c_ends_the_process_at_once(process: subprocess.Popen) -> None:
    process.send_signal(SIGINT)
    assert process.stdout is not None and process.stdout.readline() == "SIGINT\n"
    time.sleep(1.2)
    process.send_signal(SIGINT)
    assert process.wait(300) == -SIGINT


def test_a_later_sigterm_ends_the_process_at_once(process: subprocess.Popen) -> None:
    process.send_signal(SIGTERM)
    assert process.stdout is not None and process.stdout.readline() == "SIGTERM\n"
    time.sleep(5.2)
    process.send_signal(SIGTERM)
    assert process.wait(300) == -SIGTERM


def test_what_nohup_ignores_stays_ignored() -> None:
    with subprocess.Popen(["nohup", sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(SIGHUP)
        process.send_signal(SIGTERM)
        assert process.stdout.readline() == "SIGTERM\n"
        process.kill()


def test_a_forked_process_ends_as_usual() -> None:
    """It inherits the handler, but not the duty to save."""
    with termination_requests() as requests:
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writer, b".")
            time.sleep(30)
            os._exit(0)
        os.read(reader, 1)  # Python forgets a signal that comes while it forks
        os.kill(child, SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -SIGTERM
        assert not requests.requested


def test_outside_the_main_thread_nobody_asks() -> None:
    found: list[bool] = []

    def enter() -> None:
        with termination_requests() as requests:
            found.append(requests.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
