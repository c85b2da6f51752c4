"""Help in two lengths, completion, and runs out of files."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typed
import tyro
import yaml

from frl.cli import COMMANDS, main
from frl.cli.completion import completed as script
from frl.cli.completion import words_of
from frl.cli.evaluate import EVALUATIONS
from frl.cli.pretrain import COMMON, parsed
from frl.cli.run_files import with_file
from frl.cli.shells import SHELLS
from frl.config import RunConfig, as_dict
from frl.errors import ConfigError
from frl.options import options_of
from frl.presets import PRESETS, preset
from writers.config import WriteConfig
from writers.to_beton import COMMON as COMMON_TO_WRITE

ROOT = Path(__file__).parents[2]


def flags_of_tyro(kind, **given) -> set[str]:
    """The flags of the parser that tyro makes, each once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, **given)
    flags = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    return {flag for flag in flags if not flag.rpartition(".")[2].lstrip("-").startswith("no-")} - {"--help"}


@pytest.mark.parametrize("name", ["vggface2", "byol", "supervised", "dino-cpu"])
def test_the_options_of_a_run_are_those_that_tyro_takes(name):
    ours = {option.flag for option in options_of(PRESETS[name].config)}
    assert ours == flags_of_tyro(RunConfig, default=PRESETS[name].config)


def test_the_options_of_write_are_those_that_tyro_takes():
    assert {option.flag for option in options_of(WriteConfig)} == flags_of_tyro(WriteConfig) - {"--label-column"}


def test_the_short_help_shows_the_common_options_and_names_the_other_help(capsys):
    for command, common in (("pretrain", COMMON), ("write", COMMON_TO_WRITE)):
        assert main_stopped([command, "--help"]) == 0
        short = capsys.readouterr().out
        assert all(f"  {flag}" in short for flag in common) and "--help-all" in short
        assert main_stopped([command, "--help-all"]) == 0
        full = capsys.readouterr().out
        assert len(full) > len(short)
    assert "--health.min-rank" in full or "--max-clipped" in full


def main_stopped(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def test_the_help_has_defaults_of_the_preset(capsys):
    main_stopped(["pretrain", "cpu", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"(default: {preset('cpu').config.optim.epochs})" in shown and "(default: resnet18)" in shown


def test_every_command_takes_help_all(capsys):
    for name in COMMANDS:
        assert main_stopped([name, "--help-all"]) == 0
        assert f"frl {name}" in capsys.readouterr().out


def test_a_command_that_is_meant_is_named(capsys):
    assert main(["pretrian"]) == 2
    assert "Is pretrain meant?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("bench", "pretrain")])
def test_what_is_completed_is_what_the_command_takes(command):
    module = importlib.import_module(COMMANDS[command].module)
    kinds = [
        kind for name, kind in vars(module).items() if name.endswith("Config") and kind.__module__ == module.__name__
    ]
    kinds = {"evaluate": list(EVALUATIONS.values()), "write": [WriteConfig]}.get(command, kinds)
    taken = set().union(*map(flags_of_tyro, kinds)) | ({"--list"} if command == "study" else set())
    words = {word for word in words_of(command) if word.startswith("--")}
    assert {positive(word) for word in words} == taken
    assert "--no-baselines" in words or command != "evaluate"


def positive(flag: str) -> str:
    """The option that one turns off."""
    head, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{head}{dot}{name.removeprefix('no-')}"


def test_the_evaluations_are_completed():
    assert set(EVALUATIONS) == {word for word in words_of("evaluate") if not word.startswith("-")}


def test_completion_needs_no_torch():
    code = "import sys; from frl.cli import main; main(['completion', 'bash']); sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0 and b"complete -o default -F _frl frl" in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line, expected",
    [
        ("frl pret", "frl pretrain "),
        ("frl doc", "frl doctor "),
        ("frl pretrain moco-v2-", "frl pretrain moco-v2-cpu "),
        ("frl write --siz", "frl write --size "),
        ("frl evaluate landm", "frl evaluate landmarks "),
        ("frl evaluate landmarks --finetune.st", "frl evaluate landmarks --finetune.steps "),
        ("frl info rep", "frl info reporter.beton "),  # a file
        ("frl info --siz", "frl info --siz"),  # which it does not take
        ("frl info report --tasks-d", "frl info report --tasks-d"),  # a file that is called like a command
        ("frl pus", "frl push "),  # whose help has an apostrophe
    ],
)
def test_the_tabulator_completes(shell, line, expected, tmp_path):
    (tmp_path / "reporter.beton").touch()
    assert typed.completed(shell, script(shell), line, tmp_path) == expected


def test_what_is_printed_is_taken_back(tmp_path, capsys):
    given = ["byol-cpu", "--optim.lr", "1e-6", "--compile", "off", "--data", "a.beton", "b.beton"]
    assert main(["pretrain", *given, "--print-config"]) == 0
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out)
    (tmp_path / "config.json").write_text(json.dumps(as_dict(parsed(given)[0])))
    for name in ("run.yaml", "config.json"):
        config, called = parsed(["--config", str(tmp_path / name)])
        assert config == parsed(given)[0] and called == str(tmp_path / name)


def test_a_file_over_a_preset_and_the_command_line_over_the_file(tmp_path):
    (tmp_path / "run.yaml").write_text("data: faces\noptim:\n  lr: 1e-2\n  epochs: 7\nobjective: simclr\n")
    config, _ = parsed(["cpu", f"--config={tmp_path / 'run.yaml'}", "--optim.epochs", "9"])
    assert (config.optim.lr, config.optim.epochs, config.objective.name) == (0.01, 9, "simclr")
    assert config.model == preset("cpu").config.model and config.data.data == (Path("faces"),)
    config, _ = parsed(["cpu", "--config", str(tmp_path / "run.yaml"), "--objective", "vicreg"])
    assert config.objective.name == "vicreg"


def test_a_file_may_name_an_objective_of_ones_own(tmp_path):
    (tmp_path / "run.yaml").write_text("objective: {name: uniformity, weight: 0.25}\n")
    place = f"{ROOT / 'examples' / 'own_objective.py'}:UniformityConfig"
    config, _ = parsed(["cpu", "--config", str(tmp_path / "run.yaml"), "--objective", place])
    assert (config.objective.name, config.objective.weight) == ("uniformity", 0.25)


@pytest.mark.parametrize(
    "text, words",
    [
        ("optim: {lrr: 1}", r"run\.yaml: optim\.lrr: is no option"),
        ("optim: {lr: 1, lr: 2}", "a key is there twice"),
        ("- 1\n- 2", "names no options"),
        ("a: [", "cannot be read"),
        ("", "names no options"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_files_that_cannot_be_taken(tmp_path, text, words):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        with_file(RunConfig(), tmp_path / "run.yaml")


def test_files_that_are_not_there_or_named_twice(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        parsed(["--config", str(tmp_path / "absent.yaml")])
    with pytest.raises(ConfigError, match="is given 2 times"):
        parsed(["--config", "a", "--config", "b"])
    with pytest.raises(ConfigError, match="without a value"):
        parsed(["--config", "--seed", "1"])
    (tmp_path / "twice.json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(ConfigError, match="seed is there twice"):
        parsed(["--config", str(tmp_path / "twice.json")])


def test_printing_refuses_what_cannot_work(capsys):
    assert main(["pretrain", "--print-config", "--optim.epochs", "-1"]) == 1
    assert "--optim.epochs" in capsys.readouterr().err


def test_yaml_of_every_preset_is_plain(capsys):
    for name in PRESETS:
        assert main(["pretrain", name, "--print-config"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["objective"]["name"]
