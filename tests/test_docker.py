"""The image's recipe, as far as it can be checked without a container engine: by a linter, and against this folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "scripts" / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    return subprocess.run([hadolint, path], capture_output=True, text=True, timeout=300, check=False)


def test_the_linter_finds_nothing() -> None:
    done = lint(DOCKERFILE)
    assert done.returncode == 0, done.stdout


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text(TEXT.replace("python:3.12-slim-bookworm", "python"))
    assert "DL3006" in lint(worse).stdout


def test_what_is_copied_is_there_and_is_what_pip_reads() -> None:
    copied = [name for line in re.findall(r"^COPY (.+)$", TEXT, re.M) for name in line.split()[:-1]]
    assert {"setup.py", "pyproject.toml", "README.md", "frl", "pipelines", "writers"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_extras_and_system_packages_are_those_of_the_set_up() -> None:
    setup = (ROOT / "setup.py").read_text()
    for extras in re.findall(r"'\.\[([\w,]+)\]'", TEXT):
        assert all(f'"{extra}": [' in setup for extra in extras.split(",")), extras
    script = (ROOT / "scripts" / "setup.sh").read_text()
    (without_ffcv,) = re.findall(r"^PACKAGES=\(python3-venv (.+)\)$", script, re.M)
    assert without_ffcv in TEXT


def test_each_stage_runs_the_command_as_a_user_of_its_own() -> None:
    stages = re.split(r"^FROM ", TEXT, flags=re.M)[1:]
    assert [re.search(r"AS (\w+)", stage)[1] for stage in stages] == ["base", "cpu", "cuda"]
    for stage in stages[1:]:
        assert "USER 1000" in stage and 'ENTRYPOINT ["frl"]' in stage
