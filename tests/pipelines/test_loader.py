"""Training batches are a pure function of (seed, epoch, step): of nothing else."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from frl.batch import Batch
from frl.beton import BetonWriter
from frl.config import AugmentConfig, ColourConfig, CropSpec, DataConfig
from frl.errors import BetonError, ConfigError, LoaderError
from pipelines.loader import MultiCropLoader, make_loader
from pipelines.whole_images import WholeImages
from tests.pipelines.conftest import ENGINES, TWO_VIEWS, picture

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=24, count=2, scale=(0.14, 1.0)), CropSpec(size=16, count=2, scale=(0.05, 0.14)))
)
CPU = torch.device("cpu")


@pytest.fixture
def loader_of(write_beton):
    """Open loaders over 26 pictures of two sizes; closed when the test ends."""
    path = write_beton([(48, 48), (40, 31)] * 13)
    opened = []

    def make(*, data: dict | None = None, **options) -> MultiCropLoader:
        config = DataConfig(**({"data": (path,), "engine": "threads", "workers": 1} | (data or {})))
        options = {"batch_size": 8, "seed": 3, "device": CPU} | options
        opened.append(make_loader(config, options.pop("augment", AUGMENT), **options))
        return opened[-1]

    yield make
    for loader in opened:
        loader.close()


def by_sample(batches: Iterator[Batch]) -> dict[int, list[bytes]]:
    """Every view of every sample, as bytes."""
    found = {}
    for batch in batches:
        n = len(batch.samples)
        for i, sample in enumerate(batch.samples.tolist()):
            found[sample] = [crop.numpy().tobytes() for view in batch.views for crop in view[i::n]]
    return found


@pytest.mark.parametrize("engine", ENGINES)
class TestEngines:
    def test_batches(self, loader_of, engine):
        loader = loader_of(data={"engine": engine})
        batches = list(loader.epoch(0))
        assert len(batches) == len(loader) == 3
        assert loader.samples == 26 and loader.broken == 0
        assert loader.dataset_fingerprint == loader.betons.fingerprint
        for batch in batches:
            assert [tuple(view.shape) for view in batch.views] == [(16, 3, 24, 24), (16, 3, 16, 16)]
            assert batch.samples.dtype == batch.labels.dtype == torch.int64
            assert batch.labels.tolist() == [sample % 3 for sample in batch.samples.tolist()]
        samples = torch.cat([batch.samples for batch in batches]).tolist()
        assert len(set(samples)) == 24

    @pytest.mark.filterwarnings("ignore:This DataLoader will create")
    def test_crops_depend_on_neither_batch_size_nor_workers(self, loader_of, write_beton, engine):
        path = write_beton([(48, 48), (40, 31)] * 32, name="64.beton")

        def crops(workers: int, batch_size: int) -> dict[int, list[bytes]]:
            data = {"data": (path,), "engine": engine, "workers": workers}
            return by_sample(loader_of(data=data, batch_size=batch_size).epoch(2))

        expected = crops(1, 8)
        assert len(expected) == 64
        assert crops(2, 64) == expected
        assert crops(4, 8) == expected

    @pytest.mark.parametrize("world", [2, 4])
    def test_ranks_share_the_steps_of_a_single_process(self, loader_of, engine, world):
        data = {"engine": engine}
        ranks = [loader_of(data=data, rank=rank, world=world).epoch(1) for rank in range(world)]
        for whole, *parts in zip(loader_of(data=data).epoch(1), *ranks, strict=True):
            assert torch.equal(torch.cat([part.samples for part in parts]), whole.samples)
            together = {}
            for part in parts:
                together |= by_sample(iter([part]))
            assert together == by_sample(iter([whole]))

    @pytest.mark.parametrize("start", [0, 1, 2, 3])
    def test_resuming_mid_epoch_gives_the_same_bits(self, loader_of, engine, start):
        whole = list(loader_of(data={"engine": engine}).epoch(5))[start:]
        resumed = list(loader_of(data={"engine": engine}).epoch(5, start))
        assert len(resumed) == 3 - start
        for a, b in zip(whole, resumed, strict=True):
            assert torch.equal(a.samples, b.samples)
            assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))

    def test_resolutions_of_one_size_are_views_of_their_own(self, loader_of, engine):
        """Two views differ in what is done to them; without it the second is as if it were the only one changed."""
        batch = next(loader_of(data={"engine": engine}, augment=TWO_VIEWS).epoch(0))
        assert [tuple(view.shape) for view in batch.views] == [(8, 3, 40, 40), (8, 3, 40, 40), (8, 3, 9, 9)]
        assert not torch.equal(batch.views[0], batch.views[1])
        first = dataclasses.replace(TWO_VIEWS.crops[0], colour=ColourConfig(jitter_p=0, grey_p=0, blur_p=0))
        other = dataclasses.replace(TWO_VIEWS, crops=(first, *TWO_VIEWS.crops[1:]))
        changed = next(loader_of(data={"engine": engine}, augment=other).epoch(0))
        equal = [torch.equal(a, b) for a, b in zip(batch.views, changed.views, strict=True)]
        assert equal == [False, True, True]

    def test_replaced_samples_are_counted(self, broken_beton, engine):
        data = DataConfig(data=(broken_beton,), engine=engine, workers=1, on_broken="replace")
        loader = make_loader(data, AUGMENT, batch_size=4, seed=0, device=CPU)
        for epoch in range(2):
            assert all(5 not in batch.samples for batch in loader.epoch(epoch))
        assert loader.broken == 2
        loader.close()


@pytest.mark.parametrize("augment", [AUGMENT, TWO_VIEWS], ids=["one colour", "two views"])
def test_engines_agree(loader_of, augment):
    """The same samples and crops, and pixels within the DCTs' difference, about one level on average."""
    plain = augment.with_colour(jitter_p=0)
    fast, accurate = (loader_of(data={"engine": name}, augment=plain).epoch(0) for name in ("threads", "torch"))
    for a, b in zip(fast, accurate, strict=True):
        assert torch.equal(a.samples, b.samples)
        for x, y in zip(a.views, b.views, strict=True):
            assert ((x - y).abs() * min(AUGMENT.std) * 255).mean() < 1.3


