"""``frl completion bash|zsh|fish``: what a shell needs to complete commands, presets and options.

Modules that import PyTorch are read rather than imported: a shell that starts should not wait for it.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from frl.options import fields_in, options_of
from frl.presets import PRESETS

SHELLS = ("bash", "zsh", "fish")
ALWAYS = ("--help", "--help-all")

OF_PRETRAIN = ("--list", "--config", "--print-config", "--processes", "--objective")
"""What ``frl pretrain`` takes besides its configuration."""


@dataclass(frozen=True)
class CompletionConfig:
    """Print what a shell needs to complete the commands of frl: eval "$(frl completion bash)" in ~/.bashrc or ~/.zshrc;
    frl completion fish > ~/.config/fish/completions/frl.fish."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Which one."""


def main(arguments: list[str]) -> None:
    """Print the script."""
    config = tyro.cli(CompletionConfig, args=arguments, prog="frl completion")
    print(script(config.shell))


def script(shell: str) -> str:
    """The script for one of ``SHELLS``."""
    from frl.cli import COMMANDS

    words = {name: sorted({*ALWAYS, *words_of(name)}) for name in COMMANDS}
    if shell == "fish":
        lines = [f"complete -c frl -n __fish_use_subcommand -f -a {name} -d '{command.summary}'"
                 for name, command in COMMANDS.items()]  # fmt: skip
        for name, found in words.items():
            seen = f"-n '__fish_seen_subcommand_from {name}'"
            lines += [f"complete -c frl {seen} -l {word[2:]}" for word in found if word.startswith("--")]
            lines += [f"complete -c frl {seen} -a {word}" for word in found if not word.startswith("--")]
        return "\n".join(lines)
    cases = "\n".join(f'        {name}) words="{" ".join(found)}" ;;' for name, found in words.items())
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return start + BASH.replace("@COMMANDS@", " ".join(COMMANDS)).replace("@CASES@", cases)


BASH = """_frl() {
    local words=""
    case "${COMP_WORDS[1]}" in
@CASES@
    esac
    [ "$COMP_CWORD" -eq 1 ] && words="@COMMANDS@"
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _frl frl"""
"""bash knows no words of a command that it was not told: files are completed by default."""


def words_of(command: str) -> Sequence[str]:
    """The options and fixed words that a command takes."""
    if command == "pretrain":
        return [*PRESETS, *OF_PRETRAIN, *(option.flag for option in options_of(PRESETS["vggface2"].config))]
    if command == "write":
        from writers.config import WriteConfig

        return [option.flag for option in options_of(WriteConfig)]
    if command == "bench":
        from frl.cli.bench import BENCHMARKS

        return list(BENCHMARKS)
    if command == "completion":
        return SHELLS
    return list(_written_in(command))


def _written_in(command: str) -> Iterator[str]:
    """The fields of the configurations that stand in a command's module, or in those of its folder, as options."""
    from frl.cli import COMMANDS

    spec = importlib.util.find_spec(COMMANDS[command].module)
    assert spec is not None and spec.origin is not None
    origin = Path(spec.origin)
    several = origin.name == "__init__.py"
    for path in sorted(origin.parent.glob("*.py")) if several else [origin]:
        for body in ast.parse(path.read_text()).body:
            if isinstance(body, ast.ClassDef) and _is_configuration(body):
                yield from (f"--{name.replace('_', '-')}" for name in _options(body))
        if several and path != origin:
            yield path.stem.replace("_", "-")


def _options(body: ast.ClassDef) -> Iterator[str]:
    positional = {
        statement.target.id
        for statement in body.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and "Positional" in ast.unparse(statement.annotation)
    }
    return (name for name, told in fields_in(body) if told and name not in positional)


def _is_configuration(body: ast.ClassDef) -> bool:
    """Whether a class is a dataclass whose fields have help."""
    decorated = any("dataclass" in ast.unparse(decorator) for decorator in body.decorator_list)
    return decorated and any(told for _, told in fields_in(body))
