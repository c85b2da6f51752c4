"""What the documentation names is there: tests, files, links and commands."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
import torch
import torchvision

import frl
from frl.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_test_that_reliability_names_exists():
    text = (ROOT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 30
    for path, test in named:
        assert re.search(rf"^\s*def {test}\b", (ROOT / path).read_text(), re.M), f"{path}::{test}"


def test_nobody_is_told_to_install_another_project_of_our_name():
    """The distribution is frl-faces; what is missing is named by its own package, which serves a clone as well."""
    sources = [path for folder in ("frl", "pipelines", "writers", "scripts") for path in (ROOT / folder).rglob("*.*")]
    for path in [*PAGES, *(path for path in sources if path.suffix in (".py", ".sh"))]:
        asked = r"install (?:-\S+ )*['\"]?(?:frl|pipelines|writers)(?![\w-])|(?<![\w-])frl\["
        assert not re.search(asked, path.read_text()), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_scripts_exist(page):
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S))
    for command in re.findall(r"^frl (\w+)", blocks, re.M) + re.findall(r"`frl (\w+)", text):
        assert command in COMMANDS, command
    for script in re.findall(r"(?:python|bash) ((?:scripts|writers)/[\w/]+\.(?:py|sh))", text):
        assert (ROOT / script).exists(), script


def test_the_readme_tells_of_every_command():
    table = (ROOT / "README.md").read_text().partition("## Commands\n")[2].partition("\n## ")[0]
    assert {*re.findall(r"`frl (\w+)", table)} == {*COMMANDS}


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/extending.md", "CONTRIBUTING.md"])
def test_the_files_on_the_way_exist(page):
    named = re.findall(r"`([\w.]+(?:/[\w.]+)+)`", (ROOT / page).read_text())
    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path


def test_each_of_the_four_ways_has_its_files_in_order_and_a_diagram():
    sections = re.split(r"^## ", (ROOT / "docs" / "architecture.md").read_text(), flags=re.M)
    ways = {section.split("\n")[0]: section for section in sections[1:5]}
    assert list(ways) == ["An image", "A batch", "An option", "A checkpoint"]
    for way in ways.values():
        assert way.count("```mermaid\nflowchart") == 1
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", way, re.M)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 6


def in_order(needed: list[str], given: list[str]) -> bool:
    rest = iter(given)
    return all(word in rest for word in needed)


def test_every_command_of_the_readme_is_run_by_the_walk_or_marked():
    """The walk, which CI runs, gives them at most some options more, to end sooner."""
    walk = (ROOT / "scripts" / "walk.sh").read_text().replace("\n    --", " --")
    walked = [shlex.split(line) for line in re.findall(r"^ *run (frl .*?)(?: \|.*)?$", walk, re.M)]
    walked += [["frl", *shlex.split(line)] for line in re.findall(r"^train=\((.*?)\)$", walk, re.M | re.S)]
    blocks = re.findall(r"(<!-- not run[^\n]*-->\n)?```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    commands = [line for mark, block in blocks if not mark for line in block.splitlines()]
    assert len(commands) > 5
    for command in commands:
        assert any(in_order(shlex.split(command, comments=True), given) for given in walked), command


def programs():
    """Those of the README."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_the_program_of_the_readme_calls_what_there_is():
    """It would train for hours; ``tests/frl/test_api.py`` and the notebook do the same on little."""
    (program,) = (text for text in programs() if "import frl\n" in text)
    called = {
        node.func.attr: {keyword.arg for keyword in node.keywords}
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name) and node.func.value.id == "frl"
    }  # fmt: skip
    assert called.keys() >= {"write", "pretrain", "loader", "load", "measure"}
    for name, keywords in called.items():
        parameters = inspect.signature(getattr(frl, name)).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        assert takes_any or keywords <= parameters.keys(), name


def test_the_program_of_the_readme_loads_an_export(tmp_path, monkeypatch):
    (program,) = (text for text in programs() if "torchvision" in text)
    backbone = torchvision.models.resnet50().state_dict()
    torch.save(
        {name: value for name, value in backbone.items() if not name.startswith("fc.")}, tmp_path / "resnet50.pth"
    )
    monkeypatch.chdir(tmp_path)
    exec(program, {})  # it asserts