def test_seeds_and_epochs_differ(loader_of):
    first = next(loader_of().epoch(0))
    for other in (next(loader_of().epoch(1)), next(loader_of(seed=4).epoch(0))):
        assert not torch.equal(first.samples, other.samples)
        assert not torch.equal(first.views[0], other.views[0])


def test_views_have_the_wanted_type(loader_of):
    assert all(view.dtype == torch.bfloat16 for view in next(loader_of(dtype=torch.bfloat16).epoch(0)).views)


PAGED = {"order": "pages", "page_window": 2}


class TestManyPages:
    """Page order, and files mixed by weight, keep every promise that random order keeps."""

    @pytest.fixture
    def many_pages(self, tmp_path, as_jpeg) -> Path:
        """20 pictures, two to a page."""
        path = tmp_path / "many.beton"
        with BetonWriter(path, capacity=20, page_size=1 << 21) as writer:
            for i in range(20):
                encoded = as_jpeg(picture(48, 48, seed=100 + i))
                writer.append(encoded + bytes((1 << 20) - len(encoded)), 48, 48, i, f"{i}")
        return path

    @pytest.fixture(params=["one", "two", "weights"])
    def data(self, request, many_pages, write_beton) -> dict:
        other = write_beton([(40, 31)] * 12, name="other.beton")
        return {
            "one": {"data": (many_pages,), "order": "pages", "page_window": 3},
            "two": {"data": (many_pages, other), "order": "pages", "page_window": 2},
            "weights": {"data": (many_pages, other), "weights": (0.5, 1.0)},
        }[request.param] | {"engine": "threads"}

    @pytest.mark.parametrize("world", [2, 4])
    def test_ranks_share_the_steps_of_a_single_process(self, loader_of, data, world):
        ranks = [loader_of(data=data, batch_size=4, rank=rank, world=world).epoch(1) for rank in range(world)]
        steps = 0
        for whole, *parts in zip(loader_of(data=data, batch_size=4).epoch(1), *ranks, strict=True):
            assert torch.equal(torch.cat([part.samples for part in parts]), whole.samples)
            steps += 1
        assert steps == len(loader_of(data=data, batch_size=4))

    @pytest.mark.parametrize("start", [1, 3, 4])
    def test_resuming_mid_epoch_gives_the_same_bits(self, loader_of, data, start):
        whole = list(loader_of(data=data, batch_size=4).epoch(5))[start:]
        resumed = list(loader_of(data=data, batch_size=4).epoch(5, start))
        assert len(resumed) == len(whole)
        for a, b in zip(whole, resumed, strict=True):
            assert torch.equal(a.samples, b.samples)
            assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))

    def test_every_sample_once_an_epoch(self, loader_of, data):
        loader = loader_of(data=data, batch_size=4)
        samples = torch.cat([batch.samples for batch in loader.epoch(0)]).tolist()
        assert len(set(samples)) == len(samples) == len(loader.order) // 4 * 4

    def test_the_order_does_not_change_the_crops(self, loader_of, many_pages):
        files = {"data": (many_pages,), "engine": "threads"}
        random = by_sample(loader_of(data=files, batch_size=4).epoch(2))
        paged = by_sample(loader_of(data=files | PAGED, batch_size=4).epoch(2))
        assert random.keys() == paged.keys() and random == paged

    def test_another_file_does_not_change_the_crops(self, loader_of, many_pages, write_beton):
        alone = by_sample(loader_of(data={"data": (many_pages,), "engine": "threads"}, batch_size=4).epoch(2))
        both = (many_pages, write_beton([(40, 31)] * 12, name="other.beton"))
        together = by_sample(loader_of(data={"data": both, "engine": "threads"}, batch_size=4).epoch(2))
        assert len(together) == 32 and {sample: together[sample] for sample in alone} == alone

    def test_the_law_in_words(self, loader_of, many_pages, write_beton):
        both = (many_pages, write_beton([(40, 31)] * 12, name="other.beton"))
        assert loader_of(data={"data": (many_pages,)}).sampling == "random"
        assert loader_of(data={"data": (many_pages,)} | PAGED).sampling == "pages, 2 to a window"
        weighted = loader_of(data={"data": both, "weights": (1.0, 1.0)})
        assert weighted.sampling == "random, an epoch of 12 of 20 + 12 of 12"

    def test_files_larger_than_memory_are_read_in_page_order(self, loader_of, monkeypatch):
        monkeypatch.setattr("pipelines.sampling.readahead.memory_bytes", lambda: 1 << 20)
        assert loader_of().sampling == "pages, 64 to a window"
        assert loader_of(data={"order": "random"}).sampling == "random"


