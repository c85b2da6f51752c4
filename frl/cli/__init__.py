"""The console command ``frl``: one module per sub-command, loaded only when it is called."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from difflib import get_close_matches

from frl import __version__, console
from frl.cli.repeated import require_once


@dataclass(frozen=True)
class Command:
    """A sub-command: the module whose ``main(arguments)`` runs it, and a line of help.

    Attributes:
        has_short_help: whether its ``--help`` shows the common options, and ``--help-all`` all.
    """

    module: str
    summary: str
    has_short_help: bool = False


COMMANDS = {
    "doctor": Command("frl.cli.doctor", "say what is installed, what is missing and how to get it"),
    "synthesize": Command("frl.cli.synthesize", "draw synthetic faces with ground truth, as VGGFace2 folders"),
    "write": Command("writers.to_beton", "turn folders of faces into a .beton", has_short_help=True),
    "merge": Command("frl.cli.merge", "join the shards of a job array into one .beton"),
    "info": Command("frl.cli.info", "say what is inside a .beton, and how it was made"),
    "verify": Command("frl.cli.verify", "check a .beton, with --deep every image in it"),
    "extract": Command("frl.cli.extract", "turn a .beton back into a folder of images"),
    "split": Command("frl.cli.split", "part the people of a .beton: some to train on, some to probe with"),
    "preview": Command("frl.cli.preview", "a picture of images and the crops the network will see"),
    "bench": Command("frl.cli.bench", "measure on this machine: bench loader, side by side with other loaders"),
    "pretrain": Command("frl.cli.pretrain", "pre-train on a .beton or a folder, on every GPU", has_short_help=True),
    "export": Command("frl.cli.export", "turn a checkpoint into weights for torchvision or the published snippet"),
    "push": Command("frl.cli.push", "publish a run's backbone on a model hub, with its card"),
    "pull": Command("frl.cli.pull", "fetch a network of a model hub, or a .beton of an object store"),
    "evaluate": Command("frl.cli.evaluate", "measure weights: verification, k-NN identity, landmarks, pose, ..."),
    "predict": Command("frl.cli.predict", "landmarks, expression, ... of photographs by a fine-tuned network"),
    "embed": Command("frl.cli.embed", "features of a folder or .beton as npz, csv or parquet"),
    "study": Command("frl.cli.study", "many runs and evaluations as one table: how much data, which objective, ..."),
    "completion": Command("frl.cli.completion", "complete commands and options in bash, zsh or fish"),
    "report": Command("frl.cli.report", "a page with pictures: trained against untrained and raw pixels"),
}


def usage() -> str:
    """The help of the command itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([f"frl {__version__}: face representations without labels", "", "usage: frl COMMAND [OPTIONS]", "",
                      *lines, "", "frl COMMAND --help lists its options; --help-all all of them."])  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; errors become a message on stderr and exit status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = arguments[0] if arguments else "--help"
    return console.run(f"frl {name}" if name in COMMANDS else "frl", lambda: _run(name, arguments))


def _run(name: str, arguments: list[str]) -> int | None:
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        meant = get_close_matches(name, COMMANDS, 1)
        asked = f" Is {meant[0]} meant?" if meant else ""
        print(f"frl: no command {name!r}.{asked} Commands: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    command, rest = COMMANDS[name], arguments[1:]
    require_once(rest)
    if not command.has_short_help:  # theirs is that of all options
        rest = ["--help" if argument == "--help-all" else argument for argument in rest]
    return importlib.import_module(command.module).main(rest)
