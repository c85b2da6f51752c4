"""Each epoch has the crops of its stage, whole or resumed, and they are those of a run that knows no other size."""

from dataclasses import replace

import pytest
import torch

from frl.config import AugmentConfig, CropSpec, DataConfig, Stage
from frl.errors import ConfigError
from pipelines.loader import make_loader
from pipelines.stages import StagedLoader

STAGED = AugmentConfig(
    crops=(CropSpec(size=24, count=2, scale=(0.14, 1.0)), CropSpec(size=16, count=2, scale=(0.05, 0.14))),
    stages=(Stage(until_epoch=2, sizes=(20, 12)),),
)


@pytest.fixture
def open_loader(write_beton):
    path = write_beton([(48, 48)] * 20)

    def make(augment: AugmentConfig):
        data = DataConfig(data=(path,), engine="torch", workers=1)
        return make_loader(data, augment, batch_size=8, seed=3, device=torch.device("cpu"))

    return make


def views(batches) -> list[torch.Tensor]:
    return [view for batch in batches for view in batch.views]


def assert_same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> None:
    assert len(ones) == len(others) and all(map(torch.equal, ones, others))


def test_each_epoch_has_the_crops_of_its_stage(open_loader):
    loader = StagedLoader(STAGED, open_loader)
    assert (len(loader), loader.samples, loader.broken) == (2, 20, 0)
    for epoch, sizes in ((1, [20, 12]), (2, [24, 16]), (0, [20, 12])):
        batches = list(loader.epoch(epoch))
        assert [view.shape[-1] for view in batches[0].views] == sizes
        plain = open_loader(STAGED.of_epoch(epoch))
        alone, resumed = views(plain.epoch(epoch)), views(loader.epoch(epoch, start=1))
        plain.close()
        assert_same(views(batches), alone)
        assert_same(views(batches[1:]), resumed)
    loader.close()


def test_without_stages_there_is_one_loader(open_loader):
    loader = StagedLoader(replace(STAGED, stages=()), open_loader)
    assert list(loader.loaders.values()) == [loader.full]
    assert [view.shape[-1] for view in next(iter(loader.epoch(0))).views] == [24, 16]
    loader.close()


def test_a_size_that_cannot_work_is_refused_at_the_start(open_loader):
    impossible = replace(STAGED, stages=(Stage(until_epoch=2, sizes=(20, 4)),))
    with pytest.raises(ConfigError, match="4 pixels are too few"):
        StagedLoader(impossible, open_loader)
