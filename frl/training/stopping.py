"""A request to stop that reaches one rank, as a step after which all stop; no host waits for its device for it."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

from frl.runtime.termination import Termination
from frl.runtime.waiting import HostBarrier

STEPS = 1000  # between two agreements at most
ANSWER = timedelta(minutes=10)  # for rank 0 to come to the step at which the others are


class StopAgreement:
    """Finds the step after which all ranks stop. Every rank asks after every step, and all get the same answers.

    A single process hears of a request at once. Of several, rank 0 decides, at steps that it chooses so that about
    five seconds lie between them: it writes into the store whether anybody asked, and which step is the next; the
    others read it.

    Args:
        termination: of this process.
        barrier: of the run.
        step: the number of steps taken before the first one.
        seconds: between two agreements at most, but for a step that takes longer.
    """

    def __init__(self, termination: Termination, barrier: HostBarrier, step: int, seconds: float = 5.0) -> None:
        self.termination = termination
        self.barrier = barrier
        self.seconds = seconds
        self.next = step + 1
        self.asked = (step, time.monotonic())
        self.told = False

    def after(self, step: int) -> signal.Signals | None:
        """The signal that asked for it, if the run stops after ``step`` steps; else None."""
        store = self.barrier.store
        if store is None:
            return self.termination.signal
        if self.termination.signal is not None and not self.told:
            store.set("stop", str(int(self.termination.signal)))
            self.told = True
        if step < self.next:
            return None
        here = f"stop after {step}?"
        if self.barrier.world.is_main:
            asked = store.get("stop").decode() if store.check(["stop"]) else "0"
            store.set(here, f"{asked} {self._next_step(step)}")
        store.wait([here], ANSWER)
        asked, following = store.get(here).decode().split()
        self.next = int(following)
        return signal.Signals(int(asked)) if asked != "0" else None

    def _next_step(self, step: int) -> int:
        now, (before, then) = time.monotonic(), self.asked
        self.asked = (step, now)
        seconds_a_step = (now - then) / max(step - before, 1)
        return step + max(1, min(int(self.seconds / max(seconds_a_step, 1e-6)), STEPS))
