"""A probe that ranks share gives what one process alone finds."""

import weakref

import pytest
import torch
from tests_support import run_ranks

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.evaluate.probe import KnnProbe
from frl.runtime.distributed import World


def batches(part: slice) -> list[Batch]:
    """Some of 30 noisy images of 5 people, in batches of up to four."""
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(5, 3, 8, 8, generator=generator)
    labels = torch.arange(30) % 5
    images = people[labels] + 5 * torch.randn(30, 3, 8, 8, generator=generator)
    images, labels = images[part], labels[part]
    return [
        Batch(views=[images[i : i + 4]], samples=labels[i : i + 4], targets={"identity": labels[i : i + 4]})
        for i in range(0, len(images), 4)
    ]


def probed(rank: int, size: int) -> float | None:
    place = World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))
    probe = KnnProbe(batches(slice(30 * rank // size, 30 * (rank + 1) // size)), AugmentConfig(), neighbours=3)
    probe.look(torch.nn.Flatten())
    probe.gather(place)
    vectors = weakref.ref(probe.features.vectors) if place.is_main else None
    found = probe.judge().scores["knn_top1"] if place.is_main else None
    assert not hasattr(probe, "features") and (vectors is None or vectors() is None), "the memory is the training's"
    return found


def test_two_ranks_find_what_one_finds():
    alone = probed(0, 1)
    assert 0.2 < alone < 1.0
    main, other = run_ranks(probed, 2)
    assert main == pytest.approx(alone) and other is None
