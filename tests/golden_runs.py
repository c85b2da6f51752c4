"""Short runs whose every bit is on record: a change that is meant to change nothing is held against them.

``PYTHONPATH=tests python -m golden_runs`` records them anew, into ``tests/golden/runs.json``. Do that only for a change
that is meant to change results, and say in the commit which and why.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tests_support import start_ranks
from tiny_run import CONFIG, RandomViews, deterministic_algorithms

from frl.batch import Batch
from frl.config import RunConfig, Stage
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint
from frl.runtime.distributed import world
from frl.training.build import build
from frl.training.train import train

RECORD = Path(__file__).parent / "golden" / "runs.json"
METRICS = {  # name on record: name in the log
    "loss": "loss",
    "lr": "lr",
    "spread": "feature_std",
    "rank": "effective_rank",
    "prototypes_used": "prototypes_used",
    "prototype_entropy": "prototype_entropy",
    "assignment_entropy": "assignment_entropy",
}


@dataclass(frozen=True)
class Golden:
    """A run.

    Attributes:
        config: its options.
        ranks: processes that train it.
        ends: the steps at which a process ends; all but the last go on from a checkpoint.
        poisoned: steps with a pixel that is not finite.
    """

    config: RunConfig
    ranks: int = 1
    ends: tuple[int, ...] = (15,)
    poisoned: Collection[int] = field(default=())


def _with(**changes: Any) -> RunConfig:
    parts = {name: replace(getattr(CONFIG, name), **values) for name, values in changes.items() if name != "run"}
    return replace(CONFIG, **parts, **changes.get("run", {}))


NO_QUEUE = {"queue_length": 0}

RUNS = {
    "queue": Golden(CONFIG),
    "queue, resumed": Golden(CONFIG, ends=(7, 12, 15)),
    "no queue, plain SGD": Golden(_with(objective=NO_QUEUE, optim={"trust": 0.0, "lr": 0.05, "weight_decay": 1e-4})),
    "frozen prototypes": Golden(_with(objective={**NO_QUEUE, "freeze_prototypes_steps": 3}), ends=(8,)),
    "accumulation": Golden(_with(optim={"accumulate": 2})),
    "recomputation": Golden(_with(objective=NO_QUEUE, run={"recompute": True}), ends=(6,)),
    "stages": Golden(_with(augment={"stages": (Stage(until_epoch=1, sizes=(24, 16)),)}), ends=(9,)),
    "steps that are not finite": Golden(CONFIG, poisoned=(1, 9, 10)),
    "two ranks": Golden(CONFIG, ranks=2),
    "two ranks, resumed": Golden(CONFIG, ranks=2, ends=(6, 15)),
    "two ranks, synchronised": Golden(_with(model={"batch_norm": "sync"}), ranks=2, ends=(8,)),
    "two ranks, accumulation": Golden(_with(optim={"accumulate": 2}), ranks=2, ends=(8,)),
}


class StagedViews(RandomViews):
    """Of the sizes of their epoch; infinite in the poisoned steps."""

    poisoned: Collection[int] = ()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        whole = self.config
        self.config = replace(whole, augment=whole.augment.of_epoch(epoch))
        try:
            for step, batch in enumerate(super().epoch(epoch, start), epoch * len(self) + start):
                if step in self.poisoned and self.rank == 0:
                    batch.views[0][0, 0, 0, 0] = torch.inf
                yield batch
        finally:
            self.config = whole


def train_until(config: RunConfig, poisoned: Collection[int]) -> None:
    """Train as one of the ranks that the environment describes."""
    torch.set_num_threads(1)
    with deterministic_algorithms(), world("cpu") as place:
        loader = StagedViews(config, rank=place.rank, world_size=place.size)
        loader.poisoned = poisoned
        train(build(config, loader, place))


def perform(golden: Golden, out: Path) -> dict[str, Any]:
    """Carry out a run; its digests and metrics, JSON-ready."""
    for end in golden.ends:
        config = replace(golden.config, out=out, max_steps=end)
        ranks = start_ranks(train_until, golden.ranks, config, golden.poisoned, log=out.with_suffix(".log"))
        for process in ranks:
            process.join(280)
        assert all(process.exitcode == 0 for process in ranks), out.with_suffix(".log").read_text()
    state = checkpoint.load(checkpoint.path_of(out / "checkpoints", golden.ends[-1]))
    return digests(state) | {"metrics": metrics(out)}


def digests(state: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of a checkpoint's weights, momentum and queue."""
    momentum = state["optimiser"]["state"]
    return {
        "weights": digest(state["model"].items()),
        "momentum": digest((index, momentum[index]["momentum_buffer"]) for index in sorted(momentum)),
        "queue": digest([("queue", state["progress"]["queue"])]),
    }


def digest(tensors: Iterable[tuple[object, torch.Tensor]]) -> str:
    """SHA-256 of tensors in their order, whatever they are called."""
    whole = hashlib.sha256()
    for _, tensor in tensors:
        whole.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def metrics(out: Path) -> list[dict[str, float]]:
    """What was logged of the training, step by step."""
    lines = [line for line in read_metrics(out / "metrics.jsonl") if "loss" in line]
    return [{"step": line["step"], **{name: line[logged] for name, logged in METRICS.items()}} for line in lines]


def processor() -> str:
    """The kind of this processor, and torch's version: among the same ones arithmetic is equal bit for bit."""
    facts = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    kept = ("vendor_id", "cpu family", "model\t", "stepping", "cache size", "flags")
    kind = "\n".join(line for line in facts if line.startswith(kept))
    return hashlib.sha256(f"{kind}\n{torch.__version__}".encode()).hexdigest()[:16]


def record() -> None:
    """Carry out all runs and write what they gave, beside what other kinds of processors gave."""
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: perform(golden, Path(folder) / str(place)) for place, (name, golden) in enumerate(RUNS.items())}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(recorded | {processor(): found}, indent=1) + "\n")


if __name__ == "__main__":
    record()