def test_labels_are_counted_from_0_whatever_numbers_the_files_use(loader_of, as_jpeg, tmp_path):
    paths = []
    for name, labels in (("one", [7, 7, 1000, -1]), ("two", [5, -1, 5, 8])):
        paths.append(tmp_path / f"{name}.beton")
        with BetonWriter(paths[-1], capacity=4) as writer:
            for index, label in enumerate(labels):
                writer.append(as_jpeg(picture(40, 40, seed=index)), 40, 40, label, f"{index}{name}.jpg")
    loader = loader_of(data={"data": tuple(paths)}, batch_size=4)
    assert loader.identities == 4
    found = {}
    for batch in loader.epoch(0):
        found |= dict(zip(batch.samples.tolist(), batch.labels.tolist(), strict=True))
    assert [found[sample] for sample in range(8)] == [0, 0, 1, -1, 2, -1, 2, 3]


class TestBadInput:
    def test_more_images_a_step_than_there_are(self, loader_of):
        with pytest.raises(ConfigError, match="--optim.batch-size.* 27 .*26.*Use at most 26"):
            loader_of(batch_size=27)

    def test_a_step_that_ranks_cannot_share(self, loader_of):
        with pytest.raises(ConfigError, match="8 images cannot be shared equally by 3 processes. Use a multiple of 3"):
            loader_of(world=3)

    def test_weights_that_do_not_fit_the_files(self, loader_of):
        with pytest.raises(ConfigError, match="--weights: 2 weights for 1 files"):
            loader_of(data={"weights": (1.0, 2.0)})

    @pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
    def test_weights_that_are_none(self, loader_of, weight):
        with pytest.raises(ConfigError, match="--weights: .* not all above 0"):
            loader_of(data={"weights": (weight,)})

    def test_a_weight_of_next_to_nothing(self, loader_of, write_beton):
        two = (write_beton([(40, 40)] * 9, name="b.beton"), write_beton([(48, 48)] * 5, name="c.beton"))
        with pytest.raises(ConfigError, match="--weights: no epoch would hold a sample of .*c.beton"):
            loader_of(data={"data": two, "weights": (1000.0, 1.0)})

    def test_a_missing_file(self, loader_of, tmp_path):
        with pytest.raises(BetonError, match="nowhere.beton"):
            loader_of(data={"data": (tmp_path / "nowhere.beton",)})


