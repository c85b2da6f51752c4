"""``frl study STUDY --out FOLDER``: a grid of runs and evaluations as one table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import tyro

from frl.config.check import require_least
from frl.config.pairs import pairs
from frl.errors import ConfigError
from frl.files import atomic_write
from frl.printable import printable, printable_lines
from frl.study.figures import collect
from frl.study.grid import Study, read_study
from frl.study.perform import Failure, Here, Launcher, perform, steps_of

READY = resources.files("frl.study").joinpath("ready")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Train and judge every cell of a grid, each once, and make one table of it. The same command goes on."""

    study: tyro.conf.Positional[str]
    """A file of YAML or JSON, or the name of a study that comes with frl (--list)."""
    out: Path = Path("studies")
    """Folder for everything: steps that are done are not done again."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE for each $NAME in the file, such as --set faces=faces.beton (repeat the option)."""
    on: Literal["local", "slurm", "ray"] = "local"
    """Where the steps run, each a job; slurm: through submitit; ray: on the cluster of RAY_ADDRESS."""
    jobs: int = 1
    """Steps at once."""
    workers: int = 1
    """Cores of a job of slurm or ray."""
    on_options: tuple[str, ...] = ()
    """Of Slurm's jobs, as NAME=VALUE after submitit's names: partition=cpu time=120 gpus_per_node=1, say."""
    dry_run: bool = False
    """Print the commands, and run none."""


def main(arguments: list[str]) -> int:
    """Do what is not done yet, and write the table, the figures and the page."""
    if "--list" in arguments:
        print("\n".join(f"{name:<14} {study}" for name, study in ready().items()))
        return 0
    config = tyro.cli(StudyConfig, args=arguments, prog="frl study")
    require_least("jobs", config.jobs, 1, "The default is 1.")
    require_least("workers", config.workers, 1, "The default is 1.")
    study = read_study(find(config.study), pairs(config.set, "--set", "faces=faces.beton"))
    if config.dry_run:
        for step in steps_of(study.cells()):
            print(printable(" ".join(["frl", *step.arguments(config.out)])))
        return 0
    with terminated_as_interrupted():
        failures = perform(study.cells(), config.out, launcher(config))
    return write(study, failures, config.out)


def write(study: Study, failures: list[Failure], out: Path) -> int:
    """Write what is known so far; the exit status."""
    from frl.study.page import to_html  # matplotlib, which a refusal does not need to load
    from frl.study.table import tabulate, to_csv, to_markdown

    figures = collect(study, study.cells(), out)
    if figures:
        table = tabulate(study, figures)
        texts = {
            "study.md": f"# {study.title}\n\n{study.text}\n\n{to_markdown(table)}\n",
            "study.csv": to_csv(study, figures),
            "study.html": to_html(study, table, failures),
        }
        for name, text in texts.items():
            with atomic_write(out / name) as stream:
                stream.write(text.encode())
        print(f"\n{to_markdown(table)}\n\n{printable(out / 'study.html')}")
    for failure in failures:
        print(printable_lines(f"{failure.step.folder(out)}: {failure.reason}"), file=sys.stderr)
    return int(bool(failures))


def launcher(config: StudyConfig) -> Launcher:
    """Where the steps run."""
    options = pairs(config.on_options, "--on-options", "partition=cpu")
    if options and config.on != "slurm":
        raise ConfigError("--on-options", f"options of Slurm's jobs, but --on is {config.on}", "Give --on slurm.")
    if config.on == "local":
        return Here(config.jobs)
    from frl.runtime.clusters import Ray, Slurm  # which packages they need is seen here
    from frl.study.elsewhere import Elsewhere

    folder = config.out.absolute()
    slurm = config.on == "slurm"
    return Elsewhere(Slurm("frl-study", folder, config.workers, options) if slurm else Ray(config.workers), config.jobs)


def find(name: str) -> Path:
    """The file of a study, or of one that comes with frl.

    Raises:
        ConfigError: if it is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in ready():
        return Path(str(READY.joinpath(f"{name}.yaml")))
    raise ConfigError(name, "is no file and no study that comes with frl", f"Known are {', '.join(ready())}.")


def ready() -> dict[str, str]:
    """The studies that come with frl, and their titles."""
    files = sorted((entry for entry in READY.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return {file.name.removesuffix(".yaml"): _title(file.read_text(encoding="utf-8")) for file in files}


def _title(text: str) -> str:
    return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("title:"))


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is treated as Ctrl-C: what runs is asked to end, and the same command goes on."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
