"""The directions of imports, read off the syntax trees: frl knows neither pipelines nor writers, and so on."""

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from frl.cli import main

ROOT = Path(__file__).parents[1]
PACKAGES = ("frl", "pipelines", "writers")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MAY_IMPORT = {
    "pipelines": (
        *("frl.config", "frl.batch", "frl.beton", "frl.errors", "frl.images", "frl.machine", "frl.printable"),
        "frl.runtime.distributed",
    ),
    "writers": (
        *(
            "frl.beton",
            "frl.children",
            "frl.config",
            "frl.console",
            "frl.content",
            "frl.delimited",
            "frl.errors",
            "frl.files",
            "frl.images",
        ),
        *("frl.machine", "frl.options", "frl.printable", "frl.runtime.clusters", "frl.store", "frl.stored_file"),
        "frl.tasks.layouts",
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
    package = path.relative_to(ROOT).parts[0]
    is_command = path.is_relative_to(ROOT / "frl" / "cli") or path == ROOT / "frl" / "api.py"  # the same in Python
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


def rooms(package: str, sources: dict[str, str]) -> dict[str, set[str]]:
    """Which folders and modules directly in ``package`` import which others, when they are loaded or later.

    Args:
        package: whose rooms are told apart.
        sources: text of every module of the package by its dotted name; a package's is that of its ``__init__``.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        here = room_of(package, module)
        graph.setdefault(here, set())
        for name in imports_at_run_time(ast.parse(source)):
            # ``from frl import beton`` imports a module, ``from frl import __version__`` what frl/__init__.py defines.
            there = room_of(package, name if name in sources else name.rpartition(".")[0])
            if there and there != here:
                graph[here].add(there)
    return graph


def room_of(package: str, module: str) -> str:
    """``frl.beton`` for ``frl.beton.reader``; the package's own ``__init__`` is a room; "" for what is elsewhere."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == package else ""


def imports_at_run_time(tree: ast.AST) -> set[str]:
    """As `imported`, without what only a type checker reads."""
    names = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            names |= {name for other in node.orelse for name in imports_at_run_time(ast.Module([other], []))}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        else:
            names |= imports_at_run_time(node)
    return names


def modules_of(package: str) -> dict[str, str]:
    """The text of every module by its dotted name."""
    sources = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return sources


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_of_a_package_form_no_circle(package):
    graph = rooms(package, modules_of(package))
    assert len(graph) > 5
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_graph_sees_circles_and_spares_types():
    sources = {
        "p": "",
        "p.a": "",
        "p.a.x": "from p.b import f\nfrom p import __version__",
        "p.b": "if TYPE_CHECKING:\n    from p.a import x\nelse:\n    import p.c\ndef f():\n    import p.d.y",
        "p.c": "import os",
        "p.d": "",
        "p.d.y": "from p import c",
    }
    graph = rooms("p", sources)
    assert graph == {"p": set(), "p.a": {"p.b", "p"}, "p.b": {"p.c", "p.d"}, "p.c": set(), "p.d": {"p.c"}}
    with pytest.raises(CycleError):
        TopologicalSorter(rooms("p", sources | {"p.c": "from p.a.x import g"})).prepare()


@pytest.mark.parametrize("module", ["frl.config", "writers.config", "frl.presets", "frl.recipes", "frl.cli"])
def test_configuration_is_free_of_torch(module):
    """Worker processes, ``frl --help`` and tools that only read a configuration start in an instant."""
    command = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", command], env=environment, check=False, timeout=300).returncode == 0


@pytest.mark.parametrize(
    "package", ["frl/objectives", "frl/training", "frl/evaluate", "frl/tasks", "frl/models", "frl/monitoring"]
)
def test_what_learns_and_judges_knows_no_loader(package):
    """``test_directions`` says it of all of frl; here it is said of folders by name, which so must exist."""
    found = {name for path in (ROOT / package).rglob("*.py") for name in imported(path)}
    assert found and not any(within(name, ("pipelines", "writers", "frl.cli")) for name in found)


def test_one_file_touches_ffcv_and_one_dali():
    users = {
        engine: {path.name for path in MODULES if path.parts[-2] != "benchmark" and any(
            within(name, (engine,)) for name in imported(path))}
        for engine in ("ffcv", "nvidia.dali")
    }  # fmt: skip
    assert users["nvidia.dali"] == {"dali_engine.py"}
    assert users["ffcv"] <= {"ffcv_engine.py"}  # which loads ffcv's library by its path


def test_no_script_imports_from_tests():
    names_in_tests = {path.stem for path in (ROOT / "tests").glob("*.py")}
    for path in (ROOT / "scripts").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"tests", *names_in_tests}, path


HELP = """
import sys
from frl.cli import main
try:
    main([sys.argv[1], "--help"])
except SystemExit:
    pass
print(sorted({"torch", "torchvision", "numba", "tensorboard", "cv2"} & set(sys.modules)), file=sys.stderr)
"""


def test_the_help_of_training_imports_nothing_that_trains():
    command = [sys.executable, "-c", HELP, "pretrain"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert "--optim.lr" in ended.stdout
    assert ended.stderr.splitlines()[-1] == "[]"


TRAINING = """
import sys
from frl.cli import main
from frl.monitoring.logbook import Logbook
at_first_batch = []
say = Logbook.say
def noting(self, message):
    if message.startswith("training from step"):
        at_first_batch.extend(sys.modules)
    say(self, message)
Logbook.say = noting
status = main(["pretrain", "cpu", "--data", sys.argv[1], "--out", sys.argv[2], "--max-steps", "1", *sys.argv[3:]])
print(*at_first_batch, file=sys.stderr)
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""
NEVER = {"writers", "pandas", "sklearn", "matplotlib", "huggingface_hub", "timm", "h5py", "onnx", "wandb", "sqlite3"}
NEVER |= {"torchvision", "torch._dynamo", "torch._inductor", "sympy", "cv2", "frl.evaluate"}
LATER = {"tensorboard", "boto3", "fsspec"}


def test_a_run_imports_what_it_needs_when_it_needs_it(tmp_path):
    faces, data = str(tmp_path / "faces"), str(tmp_path / "faces.beton")
    assert main(["synthesize", faces, "--identities", "4", "--images", "6", "--size", "40"]) == 0
    assert main(["write", faces, "--out", data, "--workers", "1"]) == 0
    small = ["--optim.batch-size", "8", "--objective.prototypes", "12", "--precision", "fp32", "--device", "cpu"]
    command = [sys.executable, "-c", TRAINING, data, str(tmp_path / "run"), *small]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=280)
    at_first_batch, at_the_end = (set(line.split()) for line in ended.stderr.splitlines()[-2:])
    assert "numba" in at_first_batch and "tensorboard" in at_the_end
    assert not at_first_batch & (NEVER | LATER)
    assert not at_the_end & NEVER