class TestWholeImages:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_every_image_in_file_order(self, write_beton, engine):
        path = write_beton([(48, 48), (40, 31)] * 5)
        whole = WholeImages(path, size=20, batch_size=4, device=CPU, augment=AUGMENT, engine=engine)
        assert len(whole) == 3
        batches = list(whole)
        assert [len(batch.samples) for batch in batches] == [4, 4, 2]
        assert torch.cat([batch.samples for batch in batches]).tolist() == list(range(10))
        assert torch.cat([batch.labels for batch in batches]).tolist() == [i % 3 for i in range(10)]
        assert all(len(batch.views) == 1 for batch in batches)
        again = list(whole)
        assert torch.equal(again[2].views[0], batches[2].views[0])
        whole.close()

    def test_pixels_are_the_resized_image(self, write_beton):
        path = write_beton([(48, 48), (40, 31)])
        whole = WholeImages(path, size=20, batch_size=4, device=CPU, augment=AUGMENT, engine="torch")
        view = next(iter(whole)).views[0]
        for sample, ours in enumerate(view):
            jpeg = path.with_suffix(".jpg")
            jpeg.write_bytes(whole.beton.encoded(sample).tobytes())
            expected = TF.normalize(TF.to_tensor(TF.resize(Image.open(jpeg), [20, 20])), AUGMENT.mean, AUGMENT.std)
            assert ((ours - expected).abs() * min(AUGMENT.std) * 255).max() < 1.1

    def test_limit(self, tiny_beton):
        whole = WholeImages(tiny_beton, size=20, batch_size=4, device=CPU, augment=AUGMENT, limit=6, engine="torch")
        assert len(whole) == 2
        assert torch.cat([batch.samples for batch in whole]).tolist() == list(range(6))
        assert np.isfinite(next(iter(whole)).views[0].numpy()).all()

    @pytest.mark.parametrize("engine", ENGINES)
    def test_strings_and_the_engines_options(self, tiny_beton, engine):
        whole = WholeImages(
            str(tiny_beton), size=20, batch_size=4, device="cpu", augment=AUGMENT, limit=6, engine=engine, workers=1
        )
        assert whole.labels.tolist() == [0, 1, 2, 0, 1, 2]
        assert next(iter(whole)).views[0].shape == (4, 3, 20, 20)
        whole.close()

    def test_a_broken_image_is_left_out_where_replacing_was_chosen(self, write_beton):
        path = write_beton([(48, 48)] * 5, {1: bytes(900)})
        options = {"size": 20, "batch_size": 5, "device": "cpu", "augment": AUGMENT, "engine": "torch"}
        (batch,) = WholeImages(path, **options, on_broken="replace")
        assert batch.samples.tolist() == [0, 2, 3, 4]
        assert batch.labels.tolist() == [0, 2, 0, 1] and batch.views[0].shape == (4, 3, 20, 20)
        with pytest.raises(LoaderError, match="face_001"):
            list(WholeImages(path, **options))


def test_a_loader_of_strings(tiny_beton):
    loader = make_loader(
        DataConfig(data=str(tiny_beton), engine="torch", workers=1), AUGMENT, batch_size=4, seed=0, device="cpu"
    )
    assert len(next(loader.epoch(0)).samples) == 4
    loader.close()
