"""The directions of imports, read off the syntax trees: frl knows neither pipelines nor writers, and so on."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("frl", "pipelines", "writers")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MAY_IMPORT = {
    "pipelines": (
        *("frl.config", "frl.batch", "frl.beton", "frl.errors", "frl.images", "frl.printable"),
        "frl.runtime.distributed",
    ),
    "writers": (
        *("frl.beton", "frl.children", "frl.config", "frl.console", "frl.content", "frl.errors", "frl.images"),
        "frl.printable",
    ),
}


def imported(path: Path) -> set[str]:
    """Dotted names of everything a file imports, at its top or within functions; ``from a import b`` gives ``a.b``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_directions(path):
    package, is_command = path.relative_to(ROOT).parts[0], path.is_relative_to(ROOT / "frl" / "cli")
    if path.is_relative_to(ROOT / "pipelines" / "benchmark"):
        return  # a command that holds the loaders of others beside ours
    for name in imported(path):
        assert not within(name, ("pipelines.benchmark",)), name
        if path.parent != ROOT / "pipelines" / "engines" or path.name not in ("dali_engine.py", "ffcv_engine.py"):
            assert not within(name, ("ffcv", "nvidia.dali")), f"{name}: only the loaders' own files touch the engines"
        assert not within(name, ("tests", "scripts")), name
        if package == "frl" and not is_command:
            assert not within(name, ("pipelines", "writers", "frl.cli")), name
        if package in MAY_IMPORT and within(name, PACKAGES):
            assert within(name, (package, *MAY_IMPORT[package])), name


def test_one_file_finds_ffcv_to_read():
    """The library is loaded by its path, which no import shows."""
    readers = [path for path in MODULES if path.is_relative_to(ROOT / "pipelines") and "_libffcv" in path.read_text()]
    assert [path.name for path in readers] == ["ffcv_engine.py"]


def test_no_module_shadows_an_engine():
    assert not {path.stem for path in MODULES} & {"ffcv", "nvidia", "dali", "torch", "numpy"}


def test_the_walk_sees_imports_of_every_kind(tmp_path):
    source = "import a.b\nfrom c import d\ndef f():\n    import e\n    from g.h import i as j\n"
    (tmp_path / "m.py").write_text(source)
    assert imported(tmp_path / "m.py") == {"a.b", "c.d", "e", "g.h.i"}
