"""The recipes: the page says what the presets are, and states what it needs and gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from frl import recipes
from frl.cli import main
from frl.config import validate
from frl.presets import PRESETS, Measured

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_is_the_presets():
    assert PAGE.read_text() == recipes.markdown(), "run: python -m frl.recipes > docs/recipes.md"


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_states_its_command_time_and_result(name):
    recipe = PRESETS[name]
    validate(recipe.config)
    assert f"pretrain {name} " in recipes.command(name) or f"pretrain_ffcv.sh {name} " in recipes.command(name)
    text = "\n".join(recipes._table(recipe))
    assert ("| time | not yet measured |" in text) == (not recipe.measured)


def test_a_measured_recipe_shows_its_figures_and_device():
    measured = Measured(data="faces", device="an abacus", time="3 h", result="k-NN 50 %")
    recipe = replace(PRESETS["cpu"], measured=(measured,))
    text = "\n".join(recipes._table(recipe))
    assert "3 h on an abacus" in text and "k-NN 50 %" in text and recipes.UNMEASURED not in text


def test_the_list_names_every_recipe(capsys):
    assert main(["pretrain", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and recipe.summary in printed for name, recipe in PRESETS.items())
