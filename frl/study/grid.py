"""A study as a file: axes that are crossed, and what is done in every cell of the grid."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frl.config.documents import read_document
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
    """The study in a file of YAML or JSON, with ``$name`` in its texts replaced by the variables, whatever these hold.

    Raises:
        ConfigError: if the file is no study, or needs a variable that is not given; if one is given that it has not.
    """
    content = read_document(path, str(path), REMEDY)
    needed = {name for text in _texts(content) for name in string.Template(text).get_identifiers()}
    if lacking := sorted(needed - variables.keys()):
        raise ConfigError(path, f"needs {', '.join(lacking)}", f"Give --set {lacking[0]}=VALUE.")
    if foreign := sorted(variables.keys() - needed):
        known = ", ".join(sorted(needed)) or "none"
        raise ConfigError(f"--set {foreign[0]}", f"{path} has no ${foreign[0]}", f"It has: {known}.")
    return parse_study(_filled(content, variables), path)


def parse_study(content: Any, where: object) -> Study:
    """The study that the content of such a file describes.

    Raises:
        ConfigError: naming what is lacking, unknown or without effect.
    """
    _require(isinstance(content, dict), where, "holds no study")
    if unknown := sorted(map(str, content.keys() - KEYS)):
        raise ConfigError(where, f"has the unknown key {unknown[0]!r}", f"Known are {', '.join(sorted(KEYS))}.")
    for key in ("title", "pretrain", "evaluate"):
        _require(bool(content.get(key)), where, f"has no {key!r}")
    evaluate = {}
    for name, section in _mapping(content["evaluate"], f"{where}, evaluate").items():
        evaluate[name] = _options(section, f"{where}, evaluate, {name!r}")
        _require("task" in evaluate[name], f"{where}, evaluate, {name!r}", "names no 'task'")
    study = Study(
        title=str(content["title"]),
        text=str(content.get("text") or "").strip(),
        seeds=_seeds(content.get("seeds", 1), where),
        axes=_axes(content.get("axes") or {}, where),
        write=None if content.get("write") is None else _options(content["write"], f"{where}, write"),
        pretrain=_options(content["pretrain"], f"{where}, pretrain"),
        evaluate={name: {o: v for o, v in options.items() if o != "score"} for name, options in evaluate.items()},
        scores={name: str(options["score"]) for name, options in evaluate.items() if "score" in options},
    )
    _require_effect(study, where)
    return study


def _texts(content: Any) -> Iterator[str]:
    """All texts of a document, its keys among them."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (dict, list)):
        for item in itertools.chain(*content.items()) if isinstance(content, dict) else content:
            yield from _texts(item)


def _filled(content: Any, variables: Mapping[str, str]) -> Any:
    """A document with the variables in its texts; a ``$`` that begins no name, as in $5, stays."""
    if isinstance(content, str):
        return string.Template(content).safe_substitute(variables)
    if isinstance(content, list):
        return [_filled(item, variables) for item in content]
    if not isinstance(content, dict):
        return content
    filled = {_filled(key, variables): _filled(value, variables) for key, value in content.items()}
    cause = f"makes two of the keys {', '.join(map(str, content))} the same"
    _require(len(filled) == len(content), "--set", cause, "Give each another value.")
    return filled


def _seeds(seeds: Any, where: object) -> tuple[int, ...]:
    """Their number, or a list of them."""
    if type(seeds) is int or (isinstance(seeds, str) and seeds.isdecimal()):  # a variable is a text
        seeds = list(range(int(seeds)))
    usable = isinstance(seeds, list) and bool(seeds) and all(type(seed) is int for seed in seeds)
    _require(usable and len(set(seeds)) == len(seeds), where, "has no usable 'seeds'")
    return tuple(seeds)


def _axes(content: Any, where: object) -> dict[str, dict[str, Options]]:
    return {
        name: _choices(axis, f"{where}, axis {name!r}") for name, axis in _mapping(content, f"{where}, axes").items()
    }


def _choices(axis: Any, where: str) -> dict[str, Options]:
    _require(isinstance(axis, dict) and bool(axis), where, "has no choices")
    choices: dict[str, Options] = {
        name: _options(section, f"{where}, the choice {name!r}") for name, section in _mapping(axis, where).items()
    }
    for name, options in choices.items():
        for option in options:
            stage, dot, _ = option.partition(".")
            cause = f"the option {option!r} of {name!r} is of no stage"
            _require(bool(dot) and stage in STAGES, where, cause, f"Begin it with {', '.join(STAGES)}, as write.limit.")
    return choices


def _mapping(content: Any, where: str) -> dict[str, Any]:
    """A mapping with texts as keys: ``1`` and ``"1"`` are the same."""
    _require(isinstance(content, dict), where, "is no mapping")
    named = {str(key): value for key, value in content.items()}
    _require(len(named) == len(content), where, "has a key twice")
    return named


def _options(section: Any, where: str) -> dict[str, Any]:
    """Options by their names with dots, however the file nests them; dashes in names are the command line's."""
    found: dict[str, Any] = {}
    for name, value in _flat(_mapping(section, where), ""):
        _require(name not in found, where, f"has {name!r} twice")
        several = isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
        _require(not several, where, f"has a list of sections, {name!r}", f"Give options of each, as {name}.0.size.")
        found[name] = value
    return found


def _flat(section: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        name = prefix + str(key).replace("-", "_")
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _require_effect(study: Study, where: object) -> None:
    """Refuse options that would change nothing, or not what they seem to."""
    remedy = "Leave it out: every cell is done with each of the seeds."
    _require("seed" not in study.pretrain, f"{where}, pretrain", "'seed' is the study's to choose", remedy)
    changed: dict[str, str] = {}
    for axis, choices in study.axes.items():
        for option in dict.fromkeys(itertools.chain(*choices.values())):
            place = f"{where}, axis {axis!r}"
            _require(option != "pretrain.seed", place, f"{option!r} is the study's to choose", remedy)
            cause = f"{option!r} changes nothing, for the study writes no file"
            writes = study.write is not None or not option.startswith("write.")
            _require(writes, place, cause, "Give write: {sources: [PATH, ...]} in place of pretrain's data.")
            cause = f"{option!r} is on the axis {changed.get(option)!r}, too"
            _require(option not in changed, place, cause, "One of the two would be lost: leave it to one axis.")
            changed[option] = axis


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
