"""What pip would install: built as a source distribution and a wheel, and used where nothing but its needs is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAME = "frl-faces"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "frl", "pipelines", "writers")
TINY = (
    *("--augment.crops.0.size", "24", "--objective.prototypes", "12"),
    *("--optim.batch-size", "8", "--optim.epochs", "1", "--compile", "off"),
)


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    """What a command prints; it sees neither this checkout nor the packages of this interpreter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=folder, env=clean | environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the source distribution, not of this folder: so that one is complete, too."""
    pytest.importorskip("build")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    ignored = ["--exclude=__pycache__", "--exclude=*.egg-info"]
    subprocess.run(
        f"tar -c {' '.join(ignored)} {' '.join(SOURCES)} | tar -x -C {source}", shell=True, cwd=ROOT, check=True
    )
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], source)
    assert [path.name.startswith("frl_faces-") for path in out.glob("*.tar.gz")] == [True]
    (found,) = out.glob("*.whl")
    return found


def needs(name: str, seen: set[str]) -> set[str]:
    """The distributions that one needs here, extras left out, by their canonical names."""
    from packaging.requirements import Requirement

    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        wanted = [{"extra": ""}, *({"extra": extra} for extra in requirement.extras)]
        canonical = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if canonical not in seen and (not requirement.marker or any(map(requirement.marker.evaluate, wanted))):
            seen.add(canonical)
            needs(canonical, seen)
    return seen


def required(wheel: Path) -> set[str]:
    """Everything that installing the wheel without extras brings."""
    from packaging.requirements import Requirement

    text = zipfile.ZipFile(wheel).read(next(name for name in names_in(wheel) if name.endswith("/METADATA"))).decode()
    asked = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)$", text, re.M)]
    own = {requirement.name for requirement in asked if not requirement.marker}
    assert "torch" in own and "ffcv" not in own
    return own.union(*(needs(name, set()) for name in own))


def names_in(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own that holds the wheel, and links to what it requires: nothing else can be imported."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in required(wheel):
        for path in metadata.files(name) or ():
            depth = 2 if path.parts[0] in ("nvidia", "google") else 1  # shared with other distributions
            here, there = packages.joinpath(*path.parts[:depth]), Path(str(path.locate())).resolve()
            if path.parts[0] not in ("..", "__pycache__") and not here.exists():
                here.parent.mkdir(exist_ok=True)
                here.symlink_to(Path(*there.parts[: len(there.parts) - len(path.parts) + depth]))
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    run([*command, "--no-deps", "--no-index", wheel], folder.parent)
    return folder


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    here = {
        path.relative_to(ROOT).as_posix()
        for package in ("frl", "pipelines", "writers")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert {name for name in names_in(wheel) if ".dist-info/" not in name} == here
    assert "frl/report/page.css" in here


def test_the_environment_is_bare(bare: Path, tmp_path: Path) -> None:
    python = bare / "bin" / "python"
    for absent in ("ffcv", "nvidia.dali", "timm", "dlib", "pytest"):
        asked = f"import importlib.util as u; print(u.find_spec('{absent}'.split('.')[0]) and u.find_spec('{absent}'))"
        assert run([python, "-c", asked], tmp_path) == "None\n", absent
    where = run([python, "-c", "import frl, pipelines, writers; print(frl.__file__, writers.__file__)"], tmp_path)
    assert all(str(bare) in path for path in where.split())


@pytest.mark.timeout(900)  # five starts and a compilation, half a minute where nobody else is
def test_faces_become_a_backbone_in_another_folder(bare: Path, tmp_path: Path) -> None:
    frl = bare / "bin" / "frl"
    for command in (
        ["synthesize", "faces", "--identities", "4", "--images", "4", "--size", "40"],
        ["write", "faces", "--out", "faces.beton", "--workers", "1"],
        ["pretrain", "cpu", "--data", "faces.beton", "--out", "run", *TINY],
        ["export", "run", "--out", "backbone.pth"],
        ["report", "run"],
        ["evaluate", "knn", "--weights", "released:synthetic-faces", "--data", "faces.beton", "--out", "knn.json"],
    ):
        run([frl, *command], tmp_path, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    assert (tmp_path / "backbone.pth").stat().st_size > 1e6
    css = (ROOT / "frl" / "report" / "page.css").read_text()
    assert css in (tmp_path / "run" / "report" / "report.html").read_text()


def test_extras_are_those_of_the_messages_and_all_is_their_union(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(next(name for name in names_in(wheel) if name.endswith("/METADATA"))).decode()
    extras: dict[str, set[str]] = {name: set() for name in re.findall(r"^Provides-Extra: (.+)$", text, re.M)}
    for package, extra in re.findall(r'^Requires-Dist: ([^;\n]+); extra == "(\w+)"$', text, re.M):
        extras[extra].add(package)
    kept_apart = {"all", "ffcv", "dali", "docs", "dev"}
    assert extras["all"] == set().union(*(extras[name] for name in extras.keys() - kept_apart))
    page = (ROOT / "docs" / "install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page.split("## Extras")[1].split("\n## ")[0], re.M)) == set(extras)
    sources = [path for folder in ("frl", "pipelines", "writers", "docs") for path in (ROOT / folder).rglob("*.*")]
    named = [
        extra
        for path in [ROOT / "README.md", *sources]
        if path.suffix in (".py", ".md")
        for listed in re.findall(rf"(?:{NAME}|-e \.)\[([\w,]+)\]", path.read_text())
        for extra in listed.split(",")
    ]
    assert set(named) <= extras.keys()
