"""``--objective``: an objective by name, or one that a file or a module of the user's own defines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from frl.cli import main
from frl.cli.objectives import find, listing, with_objective
from frl.config import ObjectiveConfig, SwAVConfig
from frl.errors import ConfigError
from frl.presets import preset

DEFINITION = """
from dataclasses import dataclass
from frl.config import ObjectiveConfig
from frl.objectives import Objective

@dataclass(frozen=True, kw_only=True)
class Config(ObjectiveConfig, name="{name}", implementation="{module}:Mine"):
    margin: float = 0.5
    symmetric: bool = True

class Mine(Objective):
    pass
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test defines is forgotten after it."""
    known, modules = dict(ObjectiveConfig.known), set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    ObjectiveConfig.known.clear()
    ObjectiveConfig.known.update(known)
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def define(folder: Path, module: str, name: str | None = None) -> Path:
    file = folder / f"{module}.py"
    file.write_text(DEFINITION.format(module=module, name=name or module))
    return file


def test_the_preset_keeps_its_objective_if_none_or_the_same_is_named():
    small = preset("small-batch").config
    for arguments in ([], ["--objective", "swav"], ["--objective=swav"]):
        config, others = with_objective(small, ["--out", "x", *arguments, "--objective.epsilon", "0.1"])
        assert config is small and others == ["--out", "x", "--objective.epsilon", "0.1"]


@pytest.mark.parametrize("spelt", [("--objective", "{}"), ("--objective={}",)])
def test_a_file_defines_one(tmp_path, spelt):
    file = define(tmp_path, "mine_in_a_file")
    named = [part.format(f"{file}:Config") for part in spelt]
    config, others = with_objective(
        preset("cpu").config, [*named, "--objective.margin", "1", "--objective.no-symmetric"]
    )
    assert config.objective == find("mine_in_a_file")() and config.optim == preset("cpu").config.optim
    assert others == ["--objective.margin", "1", "--objective.no-symmetric"]


def test_a_module_on_the_path_defines_one(tmp_path, monkeypatch):
    define(tmp_path, "mine_in_a_module")
    with pytest.raises(
        ConfigError, match="mine_in_a_module cannot be imported .*ModuleNotFoundError.* or name its file"
    ):
        find("mine_in_a_module:Config")
    monkeypatch.syspath_prepend(tmp_path)
    assert find("mine_in_a_module:Config").name == "mine_in_a_module"


def test_a_folder_of_the_users_own_stands_in_for_no_module(tmp_path):
    """The folder of the file is searched last; a file that is hidden by another module is refused, not confused."""
    define(tmp_path, "mine_beside_torch")
    (tmp_path / "torch.py").write_text("raise SystemExit")
    find(f"{tmp_path / 'mine_beside_torch.py'}:Config")
    assert sys.path[-1] == str(tmp_path)
    with pytest.raises(ConfigError, match="another module is called json .*Rename the file"):
        find(f"{define(tmp_path, 'json', 'hidden')}:Config")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "swaw"], "no objective 'swaw'.*Is swav meant.*Known are swav"),
        (["--objective"], "no objective ''.*Known are swav"),
        (["--objective", "swav", "--objective=swav"], "given 2 times"),
        (["--objective", "nowhere.py:Config"], "nowhere.py: no such file"),
        (["--objective", ":Config"], "a module without a name cannot be imported"),
        (["--objective", "json:Config"], "json defines no configuration.*It defines: none"),
        (["--objective", "frl.config:RunConfig"], "defines no configuration of an objective of that name"),
        (["--objective.prototype", "3"], "swav has no such option.*Is prototypes meant.*hidden-dim"),
        (["--objective.prototype=3"], "swav has no such option"),
    ],
)
def test_what_is_none_is_refused_with_what_there_is(arguments, message):
    with pytest.raises(ConfigError, match=message):
        with_objective(preset("cpu").config, arguments)


def test_an_option_of_another_objective_says_whose_it_is_and_which_is_in_force(tmp_path):
    mine = ["--objective", f"{define(tmp_path, 'mine_and_no_other')}:Config"]
    with pytest.raises(
        ConfigError, match=r"--objective.prototypes: mine_and_no_other has no such option. It belongs to .*swav"
    ):
        with_objective(preset("cpu").config, [*mine, "--objective.prototypes", "3"])
    with pytest.raises(ConfigError, match=r"swav has no such option. It belongs to .*mine_and_no_other"):
        with_objective(preset("cpu").config, ["--objective.margin", "3"])


@pytest.mark.parametrize("text", ["def f(:\n", "1 / 0\n", "import nothing_of_this_name\n"])
def test_a_module_that_fails_is_at_fault_itself(tmp_path, text):
    (tmp_path / "broken_mine.py").write_text(text)
    with pytest.raises(ConfigError, match="broken_mine cannot be imported"):
        find(f"{tmp_path / 'broken_mine.py'}:Config")


def test_a_configuration_without_its_class_is_refused_before_anything_is_made(tmp_path, capsys):
    file = define(tmp_path, "mine_without_a_class")
    file.write_text(file.read_text().replace("class Mine", "class Another"))
    out = tmp_path / "run"
    assert main(["pretrain", "cpu", "--data", "none.beton", "--out", str(out), "--objective", f"{file}:Config"]) == 1
    assert "mine_without_a_class:Mine" in capsys.readouterr().err and not out.exists()


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="SwAVConfig is the objective 'swav' already"):
        find(f"{define(tmp_path, 'mine_called_swav', 'swav')}:Config")
    assert find("swav") is SwAVConfig


def test_help_and_list_tell_of_objectives(tmp_path, capsys):
    assert main(["pretrain", "--list"]) == 0
    assert listing() in capsys.readouterr().out and "swav: Swapped prediction" in listing()
    with pytest.raises(SystemExit):
        main(["pretrain", "cpu", "--objective", f"{define(tmp_path, 'mine_in_the_help')}:Config", "--help-all"])
    said = capsys.readouterr().out
    assert "--objective.margin" in said and "--objective.prototypes" not in said


def test_the_place_of_the_file_is_found_wherever_python_looks(tmp_path):
    """As ``pretrain_ffcv.sh`` starts it: the folder one is in is not on the path."""
    define(tmp_path, "mine_here")
    root = Path(__file__).parents[3]
    command = "import sys; from frl.cli import main; sys.exit(main())"
    arguments = ["pretrain", "cpu", "--objective", "mine_here.py:Config", "--objective.epsilon", "1"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, *arguments],
        cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "mine_here has no such option. It belongs to swav" in done.stderr


def test_options_of_the_default_are_not_mixed_into_another(tmp_path):
    other = find(f"{define(tmp_path, 'mine_by_default')}:Config")
    config, _ = with_objective(replace(preset("cpu").config, objective=other(margin=2)), ["--objective", "swav"])
    assert config.objective == SwAVConfig()
