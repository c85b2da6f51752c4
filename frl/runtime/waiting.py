"""How the ranks of a run wait for each other, and agree, without a collective.

A collective has a time limit, because a rank that is gone never answers. Writing a checkpoint or probing the network
may take longer than any limit that is good for a step. So the hosts meet in the process group's store instead: a rank
that is at work gives signs of life, and the others wait for as long as they see some.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from frl.errors import TrainingError
from frl.runtime.distributed import World, agreed

LOOK = 0.02  # seconds between two looks at who has come


class HostBarrier:
    """A barrier for work of unknown length. Making one is a collective call, and so is each of ``meet``.

    Args:
        world: this process among the ranks.
        patience: seconds without a sign of life from any rank after which the wait ends with an error.
        beat: seconds between two signs of life.
    """

    def __init__(self, world: World, patience: float = 600.0, beat: float = 2.0) -> None:
        self.world = world
        self.patience = patience
        self.beat = beat
        self.meetings = 0
        self.store: dist.Store | None = None
        if world.size > 1:  # a name of its own, since the store may outlive a group whose ranks are started again
            name = agreed(uuid.uuid4().hex)
            self.store = dist.PrefixStore(name, dist.distributed_c10d._get_default_store())

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Give signs of life, on a thread, while the block runs."""
        store = self.store
        if store is None:
            yield
            return
        done = threading.Event()

        def live() -> None:
            while not done.wait(self.beat):
                store.add("life", 1)

        thread = threading.Thread(target=live, name="frl-signs-of-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def meet(self) -> None:
        """Wait until every rank has come here as often as this one.

        Raises:
            TrainingError: if one does not, and no rank gives a sign of life.
        """
        if self.store is None:
            return
        self.meetings += 1
        here = f"meeting {self.meetings}"
        signs = (self.store.add(here, 1), self.store.add("life", 0))
        deadline = time.monotonic() + self.patience
        while signs[0] < self.world.size:
            time.sleep(LOOK)
            seen = (self.store.add(here, 0), self.store.add("life", 0))
            if seen != signs:
                signs, deadline = seen, time.monotonic() + self.patience
            elif time.monotonic() > deadline:
                cause = f"{self.world.size - seen[0]} of {self.world.size} ranks did not come for {self.patience:g} s"
                raise TrainingError("the other ranks", cause, "Look for what stopped them in their logs, then resume.")
