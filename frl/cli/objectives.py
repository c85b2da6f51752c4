"""``--objective``: one of frl's objectives by its name, or one of the user's own by where it is defined."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from frl.config import ObjectiveConfig, RunConfig
from frl.errors import ConfigError

OPTION = "--objective"
HELP = f"{OPTION} NAME trains another objective, with its default options; {OPTION} PLACE:CLASS one of your own: \
PLACE is a file or a module, CLASS its configuration (mine.py:MyConfig)."


def with_objective(config: RunConfig, arguments: Sequence[str]) -> tuple[RunConfig, list[str]]:
    """The objective that ``arguments`` name in the place of that of ``config``, and the other arguments.

    If they name none, or the one that ``config`` has, it keeps its options.

    Raises:
        ConfigError: if there is no such objective, or an argument is an option of none or of another one.
    """
    named, others = _taken_out(arguments)
    if len(named) > 1:
        raise ConfigError(OPTION, f"is given {len(named)} times ({', '.join(named)})", "Give it once.")
    if named and find(named[0]) is not type(config.objective):
        config = replace(config, objective=find(named[0])())
    _require_its_own(config.objective, others)
    return config, others


def define(arguments: Sequence[str]) -> None:
    """Let the objectives that ``arguments`` name be known by their names."""
    for name in _taken_out(arguments)[0]:
        find(name)


def find(name: str) -> type[ObjectiveConfig]:
    """The configuration of a known objective, or of one that is defined elsewhere: ``mine.py:MyConfig``.

    Raises:
        ConfigError: if there is none; the message says which there are.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon:
        return _known(name)
    module = _from_file(name, Path(place)) if place.endswith(".py") else _imported(name, place)
    kind = getattr(module, attribute, None)
    if not isinstance(kind, type) or not issubclass(kind, ObjectiveConfig):
        defined = [config.__name__ for config in ObjectiveConfig.known.values() if config.__module__ == module.__name__]
        cause = f"{place} defines no configuration of an objective of that name"
        raise ConfigError(f"{OPTION} {name}", cause, f"It defines: {', '.join(defined) or 'none'} (docs/extending.md).")
    from frl.training.build import implementation  # brings torch with it, which frl's own objectives do not need here

    implementation(kind())  # refused here rather than once the data are open
    return kind


def listing() -> str:
    """A line for every objective of frl."""
    kinds = ObjectiveConfig.known.values()
    return "\n".join(f"{kind.name}: {(kind.__doc__ or '').partition(chr(10))[0]}" for kind in kinds)


def _taken_out(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The values of ``--objective``, and all that is not about it."""
    named, others, waiting = [], [], iter(arguments)
    for argument in waiting:
        option, given, value = argument.partition("=")
        if option == OPTION:
            named.append(value if given else next(waiting, ""))
        else:
            others.append(argument)
    return named, others


def _known(name: str) -> type[ObjectiveConfig]:
    if name not in ObjectiveConfig.known:
        meant = get_close_matches(name, ObjectiveConfig.known, 1)
        known = ", ".join(ObjectiveConfig.known)
        remedy = f"{f'Is {meant[0]} meant? ' if meant else ''}Known are {known}; one of your own is mine.py:MyConfig."
        raise ConfigError(OPTION, f"there is no objective {name!r}", remedy)
    return ObjectiveConfig.known[name]


def _from_file(name: str, file: Path) -> ModuleType:
    """The module in ``file``. Its folder is searched last, so that what lies there stands in for no other module."""
    if not file.is_file():
        raise ConfigError(f"{OPTION} {name}", f"{file}: no such file", "Check the path.")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = _imported(name, file.stem)
    if Path(module.__file__ or "").resolve() != file.resolve():
        cause = f"another module is called {file.stem} ({module.__file__ or 'built in'})"
        raise ConfigError(f"{OPTION} {name}", cause, "Rename the file.")
    return module


def _imported(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever somebody's module raises is a fault of that module
        cause = f"{module or 'a module without a name'} cannot be imported ({type(error).__name__}: {error})"
        raise ConfigError(f"{OPTION} {name}", cause, "Correct it, install it, or name its file.") from error


def _require_its_own(objective: ObjectiveConfig, arguments: Sequence[str]) -> None:
    """Refuse options of another objective, whose names would tell nobody why they are unknown."""
    ours = [field.name for field in fields(objective)]
    for argument in arguments:
        option = argument.partition("=")[0]
        if not option.startswith(f"{OPTION}."):
            continue
        name = option.removeprefix(f"{OPTION}.").partition(".")[0].replace("-", "_")
        if {name, name.removeprefix("no_")}.isdisjoint(ours):
            raise ConfigError(option, f"{objective.name} has no such option", _remedy(name, ours))


def _remedy(name: str, ours: Sequence[str]) -> str:
    owners = [kind.name for kind in ObjectiveConfig.known.values() if name in {field.name for field in fields(kind)}]
    if owners:
        return f"It belongs to {' and '.join(owners)}: add {OPTION} {owners[0]}, or leave it out."
    dashed = [option.replace("_", "-") for option in ours]
    meant = get_close_matches(name.replace("_", "-"), dashed, 1)
    return f"{f'Is {meant[0]} meant? ' if meant else ''}Its options: {', '.join(dashed) or 'none'}."
