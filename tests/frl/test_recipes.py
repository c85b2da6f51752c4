"""The recipes: the page says what the presets are, every command parses, and stages follow the epoch alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from frl import recipes
from frl.cli import main
from frl.config import AugmentConfig, ColourConfig, CropSpec, RunConfig, Stage, validate
from frl.config.override import with_options
from frl.errors import ConfigError
from frl.presets import PRESETS, Measured

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_is_the_presets():
    assert PAGE.read_text() == recipes.markdown(), "run: python -m frl.recipes > docs/recipes.md"


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_states_its_command_time_and_result(name):
    preset = PRESETS[name]
    validate(preset.config)
    assert f"pretrain {name} " in recipes.command(name) or f"pretrain_ffcv.sh {name} " in recipes.command(name)
    text = "\n".join(recipes._table(preset))
    assert ("| time | not yet measured |" in text) == (not preset.measured)


def test_a_measured_recipe_shows_its_figures_and_device():
    measured = Measured(data="faces", device="an abacus", time="3 h", result="k-NN 50 %")
    preset = replace(PRESETS["cpu"], measured=(measured,))
    text = "\n".join(recipes._table(preset))
    assert "3 h on an abacus" in text and "k-NN 50 %" in text and recipes.UNMEASURED not in text


def test_the_list_names_every_recipe(capsys):
    assert main(["pretrain", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and preset.summary in printed for name, preset in PRESETS.items())


STAGED = AugmentConfig(
    crops=(CropSpec(size=224, count=2, scale=(0.2, 1.0)), CropSpec(size=96, count=4, scale=(0.1, 0.2))),
    stages=(Stage(until_epoch=3, sizes=(64, 32)), Stage(until_epoch=5, sizes=(160, 64))),
)


@pytest.mark.parametrize(
    ("epoch", "sizes"), [(0, [64, 32]), (2, [64, 32]), (3, [160, 64]), (4, [160, 64]), (5, [224, 96])]
)
def test_a_stage_changes_the_sizes_alone(epoch, sizes):
    preset = STAGED.of_epoch(epoch)
    assert [spec.size for spec in preset.crops] == sizes and preset.stages == ()
    restored = tuple(replace(spec, size=full.size) for spec, full in zip(preset.crops, STAGED.crops, strict=True))
    assert replace(preset, crops=restored, stages=STAGED.stages) == STAGED


def test_without_stages_every_epoch_is_the_recipe():
    assert AugmentConfig().of_epoch(7) == AugmentConfig()


@pytest.mark.parametrize(
    "stages",
    [
        (Stage(until_epoch=5, sizes=(64, 32)), Stage(until_epoch=5, sizes=(64, 32))),
        (Stage(until_epoch=0, sizes=(64, 32)),),
        (Stage(until_epoch=5, sizes=(64,)),),
        (Stage(until_epoch=5, sizes=(64, 0)),),
    ],
)
def test_stages_that_cannot_be_are_refused(stages):
    with pytest.raises(ConfigError, match="stages"):
        validate(RunConfig(augment=replace(STAGED, stages=stages)))


def test_a_colour_of_its_own_is_told():
    spec = CropSpec(size=64, count=1, scale=(0.2, 1.0))
    soft = replace(spec, colour=ColourConfig(blur_p=1, blur_sigma=(0.5, 1.5)))
    bright = replace(spec, colour=ColourConfig(solarise_p=0.2))
    words = recipes.crops_in_words(AugmentConfig(crops=(soft, bright, spec)))
    assert words == "1 x 64 px (blur_p 1, blur_sigma 0.5 to 1.5) + 1 x 64 px (solarise_p 0.2) + 1 x 64 px"


def test_biases_and_norms_are_left_out_where_the_authors_leave_them_out():
    """By the code of Barlow Twins, VICReg (LARS) and DINO (SGD for ResNet-50)."""
    for name, optimiser in (("barlow", "lars"), ("vicreg", "lars"), ("dino", "sgd")):
        optim = PRESETS[name].config.optim
        assert optim.excludes_bias_and_norm and optim.optimiser == optimiser, name


@pytest.mark.parametrize("name", ["dino", "supervised"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_another_optimiser_is_not_refused_for_an_option_that_nobody_gave(name, optimiser):
    validate(with_options(PRESETS[name].config, {"optim.optimiser": optimiser}))
