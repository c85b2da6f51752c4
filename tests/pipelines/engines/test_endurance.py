"""R8: 200 epochs, and 200 that are left in the middle, leave no thread, file or memory behind, in any engine."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec, DataConfig, EngineName
from pipelines.augment.plan import draw
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Engine, Request
from pipelines.loader import open_engine
from tests.pipelines.conftest import ENGINES

AUGMENT = AugmentConfig(crops=(CropSpec(size=24, count=2, scale=(0.14, 1)), CropSpec(size=16, count=1, scale=(0.1, 1))))
REQUESTS = [Request(samples=np.arange(i, i + 6), share=slice(0, 6)) for i in (0, 6, 12)]
WARM_UPS, EPOCHS = 20, 200
Epoch = Callable[[Engine, int], Iterator[DecodedBatch] | Iterator[CroppedBatch]]


def images(engine: Engine, epoch: int) -> Iterator[DecodedBatch]:
    return engine.images(REQUESTS)


def crops(engine: Engine, epoch: int) -> Iterator[CroppedBatch]:
    return engine.crops(REQUESTS, AUGMENT.crops, partial(draw, AUGMENT, 0, epoch))


class Held(NamedTuple):
    """What this process holds: threads, file descriptors, resident pages."""

    threads: int
    files: int
    pages: int


def held() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), pages)


@pytest.mark.parametrize(("epoch_of", "batches"), [(images, None), (crops, None), (crops, 1)])
@pytest.mark.parametrize("name", ENGINES)
def test_200_epochs_leave_nothing_behind(tiny_beton: Path, name: EngineName, epoch_of: Epoch, batches: int | None):
    engine = open_engine(Beton(tiny_beton), DataConfig(engine=name, workers=1), torch.device("cpu"))

    def epochs(numbers: range) -> Held:
        for number in numbers:
            epoch = epoch_of(engine, number)
            for _ in islice(epoch, batches):
                pass
            epoch.close()
        return held()

    before = epochs(range(WARM_UPS))
    after = epochs(range(WARM_UPS, WARM_UPS + EPOCHS))
    deadline = time.monotonic() + 200
    while (after.threads > before.threads or after.files > before.files) and time.monotonic() < deadline:
        time.sleep(0.1)  # the last epoch's threads may still be on their way out
        after = held()
    engine.close()
    assert after.threads <= before.threads and after.files <= before.files
    assert after.pages < 1.05 * before.pages
