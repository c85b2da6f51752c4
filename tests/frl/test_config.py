"""A configuration survives JSON whole."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from frl.config import (
    AugmentConfig,
    ColourConfig,
    CropSpec,
    DataConfig,
    KnnConfig,
    RunConfig,
    as_dict,
    from_dict,
    too_late,
    validate,
)
from frl.config.changes import may_change
from frl.config.finetune import FinetuneConfig, WarpConfig
from frl.config.override import with_options
from frl.errors import ConfigError
from frl.network import require_preprocessing
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


STRONG = ColourConfig(blur_p=1, blur_sigma=(0.5, 1.5))
BRIGHT = ColourConfig(blur_p=0.1, solarise_p=0.2, solarise_threshold=100)


def views(*colours: ColourConfig | None, **changes) -> AugmentConfig:
    return AugmentConfig(
        crops=tuple(CropSpec(size=64, count=1, scale=(0.1, 1.0), colour=colour) for colour in colours), **changes
    )


class TestColour:
    def test_a_resolution_s_own_replaces_that_of_all(self):
        augment = views(STRONG, None, hue=0.1)
        assert augment.colour_of(augment.crops[0]) == STRONG
        assert augment.colour_of(augment.crops[1]).hue == 0.1

    def test_it_survives_json(self):
        config = RunConfig(augment=views(STRONG, None, BRIGHT))
        assert from_dict(RunConfig, json.loads(json.dumps(as_dict(config)))) == config

    def test_a_configuration_from_before_it_existed_is_the_default(self):
        old = as_dict(RunConfig())
        for name in ("solarise_p", "solarise_threshold"):
            del old["augment"][name]
        for spec in old["augment"]["crops"]:
            del spec["colour"]
        assert as_dict(from_dict(RunConfig, old)) == as_dict(RunConfig())

    def test_a_change_for_all_reaches_every_resolution(self):
        augment = views(STRONG, None, BRIGHT).with_colour(blur_p=0.7)
        assert [augment.colour_of(spec).blur_p for spec in augment.crops] == [0.7] * 3
        assert augment.colour_of(augment.crops[2]).solarise_p == 0.2
        bare = views(STRONG, None, BRIGHT).uncoloured
        for spec in bare.crops:
            colour = bare.colour_of(spec)
            assert colour.jitter_p == colour.grey_p == colour.blur_p == colour.solarise_p == 0

    @pytest.mark.parametrize(
        ("changes", "option"),
        [
            ({"blur_p": 1.5}, "blur_p"),
            ({"solarise_p": -0.1}, "solarise_p"),
            ({"solarise_threshold": 256}, "solarise_threshold"),
            ({"contrast": -1}, "contrast"),
            ({"hue": 0.6}, "hue"),
            ({"blur_sigma": (0, 1)}, "blur_sigma"),
        ],
    )
    def test_what_cannot_be_is_refused_by_the_name_of_its_option(self, changes, option):
        option = option.replace("_", "-")
        with pytest.raises(ConfigError, match=f"--augment.{option}"):
            validate(RunConfig(augment=replace(AugmentConfig(), **changes)))
        with pytest.raises(ConfigError, match=f"--augment.crops.1.colour.{option}"):
            validate(RunConfig(augment=views(None, ColourConfig(**changes))))

    def test_an_option_that_no_crop_takes_is_refused(self):
        validate(RunConfig(augment=views(STRONG, None, hue=0.1)))
        validate(RunConfig(augment=views(STRONG, BRIGHT)))
        with pytest.raises(ConfigError, match="--augment.hue.*no crop takes it.*--augment.crops.0.colour.hue"):
            validate(RunConfig(augment=views(STRONG, BRIGHT, hue=0.1)))

    def test_options_name_the_resolution_s_own_colour(self):
        default = RunConfig(augment=views(STRONG, None))
        arguments = ["--augment.crops.0.colour.solarise-p", "0.3", "--augment.hue", "0.1"]
        augment = tyro.cli(RunConfig, args=arguments, default=default).augment
        assert augment == views(replace(STRONG, solarise_p=0.3), None, hue=0.1)


@pytest.mark.parametrize("name", ["optim", "optim.weight_decay", "optim.weight-decay", "augment.crops", "data", "seed"])
def test_options_that_may_change_are_named_as_the_refusal_or_the_command_line_does(name):
    validate(RunConfig(allow_changes=(name,)))
    option = {"optim": "optim.lr", "data": "data.fingerprint"}.get(name, name.replace("-", "_"))
    assert may_change(option, (name,)) and not may_change("optim.warmup_epochs", ("optim.warmup", "optim.w"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("optim.weigth_decay", "optim.weight_decay"),
        ("optim.weight-decays", "optim.weight_decay"),
        ("augment.crops.0.count", "augment.crops"),
        ("order", "data.order"),
        ("modl", "Is model meant"),
    ],
)
def test_what_may_change_must_be_an_option(name, meant):
    with pytest.raises(ConfigError, match=rf"--allow-changes: '{name}' is no option.*{meant}"):
        validate(RunConfig(allow_changes=("optim.lr", name)))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"jitter_p": 2.0}, "--finetune.augment.jitter-p"),
        ({"flip_p": 2.0}, "--finetune.augment.flip-p"),
        ({"blur_sigma": (2.0, 1.0)}, "--finetune.augment.blur-sigma"),
        ({"brightness": -1.0}, "--finetune.augment.brightness"),
        ({"std": (1.0, 1.0, 0.0)}, "--finetune.augment.std"),
    ],
)
def test_a_section_within_another_is_refused_by_the_name_that_the_command_line_has(changes, option):
    with pytest.raises(ConfigError, match=f"^{option}: "):
        FinetuneConfig(augment=WarpConfig(**changes)).check()


def test_what_normalises_a_networks_images_is_refused_by_its_own_name():
    for mean, std, option in (((0.5, float("nan"), 0.5), None, "mean"), (None, (0.2, 0.0, 0.2), "std")):
        with pytest.raises(ConfigError, match=f"^--{option}: "):
            require_preprocessing(None, mean, std)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("vggface2", {"optim.epochs": 10}, "--optim.warmup-epochs: the run ends after epoch 10, and the learning rate"),
        ("fast", {"optim.epochs": 80}, "--augment.stages: the run ends after epoch 80, and crops of the full sizes"),
        ("small-batch", {"optim.epochs": 15}, "--objective.queue-from-epoch: .* the queue is never used"),
        (
            "small-batch",
            {"objective.queue_from_epoch": 400},
            "--objective.queue-from-epoch: .* the queue is never used",
        ),
        ("dino", {"objective.freeze_last_layer_epochs": 100}, "-last-layer-epochs: .* the last layer never learns"),
        (
            "dino",
            {"objective.warmup_teacher_temperature": 0.02, "objective.warmup_teacher_temperature_epochs": 101},
            "-temperature-epochs: .* never reaches its end",
        ),
        ("small-batch", {"optim.epochs": 1, "objective.queue_length": 0}, "-steps: .* the prototypes never learn"),
    ],
)
def test_what_would_happen_after_the_last_epoch_is_said(name, changes, said):
    (line,) = too_late(with_options(PRESETS[name].config, changes))
    assert re.search(said, line)


def test_no_preset_has_what_would_happen_after_its_last_epoch():
    assert not [line for entry in PRESETS.values() for line in too_late(entry.config)]
