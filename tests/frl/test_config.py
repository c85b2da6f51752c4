"""A configuration survives JSON whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from frl.config import DataConfig, KnnConfig, RunConfig, as_dict, from_dict
from frl.errors import ConfigError
from frl.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_equal(name):
    config = replace(
        PRESETS[name].config,
        data=DataConfig(data=(Path("a"), Path("b")), weights=(1.0, 2.0)),
        knn=KnnConfig(data=Path("c")),
    )
    assert from_dict(RunConfig, json.loads(json.dumps(as_dict(config)))) == config


def test_options_of_later_versions_are_named_and_missing_ones_default():
    assert from_dict(RunConfig, {"seed": 3}) == RunConfig(seed=3)
    with pytest.raises(ConfigError, match="sead"):
        from_dict(RunConfig, {"sead": 3})
