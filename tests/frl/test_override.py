"""Options by name: from JSON, from YAML, from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frl.config import RunConfig, SimCLRConfig, as_dict
from frl.config.override import made, with_options
from frl.errors import ConfigError
from frl.presets import PRESETS, preset
from writers.config import WriteConfig


@pytest.mark.parametrize("name", PRESETS)
def test_a_saved_configuration_comes_back_over_any_other(name):
    saved = json.loads(json.dumps(as_dict(PRESETS[name].config)))
    assert with_options(RunConfig(), saved) == PRESETS[name].config


def test_a_section_is_a_mapping_or_a_name_with_a_dot():
    config = preset("cpu").config
    nested = with_options(config, {"optim": {"lr": 0.5, "epochs": 3}, "data": "a.beton"})
    dotted = with_options(config, {"optim.lr": 0.5, "optim.epochs": 3, "data": ["a.beton"]})
    assert nested == dotted
    assert (nested.optim.lr, nested.optim.epochs, nested.data.data) == (0.5, 3, (Path("a.beton"),))
    assert nested.optim.batch_size == config.optim.batch_size  # what is not named stays


def test_what_has_no_section_on_the_command_line_has_none_here():
    config = with_options(RunConfig(), {"engine": "torch", "augment-on": "cpu", "augment": {"flip_p": 0.1}})
    assert (config.data.engine, config.data.augment_on, config.augment.flip_p) == ("torch", "cpu", 0.1)
    written = made(WriteConfig, {"sources": "faces", "out": "x.beton", "detect": "dlib", "dedupe": "near"})
    assert (written.sources, written.detect.detect, written.curate.dedupe) == (("faces",), "dlib", "near")


def test_an_objective_by_name_and_options_of_the_one_there():
    named = with_options(RunConfig(), {"objective": "simclr"})
    assert named.objective == SimCLRConfig()
    changed = with_options(named, {"objective.temperature": 0.2})
    assert changed.objective == SimCLRConfig(temperature=0.2)
    both = with_options(RunConfig(), {"objective": {"name": "simclr", "temperature": 0.2}})
    assert both == changed


def test_what_yaml_reads_otherwise():
    """YAML 1.1 takes off for False and 1e-3, which has no point, for a text."""
    config = with_options(RunConfig(), {"compile": False, "optim": {"lr": "1e-3"}, "max_steps": 5.0})
    assert (config.compile, config.optim.lr, config.max_steps) == ("off", 0.001, 5)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"optm": {"lr": 1}}, "optm: is no option"),
        ({"optim": {"lrr": 1}}, r"optim\.lrr: is no option"),
        ({"optim.lrr": 1}, r"optim\.lrr: is no option"),
        ({"lr": 1}, r"lr: is no option. Is optim\.lr meant"),
        ({"optim": {"lr": "fast"}}, r"optim\.lr: 'fast' is not a number"),
        ({"optim": 3}, "optim: 3 is not a section"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"seed": True}, "seed: True is not a whole number"),
        ({"resume": "yes"}, "resume: 'yes' is not true or false"),
        ({"precision": "fp8"}, "precision: 'fp8' is not one of auto, bf16, fp32"),
        ({"data": 3}, "data: 3 is not a path"),
        ({"objective": "simclrr"}, "objective: there is no objective 'simclrr'"),
        ({"objective.margin": 1}, r"objective\.margin: is no option"),
        ({"augment": {"mean": [1, 2]}}, r"augment\.mean: \[1, 2\] is not 3 values"),
        ({"augment": {"crops": [{"size": 32}]}}, "count: is not given"),
    ],
)
def test_what_is_no_option_or_no_value_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        with_options(RunConfig(), options)


def test_what_has_no_default_is_asked_for():
    with pytest.raises(ConfigError, match="out: is not given"):
        made(WriteConfig, {"sources": "faces"})
