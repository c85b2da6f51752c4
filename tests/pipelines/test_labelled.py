"""Labelled training batches: a pure function of (seed, step), wherever the images are kept and whoever shares them."""

import dataclasses
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch

from frl.config import AugmentConfig
from frl.config.finetune import WarpConfig
from frl.errors import ConfigError, LoaderError
from pipelines import labelled, whole_images
from pipelines.labelled import LabelledFaces
from pipelines.whole_images import WholeImages
from tests.labelled_faces import write_faces

SIZE = 32
CONFIG = WarpConfig()
STILL = WarpConfig(rotation=0, scale=0, shift=0, flip_p=0, erase_p=0, jitter_p=0, grey_p=0)
EVERY = np.arange(12)


@pytest.fixture(scope="module")
def beton(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("faces") / "faces.beton", identities=6)


@pytest.fixture
def opened(beton):
    faces = []

    def opener(samples=None, augment=CONFIG, keep_decoded="auto"):
        faces.append(
            LabelledFaces((beton,), samples, size=SIZE, augment=augment, device="cpu", keep_decoded=keep_decoded)
        )
        return faces[-1]

    yield opener
    for one in faces:
        one.close()


def taken(loader, start, stop):
    return list(loader.batches(start, stop))


def assert_equal(ours, theirs):
    assert torch.equal(ours.samples, theirs.samples)
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.targets["landmarks"].nan_to_num(-1), theirs.targets["landmarks"].nan_to_num(-1))


def test_a_step_is_the_same_from_memory_and_from_the_file(opened):
    kept, streamed = (
        opened(keep_decoded=keep).training(EVERY, ("landmarks",), batch_size=5, seed=1) for keep in ("on", "off")
    )
    for ours, theirs in zip(taken(kept, 0, 4), taken(streamed, 0, 4), strict=True):
        assert_equal(ours, theirs)


def test_a_step_does_not_depend_on_where_one_begins(opened):
    loader = opened().training(EVERY, ("landmarks",), batch_size=5, seed=1)
    for ours, theirs in zip(taken(loader, 0, 6)[3:], taken(loader, 3, 6), strict=True):
        assert_equal(ours, theirs)


def test_ranks_share_a_step(opened):
    alone = taken(opened().training(EVERY, ("landmarks",), batch_size=6, seed=1), 0, 3)
    ranks = [
        taken(opened().training(EVERY, ("landmarks",), batch_size=6, seed=1, rank=rank, world=2), 0, 3)
        for rank in range(2)
    ]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.images, torch.cat([first.images, second.images]))
        assert torch.equal(whole.samples, torch.cat([first.samples, second.samples]))


def test_passes_follow_each_other_without_a_gap(opened):
    loader = opened().training(np.array([1, 4, 7, 9, 10]), ("landmarks",), batch_size=3, seed=2)
    samples = torch.cat([batch.samples for batch in taken(loader, 0, 5)]).tolist()
    turns = [samples[first : first + 5] for first in range(0, 15, 5)]
    assert all(sorted(turn) == [1, 4, 7, 9, 10] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_a_batch_larger_than_the_labelled_images_shows_them_in_several_ways(opened):
    loader = opened().training(np.array([3, 5]), ("landmarks",), batch_size=8, seed=2)
    (batch,) = taken(loader, 0, 1)
    assert Counter(batch.samples.tolist()) == {3: 4, 5: 4}
    assert len({image.sum().item() for image in batch.images}) == 8


def test_without_augmentation_it_is_the_image_that_is_judged(opened, beton):
    faces = opened(augment=STILL)
    (batch,) = taken(faces.training(EVERY, ("landmarks",), batch_size=12, seed=0), 0, 1)
    (whole,) = faces.whole(EVERY, batch_size=12)
    reference = WholeImages(beton, size=SIZE, batch_size=12, device="cpu", augment=STILL.whole(SIZE))
    (expected,) = reference
    reference.close()
    assert torch.equal(whole.views[0], expected.views[0])
    order = batch.samples.argsort()
    torch.testing.assert_close(batch.images[order], whole.views[0], atol=1e-3, rtol=0)
    stored = faces.targets(EVERY, ["landmarks"])["landmarks"]
    expected_points = (stored + 0.5) * SIZE / 48 - 0.5
    torch.testing.assert_close(batch.targets["landmarks"][order], expected_points, equal_nan=True, atol=1e-3, rtol=0)
    assert batch.sides.unique().tolist() == [SIZE]


def test_parts_of_whole_images_follow_each_other(opened):
    faces, wanted = opened(), np.array([2, 3, 5, 8, 11])
    parts = [
        [sample for batch in faces.whole(wanted, batch_size=2, part=(i, 2)) for sample in batch.samples.tolist()]
        for i in range(2)
    ]
    assert parts == [[2, 3], [5, 8, 11]]


def test_the_fingerprint_tells_data_and_samples_apart(opened):
    faces = opened()
    first = faces.training(EVERY, ("landmarks",), batch_size=4, seed=0)
    same = faces.training(EVERY, ("landmarks",), batch_size=4, seed=0)
    fewer = faces.training(EVERY[1:], ("landmarks",), batch_size=4, seed=0)
    assert first.fingerprint == same.fingerprint != fewer.fingerprint


def test_what_cannot_work_is_refused(opened):
    faces = opened()
    with pytest.raises(ConfigError, match=r"no target 'mood' \(targets: landmarks, affect\)"):
        faces.training(EVERY, ("mood",), batch_size=4, seed=0)
    with pytest.raises(ConfigError, match="cannot be shared equally by 3 processes"):
        faces.training(EVERY, ("landmarks",), batch_size=4, seed=0, world=3)
    with pytest.raises(ConfigError, match="no sample is left"):
        faces.training(EVERY[:0], ("landmarks",), batch_size=4, seed=0)


def test_a_broken_image_is_named(broken_beton):
    with pytest.raises(LoaderError, match="sample 5"):
        LabelledFaces((broken_beton,), size=SIZE, augment=CONFIG, device="cpu", keep_decoded="on")
    spared = LabelledFaces((broken_beton,), np.arange(5), size=SIZE, augment=CONFIG, device="cpu", keep_decoded="on")
    spared.close()


def test_the_augmentation_is_used(opened):
    loader = opened(augment=dataclasses.replace(STILL, flip_p=1)).training(EVERY, ("landmarks",), batch_size=12, seed=0)
    (batch,) = taken(loader, 0, 1)
    (whole,) = opened(augment=STILL).whole(batch.samples.numpy(), batch_size=12)
    torch.testing.assert_close(batch.images, whole.views[0].flip(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("keep_decoded", ["off", "on"])
def test_what_engines_make_is_kept_until_it_is_read(beton, opened, monkeypatch, keep_decoded):
    """An engine's own memory on a device may be written again as soon as its tensors are gone."""
    seen = []

    def noted(tensor, device):
        seen.append(len(tensor))
        return tensor.to(device)

    for module in (labelled, whole_images):
        monkeypatch.setattr(module, "on_device", noted)
    shown = sum(len(batch.views[0]) for batch in opened(EVERY, keep_decoded=keep_decoded).whole(EVERY, batch_size=4))
    assert sum(seen) == shown == len(EVERY)
    seen.clear()
    with closing(WholeImages(beton, size=SIZE, batch_size=4, augment=AugmentConfig(), device="cpu")) as images:
        shown = sum(len(batch.views[0]) for batch in images)
    assert sum(seen) == shown == len(EVERY)
