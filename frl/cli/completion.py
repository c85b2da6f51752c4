"""``frl completion bash|zsh|fish``: what a shell needs to complete commands, presets and options.

Modules that import PyTorch are read rather than imported: a shell that starts should not wait for it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import tyro

import frl
from frl.cli.shells import SHELLS, script
from frl.options import fields_in, options_of
from frl.presets import PRESETS

PACKAGES = Path(frl.__file__).parents[1]

ALWAYS = ("--help", "--help-all")

OF_PRETRAIN = ("--list", "--config", "--print-config", "--processes", "--objective")
"""What ``frl pretrain`` takes besides its configuration."""

EVALUATIONS = "EVALUATIONS"
"""What a module calls the configurations of which a command has several, by the words that choose between them."""


@dataclass(frozen=True)
class CompletionConfig:
    """Print what a shell needs to complete the commands of frl: eval "$(frl completion bash)" in ~/.bashrc;
    eval "$(frl completion zsh)" in ~/.zshrc; frl completion fish > ~/.config/fish/completions/frl.fish."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Which one."""


def main(arguments: list[str]) -> None:
    """Print the script."""
    config = tyro.cli(CompletionConfig, args=arguments, prog="frl completion")
    print(completed(config.shell))


def completed(shell: str) -> str:
    """The script for a shell, one of ``SHELLS``."""
    from frl.cli import COMMANDS

    words = {name: sorted({*ALWAYS, *words_of(name)}) for name in COMMANDS}
    return script(shell, {name: command.summary for name, command in COMMANDS.items()}, words)


def words_of(command: str) -> Sequence[str]:
    """The options and fixed words that a command takes."""
    if command == "pretrain":
        return [*PRESETS, *OF_PRETRAIN, *_flags_of(PRESETS["vggface2"].config)]
    if command == "write":
        from writers.config import WriteConfig

        return [*_flags_of(WriteConfig), "--label-column"]
    if command == "bench":
        from frl.cli.bench import BENCHMARKS

        return list(BENCHMARKS)
    if command == "completion":
        return SHELLS
    if command == "study":
        return [*_written_in(command), "--list"]
    return list(_written_in(command))


def _flags_of(config: object, prefix: str = "--") -> Iterator[str]:
    """The options of a configuration that can be imported; of a switch that is on, the one that turns it off."""
    for option in options_of(config, prefix):
        head, dot, name = option.flag.removeprefix("--").rpartition(".")
        yield f"--{head}{dot}no-{name}" if option.default == "yes" and not option.takes else option.flag


class _Module(NamedTuple):
    """A module as it is written."""

    name: str
    tree: ast.Module

    @classmethod
    def read(cls, name: str) -> _Module:
        path = PACKAGES.joinpath(*name.split("."))  # importlib would import the packages around it
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return cls(name, ast.parse(file.read_text(encoding="utf-8")))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self.tree.body if isinstance(node, ast.ClassDef))

    def origin(self, name: str) -> str | None:
        """The module of ours that a name is imported from."""
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                return node.module if node.module and node.module.split(".")[0] == "frl" else None
        return None

    def find(self, name: str) -> tuple[_Module, ast.ClassDef] | None:
        """A class that is written here or in the module that it is imported from."""
        for body in self.classes():
            if body.name == name:
                return self, body
        origin = self.origin(name)
        return _Module.read(origin).find(name) if origin is not None else None

    def part(self, kind: str) -> type | None:
        """The configuration, free of PyTorch, that a field holds by its type; None: it holds something else."""
        origin = self.origin(kind)
        if origin is None or not origin.startswith("frl.config"):
            return None
        found = getattr(importlib.import_module(origin), kind)
        return found if dataclasses.is_dataclass(found) and isinstance(found, type) else None

    def flags(self, body: ast.ClassDef) -> Iterator[str]:
        """The options that tyro makes of a configuration, those that it inherits among them."""
        for base in body.bases:
            found = self.find(ast.unparse(base))
            if found is not None:
                yield from found[0].flags(found[1])
        told = {name for name, text in fields_in(body) if text}
        for field in body.body:
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            name, kind = field.target.id, ast.unparse(field.annotation)
            if name not in told or "Positional" in kind or kind.startswith("ClassVar"):
                continue
            flag = name.replace("_", "-")
            if part := self.part(kind):
                yield from _flags_of(part, f"--{flag}.")
            else:
                is_on = isinstance(field.value, ast.Constant) and field.value.value is True
                yield f"--no-{flag}" if is_on else f"--{flag}"


def _written_in(command: str) -> Iterator[str]:
    """The fields of the configurations that stand in a command's module as options, and the words between them."""
    from frl.cli import COMMANDS

    module = _Module.read(COMMANDS[command].module)
    for node in module.tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == EVALUATIONS:
            assert isinstance(node.value, ast.Dict)
            for word, kind in zip(node.value.keys, node.value.values, strict=True):
                assert isinstance(word, ast.Constant)
                yield str(word.value)
                found = module.find(ast.unparse(kind))
                assert found is not None
                yield from found[0].flags(found[1])
    for body in module.classes():
        if _is_configuration(body):
            yield from module.flags(body)


def _is_configuration(body: ast.ClassDef) -> bool:
    """Whether a class is a dataclass whose fields have help."""
    decorated = any("dataclass" in ast.unparse(decorator) for decorator in body.decorator_list)
    return decorated and any(told for _, told in fields_in(body))
