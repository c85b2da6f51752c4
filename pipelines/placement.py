"""Where the crops are made: while loading, on the processor, or on the training device. Measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, cast

import torch

from frl.runtime.distributed import agreed

Place = Literal["cpu", "gpu"]
WARM_UP = 2  # batches: kernels compile, queues fill
MEASURED = 6  # batches


@dataclass(frozen=True)
class Placement:
    """Where the crops are made, and why.

    Attributes:
        place: cpu: by the engine, while it loads. gpu: on the training device, from whole images.
        reason: in words.
        rates: images/s of each way on this rank, if they were measured.
    """

    place: Place
    reason: str
    rates: Mapping[Place, float] = field(default_factory=dict)

    def __str__(self) -> str:
        where = "on the CPU, while loading" if self.place == "cpu" else "on the training device"
        return f"crops are made {where}: {self.reason}"

    @property
    def metrics(self) -> dict[str, float]:
        """The rates, for the log."""
        return {f"augment_{place}_images_per_s": rate for place, rate in self.rates.items()}


def decide(
    wanted: Literal["auto", "cpu", "gpu"],
    device: torch.device,
    ways: Mapping[Place, Callable[[], Iterator[Any]]],
    images: int,
) -> Placement:
    """Obey, or measure both ways and take the faster one; the ranks measure together and follow rank 0.

    Args:
        wanted: the option.
        device: the training device; without a GPU there is nothing to choose.
        ways: each makes batches of an epoch; what they make is thrown away.
        images: in a batch.
    """
    if wanted != "auto":
        return Placement(wanted, "as asked for")
    if device.type == "cpu":
        return Placement("cpu", "there is no GPU")
    rates = agreed({place: measure(start, images, device) for place, start in ways.items()})
    return faster(rates)


def faster(rates: Mapping[Place, float]) -> Placement:
    """The way of the higher rate; on a tie the CPU, which leaves the GPU to training."""
    place = max(("cpu", "gpu"), key=lambda name: rates[cast(Place, name)])
    figures = ", ".join(f"{rate:,.0f} images/s on the {name.upper()}" for name, rate in rates.items())
    return Placement(cast(Place, place), f"measured {figures}", rates)


def measure(start: Callable[[], Iterator[Any]], images: int, device: torch.device) -> float:
    """Images a second of a few batches, after a few that do not count; short epochs are begun anew."""

    def endless() -> Generator[Any, None, None]:
        while True:
            yield from start()

    with closing(endless()) as batches:
        for _ in islice(batches, WARM_UP):
            pass
        wait_for(device)
        began = time.perf_counter()
        for _ in islice(batches, MEASURED):
            pass
        wait_for(device)
        return MEASURED * images / (time.perf_counter() - began)


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
