"""An option that is given twice is refused before it loses a value."""

from __future__ import annotations

import importlib
import inspect
from typing import get_type_hints

import pytest
import tyro

from frl.cli import COMMANDS, main
from frl.cli.evaluate import EVALUATIONS
from frl.cli.repeated import REPEATABLE, require_once
from frl.errors import ConfigError
from writers.config import WriteConfig


@pytest.mark.parametrize(
    "line, cause",
    [
        ("--seed 1 --seed 2", r"--seed: is given 2 times \(1, 2\)"),
        ("--seed=1 a.beton --seed 2", r"\(1, 2\)"),
        ("--data a.beton --seed 1 --data b.beton c.beton", r"a\.beton, b\.beton c\.beton.*behind each other"),
        ("--optim.lr -1 --optim.lr -2", r"--optim\.lr"),
        ("--page-window 1 --page_window 2", "--page-window"),
        ("--baselines --no-baselines", r"--baselines: is given 2 times \(without a value, no\)"),
        ("--optim.nesterov --optim.no-nesterov", r"--optim\.nesterov"),
    ],
)
def test_another_value_is_refused(line: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        require_once(line.split())


@pytest.mark.parametrize(
    "line", ["", "a b", "--seed 1 --seed=1", "--deep x --size 2", "--set a=1 --set b=2", "--a -- x"]
)
def test_what_loses_nothing_is_taken(line: str) -> None:
    require_once(line.split())


def test_what_may_be_repeated_is_what_tyro_appends() -> None:
    modules = [importlib.import_module(command.module) for command in COMMANDS.values()]
    kinds = {kind for module in modules for name, kind in inspect.getmembers(module, inspect.isclass)
             if name.endswith("Config")} | {WriteConfig, *EVALUATIONS.values()}  # fmt: skip
    appended = set()
    for kind in kinds:
        hints = get_type_hints(kind, include_extras=True)
        appended |= {name for name, hint in hints.items() if tyro.conf.UseAppendAction in _notes(hint)}
    assert {f"--{name}" for name in appended} == set(REPEATABLE)


def _notes(hint: object) -> tuple[object, ...]:
    return getattr(hint, "__metadata__", ())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--seed", "1", "--seed", "2"]) == 1
    assert "--seed: is given 2 times (1, 2). Give it once" in capsys.readouterr().err
