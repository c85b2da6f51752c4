"""``docs/extending.md`` is true: its lists of files are the code's, and its objective, from outside of frl, trains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import tiny_run
import torch
import torchvision
from tests_support import start_ranks

from frl.cli import main
from frl.cli.objectives import find
from frl.config import RunConfig
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
EXAMPLE = ROOT / "examples" / "own_objective.py"
OBJECTIVE = f"{EXAMPLE}:UniformityConfig"
SECTIONS = {title: text for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)}
ITEM = re.compile(r"^\d+\. (if wanted, )?(write|change) `([\w/.]+)`", re.M)

PACKAGES = ("frl", "pipelines", "writers")


class Known(NamedTuple):
    """What a section's list of files is the list of: what the code calls it, and who may know of it or not."""

    word: str
    others: frozenset[str] = frozenset()


KNOWN = {
    "An objective, in frl": Known(
        "swav", others=frozenset({"frl/config/run.py", "frl/config/codec.py", "frl/objectives/dino.py"})
    ),  # defaults, and one that uses its loss
    "A source of faces": Known("webdataset"),
    "An augmentation": Known("solarise", others=frozenset({"scripts/bench/parity.py", "frl/presets.py"})),
    "A downstream task": Known(
        "verification",
        others=frozenset(
            {
                "frl/tasks/layouts/lfw.py",  # which knows no task
                *("frl/evaluate/templates.py", "frl/evaluate/published_verification.py"),  # more of the same task
            }
        ),
    ),
    "A task for heads": Known("face3d"),
    "A metric of an objective": Known("assignment_entropy"),
    "A metric of every run": Known("memory_gib"),
}


def names(path: Path) -> Iterator[str]:
    """What a module defines, uses and imports, and its strings that are names; no comments, no prose."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias)):
            yield node.name
        elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg):
            yield node.arg
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def files(title: str) -> list[tuple[bool, str, str]]:
    """The items of a section: whether optional, whether to write or to change, and which file."""
    return [(bool(optional), what, path) for optional, what, path in ITEM.findall(SECTIONS[title])]


@pytest.mark.parametrize("title", KNOWN)
def test_the_listed_files_are_those_that_know_of_it(title):
    known = KNOWN[title]
    modules = {path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")}
    modules -= set((ROOT / "pipelines" / "benchmark").rglob("*.py"))  # the loaders of others
    word = re.compile(rf"(?<![a-z]){known.word}", re.I)
    knowing = {str(path.relative_to(ROOT)) for path in modules if any(map(word.search, names(path)))}
    assert {path for _, _, path in files(title)} - known.others == knowing - known.others


def test_the_numbers_are_those_of_the_lists():
    rows = re.findall(r"^\| (an? .+?) \| (\d+) \| (\d+) \|$", PAGE, re.M)
    assert [name for name, *_ in rows] == [title[0].lower() + title[1:] for title in SECTIONS]
    for name, write, change in rows:
        needed = [what for optional, what, _ in files(name[0].upper() + name[1:]) if not optional]
        assert (needed.count("write"), needed.count("change")) == (int(write), int(change)), name


def test_the_page_shows_the_example():
    shown = re.search(r"```python\n(.*?)```", PAGE, re.S)
    assert shown and shown[1].strip() in EXAMPLE.read_text()


def run_config(out: Path) -> RunConfig:
    return replace(tiny_run.CONFIG, out=out, objective=find(OBJECTIVE)(weight=0.5))


def weights(out: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_newest(out / "checkpoints")["model"]


def test_an_objective_from_outside_trains_and_resumes_bit_for_bit(tmp_path):
    tiny_run.run(run_config(tmp_path / "whole"))
    tiny_run.run(replace(run_config(tmp_path / "parts"), max_steps=7))
    tiny_run.run(run_config(tmp_path / "parts"))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert "head.weight" in whole
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    logged = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert all(0 <= line["alignment"] <= 4 and "prototypes_used" not in line for line in logged if "loss" in line)


def test_it_accumulates_without_targets_of_the_whole_batch(tmp_path):
    config = run_config(tmp_path)
    tiny_run.run(replace(config, optim=replace(config.optim, accumulate=2), max_steps=2))
    assert checkpoint.load_newest(tmp_path / "checkpoints")["step"] == 2


def test_it_trains_on_two_ranks(tmp_path):
    config, log = replace(run_config(tmp_path / "run"), max_steps=2), tmp_path / "log"
    for rank in start_ranks(tiny_run.run, 2, config, log=log):
        rank.join()
        assert rank.exitcode == 0, log.read_text()
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")["step"] == 2


def test_the_command_trains_resumes_exports_and_reports_it(tmp_path, capsys):
    faces, out, exported = tmp_path / "faces.beton", tmp_path / "run", tmp_path / "resnet18.pth"
    assert main(["synthesize", str(tmp_path / "faces"), "--identities", "4", "--images", "6", "--size", "40"]) == 0
    assert main(["write", str(tmp_path / "faces"), "--out", str(faces), "--workers", "1"]) == 0
    options = [
        *("--data", str(faces), "--out", str(out), "--device", "cpu", "--precision", "fp32"),
        *("--model.width", "64", "--model.stem", "pool", "--augment.crops.0.size", "24", "--optim.batch-size", "8"),
        *("--optim.reference-batch", "8", "--optim.epochs", "2", "--objective.weight", "0.5"),
    ]
    train = ["pretrain", "cpu", "--objective", OBJECTIVE, *options]
    assert main([*train, "--max-steps", "2"]) == 0
    capsys.readouterr()
    assert main(train) == 0
    said = capsys.readouterr().out
    assert "training from step 2" in said and "objective  uniformity" in said

    assert main(["export", str(out), "--out", str(exported)]) == 0
    missing, unexpected = torchvision.models.resnet18().load_state_dict(torch.load(exported), strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"} and not unexpected

    assert main(["report", str(out), "--objective", OBJECTIVE, "--size", "24"]) == 0
    page = (out / "report" / "report.html").read_text()
    assert "uniformity" in page and "Alignment" in page
    other = [option for option in options if option not in ("--objective.weight", "0.5")]
    assert main(["pretrain", "cpu", *other]) == 1
    assert "objective.name: uniformity -> swav" in capsys.readouterr().err
