"""``frl bench loader ...``: measure on this machine."""

from __future__ import annotations

import importlib

from frl.errors import ConfigError

BENCHMARKS = {"loader": "pipelines.benchmark", "report": "pipelines.benchmark.render"}


def main(arguments: list[str]) -> None:
    """Run the benchmark of that name.

    Raises:
        ConfigError: if there is none.
    """
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        print(f"usage: frl bench {{{','.join(BENCHMARKS)}}} [OPTIONS]")
        raise SystemExit(0)
    if name not in BENCHMARKS:
        raise ConfigError("the benchmark", f"there is no benchmark {name!r}", f"Known are {', '.join(BENCHMARKS)}.")
    importlib.import_module(BENCHMARKS[name]).main(arguments[1:])
