"""A study as a file: axes that are crossed, and what is done in every cell of the grid."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frl.errors import ConfigError
from frl.study.steps import STAGES, Step, evaluation, pretraining, writing

Options = Mapping[str, Any]
"""Of a stage, by the names that its command gives them, with dots: ``optim.lr``."""

KEYS = {"title", "text", "seeds", "axes", *STAGES}
REMEDY = "docs/studies.md describes the file."


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One choice of each axis, and a seed.

    Attributes:
        choices: the name of the choice on each axis.
        seed: of the run.
        evaluations: what is measured of it, by the name that the study gives it.
    """

    choices: Mapping[str, str]
    seed: int
    evaluations: Mapping[str, Step]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of runs, and how they are judged.

    Attributes:
        title: the question.
        text: what is held equal, and why.
        seeds: every cell is done with each.
        axes: by name, the choices by name; a choice is options of any stage, such as ``{"pretrain.optim.lr": 0.1}``.
        write: options of ``frl write``, sources among them; None: the runs name their data.
        pretrain: options of ``frl pretrain``, the preset among them.
        evaluate: by name, options of ``frl evaluate``, the task among them.
        scores: by the same name, which of an evaluation's scores is looked at; what is not named: its first.
    """

    title: str
    text: str
    seeds: tuple[int, ...]
    axes: Mapping[str, Mapping[str, Options]]
    write: Options | None
    pretrain: Options
    evaluate: Mapping[str, Options]
    scores: Mapping[str, str]

    def cells(self) -> Iterator[Cell]:
        """Every combination of choices with every seed."""
        for chosen in itertools.product(*(axis.items() for axis in self.axes.values())):
            options = [options for _, options in chosen]
            names = dict(zip(self.axes, (name for name, _ in chosen), strict=True))
            for seed in self.seeds:
                yield Cell(choices=names, seed=seed, evaluations=self._evaluations(options, seed))

    def _evaluations(self, chosen: list[Options], seed: int) -> dict[str, Step]:
        data = None if self.write is None else writing(_with(self.write, chosen, "write"))
        run = pretraining(_with({**self.pretrain, "seed": seed}, chosen, "pretrain"), data)
        return {
            name: evaluation(_with({"seed": seed, **options}, chosen, "evaluate"), run)
            for name, options in self.evaluate.items()
        }


def read_study(path: Path, variables: Mapping[str, str]) -> Study:
    """The study in a file of YAML or JSON, with ``$name`` replaced by the variables.

    Raises:
        ConfigError: if the file is no study, or needs a variable that is not given; if one is given that it has not.
    """
    try:
        text = string.Template(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read ({error})", REMEDY) from error
    needed = set(text.get_identifiers())
    if lacking := sorted(needed - variables.keys()):
        raise ConfigError(path, f"needs {', '.join(lacking)}", f"Give --set {lacking[0]}=VALUE.")
    if foreign := sorted(variables.keys() - needed):
        known = ", ".join(sorted(needed)) or "none"
        raise ConfigError(f"--set {foreign[0]}", f"{path} has no ${foreign[0]}", f"It has: {known}.")
    try:
        content = yaml.safe_load(text.substitute(variables))
    except yaml.YAMLError as error:
        raise ConfigError(path, f"is no YAML ({error})", REMEDY) from error
    return parse_study(content, path)


def parse_study(content: Any, where: object) -> Study:
    """The study that the content of such a file describes.

    Raises:
        ConfigError: naming what is lacking or unknown.
    """
    _require(isinstance(content, dict), where, "holds no study")
    if unknown := sorted(map(str, content.keys() - KEYS)):
        raise ConfigError(where, f"has the unknown key {unknown[0]!r}", f"Known are {', '.join(sorted(KEYS))}.")
    for key in ("title", "pretrain", "evaluate"):
        _require(bool(content.get(key)), where, f"has no {key!r}")
    seeds = content.get("seeds", [0])
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    _require(
        isinstance(seeds, list) and bool(seeds) and all(type(s) is int for s in seeds), where, "has no usable 'seeds'"
    )
    axes = {str(name): _choices(axis, f"{where}, axis {name!r}") for name, axis in (content.get("axes") or {}).items()}
    evaluate = {}
    for name, options in content["evaluate"].items():
        _require(isinstance(options, dict) and "task" in options, f"{where}, evaluate, {name!r}", "names no 'task'")
        evaluate[str(name)] = {key: value for key, value in options.items() if key != "score"}
    return Study(
        title=str(content["title"]),
        text=str(content.get("text") or "").strip(),
        seeds=tuple(seeds),
        axes=axes,
        write=content.get("write"),
        pretrain=content["pretrain"],
        evaluate=evaluate,
        scores={str(n): str(o["score"]) for n, o in content["evaluate"].items() if "score" in o},
    )


def _choices(axis: Any, where: str) -> dict[str, Options]:
    _require(isinstance(axis, dict) and bool(axis), where, "has no choices")
    for name, options in axis.items():
        _require(isinstance(options, dict), where, f"the choice {name!r} is no mapping of options")
        for option in options:
            stage, dot, _ = str(option).partition(".")
            cause = f"the option {option!r} of {name!r} is of no stage"
            _require(bool(dot) and stage in STAGES, where, cause, f"Begin it with {', '.join(STAGES)}, as write.limit.")
    return {str(name): options for name, options in axis.items()}


def _with(options: Options, chosen: list[Options], stage: str) -> dict[str, Any]:
    """Options of a stage, and those of it that the choices add or replace."""
    merged = dict(options)
    for choice in chosen:
        for option, value in choice.items():
            if option.startswith(f"{stage}."):
                merged[option.removeprefix(f"{stage}.")] = value
    return merged


def _require(right: bool, where: object, cause: str, remedy: str = REMEDY) -> None:
    if not right:
        raise ConfigError(where, cause, remedy)
