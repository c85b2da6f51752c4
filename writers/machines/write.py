"""``frl write --on``: shards out, one file in, as if one machine had written it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from frl.beton.card import leave_card
from frl.beton.manifest import Manifest, rejects_path
from frl.beton.merge import merge
from frl.beton.shard import Shard
from frl.config import as_dict
from frl.config.check import require_new_folder
from frl.errors import ConfigError, WriteError
from frl.printable import abridged, printable
from frl.runtime.clusters import JOBS, Engine, Jobs, Outcome, Ray, Slurm
from writers.config import WriteConfig, on_options
from writers.machines.local import Local
from writers.machines.task import ShardTask
from writers.outlet import EXCESS
from writers.reject import Reason
from writers.stop import StopRequest

LOOK_S = 0.2
"""Seconds between two looks at the jobs."""

OF_THE_PLACE = ("out", "scratch", "on", "on_options", "workers", "overwrite", "max_rejects")
"""Options that may be others when the work goes on: they shape no shard."""

NOTE = "command.json"
"""Holds the options, in the folder of the shards."""

OURS = re.compile(rf"\.?shard-\d{{5,}}\..*|{re.escape(NOTE)}", re.DOTALL)
"""The names of our files there."""

TIMES = 3
"""How often a shard is tried whose worker gets lost."""


def write_on(config: WriteConfig, stop: StopRequest, tell: Callable[[Sequence[str]], None]) -> Manifest:
    """Write ``config.out`` by ``config.shards`` jobs of ``config.on``, and join their files.

    The shards lie in ``OUT.shards``, which all machines must see; when the file is whole they are removed, and nothing
    else. After a kill the same command goes on: shards that are there are kept, and one that was begun is gone on with.

    Args:
        config: the options.
        stop: whether to end early.
        tell: told once what of the data given is not used, or only in part.

    Raises:
        Stopped: if it was to end early; the jobs are ended, and what they wrote is kept.
        ConfigError: if the engine cannot be used, or the folder holds what is not this command's.
        WriteError: if a shard's worker is lost again and again, or more images are unusable than the user allows.
        Whatever goes wrong with a shard.
    """
    assert config.shards is not None, "validate() saw to it"
    folder = Path(f"{config.out.absolute()}.shards")
    require_new_folder(folder, "on")
    folder.mkdir(exist_ok=True)
    _require_same_work(folder, config)
    tasks = [
        ShardTask(config, Shard(number, config.shards), folder, Path.cwd()) for number in range(1, config.shards + 1)
    ]
    try:
        engine = _engine(config, folder)
        _Shards(Jobs(engine, list(tasks), engine.at_once), config, tell).run(stop)
    except BaseException:
        if not any(folder.glob("*.beton*")):  # nothing was begun that another command could take for its own
            _tidy(folder)
        raise
    manifest = merge([task.path for task in tasks], config.out, overwrite=config.overwrite)
    if complaint := leave_card(config.out):
        tqdm.write(printable(complaint), file=sys.stderr)
    _tidy(folder)
    return manifest


def _engine(config: WriteConfig, folder: Path) -> Engine:
    if config.on == "slurm":
        return Slurm("frl-write", folder, config.workers, on_options(config))
    return Ray(config.workers) if config.on == "ray" else Local(config.workers)


def _require_same_work(folder: Path, config: WriteConfig) -> None:
    """Refuse shards that another command has begun: they would be taken for this one's. Refuse files of the user's own,
    too: only in a folder that was empty is everything ours to remove.

    Raises:
        ConfigError: naming the options that differ.
    """
    note = folder / NOTE
    now = {name: value for name, value in as_dict(config).items() if name not in OF_THE_PLACE}
    if (begun := _begun(note)) is None:
        if others := sorted(path.name for path in folder.iterdir() if path != note):
            cause = f"{folder} holds files that are not of this command ({abridged(others)})"
            raise ConfigError("--on", cause, "Move them elsewhere, or give another --out.")
        note.write_text(json.dumps(now))
    elif differences := [f"{name} = {begun.get(name)}" for name in now if begun.get(name) != now[name]]:
        cause = f"{folder} was begun with {', '.join(differences)}"
        raise ConfigError("--on", cause, f"Give the same options, or delete {folder}.")


def _begun(note: Path) -> dict[str, Any] | None:
    """The options with which a folder was begun; None: they are not there whole, so that no shard was begun, either."""
    try:
        return dict(json.loads(note.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _tidy(folder: Path) -> None:
    """Remove what this command has put into its folder; and the folder, unless the user has put something there."""
    shutil.rmtree(folder / JOBS, ignore_errors=True)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


@dataclass
class _Shards:
    """The tasks and who runs them."""

    jobs: Jobs[ShardTask]
    config: WriteConfig
    tell: Callable[[Sequence[str]], None]
    lost: Counter[int] = field(default_factory=Counter)
    unusable: int = 0
    told: bool = False

    def run(self, stop: StopRequest) -> None:
        """Until all are done; if one fails or it is to stop, the others end."""
        tasks: Sequence[ShardTask] = tuple(self.jobs.waiting)
        with tqdm(total=0, unit="img", desc=f"{len(tasks)} shards", disable=None) as bar:

            def look() -> None:
                _show(bar, tasks)
                self._tell_once(tasks)
                time.sleep(LOOK_S)
                stop.check()

            stop.check()
            self.jobs.run(self._take, look)

    def _take(self, task: ShardTask, outcome: Outcome) -> None:
        if outcome.answer is not None:
            raise outcome.answer
        if outcome.lost is not None:
            self._replace(task, outcome.lost)
        else:
            self._count_unusable(task)

    def _count_unusable(self, task: ShardTask) -> None:
        """Each shard keeps to the limit by itself; here it is that of all."""
        if (allowed := self.config.max_rejects) is None or (manifest := Manifest.load(task.path)) is None:
            return
        self.unusable += manifest.counts.get(Reason.UNUSABLE, 0)
        if self.unusable > allowed:
            where = rejects_path(task.path)
            cause = f"rejects of this shard and those done before: {self.unusable:,}, --max-rejects: {allowed:,}"
            raise WriteError(f"shard {task.shard}", f"{cause} (why: {where})", EXCESS)

    def _tell_once(self, tasks: Sequence[ShardTask]) -> None:
        """What is to be said of the data, as soon as a shard has listed them."""
        lines = None if self.told else next((told for task in tasks if (told := task.told()) is not None), None)
        if lines is not None:
            self.told = True
            self.tell(lines)

    def _replace(self, task: ShardTask, cause: str) -> None:
        """Try a task again whose worker was lost: another goes on with what that one left."""
        self.lost[task.shard.number] += 1
        if self.lost[task.shard.number] >= TIMES:
            raise WriteError(f"shard {task.shard}", f"its worker was lost {TIMES} times ({cause})", "Look at its log.")
        tqdm.write(printable(f"shard {task.shard}: {cause}; another worker goes on"), file=sys.stderr)
        self.jobs.waiting.append(task)


def _show(bar: Any, tasks: Sequence[ShardTask]) -> None:
    """All shards in one bar."""
    known = [progress for task in tasks if (progress := task.progress()) is not None]
    bar.total = sum(progress.total for progress in known)
    bar.n = sum(progress.done for progress in known)
    bar.refresh()
