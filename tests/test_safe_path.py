"""Folders and packages named like ours, where the user happens to be, change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import encode, picture

import frl

ROOT = Path(frl.__file__).parents[1]

FRL = [sys.executable, "-P", "-c", "import sys; from frl.cli import main; sys.exit(main())"]
"""As the console script: the folder it is called in is not on its path."""


@pytest.fixture(params=["packages", "folders", "modules"])
def surroundings(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with things named like our packages: packages of the user's own, mere folders, or modules."""
    for name in ("frl", "pipelines", "writers"):
        if request.param == "modules":
            (tmp_path / f"{name}.py").write_text("raise SystemExit('the user's own was imported')")
            continue
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("")
        if request.param == "packages":
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the user's own was imported')")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "1.png").write_bytes(encode(picture(64, 64), "PNG"))
    return tmp_path


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    everything = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        command, cwd=folder, env=everything, capture_output=True, text=True, timeout=280, check=False
    )  # fmt: skip


def test_workers_import_what_the_command_imports(surroundings: Path) -> None:
    ended = run([*FRL, "write", "folder:faces", "--out", "f.beton", "--workers", "1"], surroundings)
    assert ended.returncode == 0, ended.stderr
    ended = run([*FRL, "synthesize", "drawn", "--identities", "2", "--images", "1", "--workers", "2"], surroundings)
    assert ended.returncode == 0, ended.stderr


def test_under_torchrun(surroundings: Path) -> None:
    """As scripts/pretrain_ffcv.sh starts it."""
    script = (ROOT / "scripts" / "pretrain_ffcv.sh").read_text()
    assert "export PYTHONSAFEPATH=1" in script
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "--module"]
    ended = run([*launcher, "frl.cli", "--version"], surroundings, PYTHONSAFEPATH="1")
    assert ended.returncode == 0 and frl.__version__ in ended.stdout, ended.stderr


def test_every_script_that_starts_python_shuts_the_folder_out() -> None:
    for script in (ROOT / "scripts").glob("*.sh"):
        text = script.read_text()
        if "-m frl.cli" in text or "torch.distributed.run" in text:
            assert "export PYTHONSAFEPATH=1" in text, script.name


def test_an_editable_install_is_a_folder_on_the_path() -> None:
    """Then a package of ours wins over any folder of its name, to which setuptools' other way, a finder, loses."""
    editable = pytest.importorskip("setuptools.command.editable_wheel")
    text = (ROOT / "setup.py").read_text()
    assert 'package_dir={"": "."}' in text
    packages = [
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("frl", "pipelines", "writers")
        for path in (ROOT / package).rglob("__init__.py")
    ]
    assert editable._simple_layout(packages, {"": "."}, ROOT)
