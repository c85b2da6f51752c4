"""One list of checks, whoever runs them; and packages whose types others may rely on."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEST_SH = (ROOT / "scripts" / "test.sh").read_text()


def hooks() -> list[dict]:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local", "a hook from elsewhere is downloaded, and has versions of its own"
    return repository["hooks"]


def test_the_hooks_run_what_the_script_runs():
    """``scripts/test.sh`` is what CI runs; the hooks leave out the tests alone."""
    of_script = re.findall(r"^\.venv/bin/((?:ruff|mypy).*)$", TEST_SH, re.M)
    of_hooks = [shlex.split(hook["entry"])[2].partition("; exec ")[2] for hook in hooks()]
    assert of_hooks == of_script and len(of_script) == 3


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook["id"])
def test_a_hook_finds_the_tools_of_the_project_first(hook, tmp_path):
    tool = hook["entry"].split("exec ")[1].strip("'").split()[0]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / tool).write_text("#!/bin/sh\necho ours $@\n")
    (tmp_path / ".venv" / "bin" / tool).chmod(0o755)
    done = subprocess.run(shlex.split(hook["entry"]), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ours")


def test_pre_commit_takes_the_configuration():
    pre_commit = ROOT / ".venv" / "bin" / "pre-commit"
    if not pre_commit.exists() or not shutil.which("git"):
        pytest.skip("pre-commit is not installed")
    subprocess.run([pre_commit, "validate-config", ROOT / ".pre-commit-config.yaml"], check=True, timeout=300)


def test_every_package_ships_its_types_and_its_data():
    call = next(
        node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.keyword) and node.arg == "package_data"
    )  # fmt: skip
    shipped = ast.literal_eval(call.value)
    packages = ("frl", "pipelines", "writers")
    assert all("py.typed" in shipped[package] and (ROOT / package / "py.typed").exists() for package in packages)
    data = {
        path.relative_to(ROOT)
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".py" and path.parent.name != "__pycache__"
    }
    assert data == {Path(*package.split("."), name) for package, files in shipped.items() for name in files}
