"""Check on a GPU what no other machine can show, in order, and stop at the first surprise."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from gpu import Bench, BenchConfig
from gpu_suite import run_tests, write_faces

from frl import console
from frl.config import AugmentConfig, DataConfig, OptimConfig, RunConfig, SwAVConfig
from frl.monitoring.logbook import read_metrics
from frl.objectives import Setting
from frl.objectives.swav import SwAV
from frl.runtime import checkpoint
from frl.runtime.distributed import World
from frl.runtime.environment import facts
from frl.runtime.numerics import numerics
from frl.training.build import build_step
from pipelines.loader import make_loader

ROOT = Path(__file__).parents[2]
LIMIT = 600  # seconds for a run of the command; the first on a machine compiles the network, in several ways
ONE_RANK_FAILS = 60  # seconds from the start until both ranks have ended
ENGINES = {"threads": "simplejpeg", "ffcv": "ffcv", "torch": "PIL", "dali": "nvidia.dali"}
"""Each with the package that decodes for it."""
LARGE = 1 << 20  # bytes; smaller copies are of labels and plans
Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FirstMinute:
    """Which checks, and where."""

    device: Literal["cuda", "cpu"] = "cuda"
    """cpu: what makes sense without a GPU, on small inputs."""
    skip: tuple[str, ...] = ()
    """Checks to leave out, by their names."""
    keep_going: bool = False
    """Make the other checks after a surprise, too: where time on a GPU is short, one visit shows all there is."""


class SurpriseError(Exception):
    """Something is not as it should be; the message says what was found."""


class SkippedError(Exception):
    """A check that makes no sense here; the message says why."""


class Checks:
    """The checks. Each returns what it found, or raises ``SurpriseError``."""

    def __init__(self, device: str, folder: Path) -> None:
        self.device = torch.device(device)
        self.on_gpu = device == "cuda"
        self.folder = folder
        self.faces = folder / "faces.beton"
        self.side, images = (256, 4096) if self.on_gpu else (40, 48)
        write_faces(self.faces, images, self.side)

    def twice_alike(self) -> str:
        """20 steps twice, bit for bit."""
        steps = 20 if self.on_gpu else 4
        states = []
        for name in ("one", "other"):
            self.pretrain(self.folder / name, "--deterministic", "--max-steps", str(steps))
            states.append(checkpoint.load(checkpoint.path_of(self.folder / name / "checkpoints", steps)))
        differing = [name for name, value in states[0]["model"].items() if not value.equal(states[1]["model"][name])]
        expect(not differing, f"after {steps} steps {len(differing)} tensors differ, the first {differing[:1]}")
        return f"{len(states[0]['model'])} tensors equal after {steps} steps"

    def score(self) -> str:
        """Similarities to prototypes against float64: no TF32, no bf16."""
        torch.manual_seed(0)
        with numerics(self.device), torch.autocast(self.device.type, torch.bfloat16):
            config, setting = SwAVConfig(hidden_dim=8), Setting(crop_counts=(2, 6), batch_size=256)
            objective = SwAV(config, torch.nn.Identity(), 8, setting).to(self.device)
            features = torch.nn.functional.normalize(
                torch.randn(2, 256, config.feature_dim, device=self.device), dim=-1
            )
            found = objective.score(features)
        exact = features.double() @ objective.prototypes.weight.double().T
        error = (found - exact).abs().max().item()
        expect(error < 2e-6, f"a similarity is off by {error:.1e}")
        return f"off by {error:.1e} at most"

    def copies(self) -> str:
        """Copies to the GPU beside kernels, in a trace of the loader and the step."""
        self.needs_gpu("there is nothing to copy")
        trace = self.folder / "trace.json"
        world = World(rank=0, size=1, local_rank=0, local_size=1, device=self.device)
        config = RunConfig(precision="bf16", compile="off", optim=OptimConfig(batch_size=128))
        with numerics(self.device):
            step = build_step(config, 32, world)
            data = DataConfig(data=(self.faces,), augment_on="cpu")
            loader = make_loader(
                data, AugmentConfig(), batch_size=128, seed=0, device=self.device, dtype=torch.bfloat16, compile=False
            )
            with closing(loader), closing(loader.epoch(0)) as batches:  # type: ignore[type-var]
                for _ in range(4):
                    step(next(batches).views)
                with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as profile:
                    for _ in range(8):
                        step(next(batches).views)
                    torch.cuda.synchronize()
        del step, batches, loader
        torch.cuda.empty_cache()  # for the runs to come
        profile.export_chrome_trace(str(trace))
        share = overlapped_share(json.loads(trace.read_text())["traceEvents"])
        expect(share > 0.5, f"only {share:.0%} of the time of large copies has a kernel beside it")
        return f"{share:.0%} of the time of large copies has a kernel beside it"

    def data_wait(self) -> str:
        """How long a step waits for each engine that is installed."""
        told = []
        for engine in (name for name, package in ENGINES.items() if installed(package)):
            out, steps = self.folder / f"engine-{engine}", "30" if self.on_gpu else "4"
            every = ["--log-every-steps", "10" if self.on_gpu else "2"]
            self.pretrain(out, "--engine", engine, "--max-steps", steps, "--compile", "off", *every)
            waits = [line["data_wait"] for line in read_metrics(out / "metrics.jsonl") if "data_wait" in line]
            expect(not self.on_gpu or waits[-1] < 0.05, f"with {engine} a step waits {waits[-1]:.0%} of its time")
            told.append(f"{engine} {waits[-1]:.0%}")
        return ", ".join(told) + ("" if self.on_gpu else " (no bound on a CPU)")

    def one_of_two_fails(self) -> str:
        """An image that does not decode ends the rank that meets it; the other must not wait for it."""
        broken = self.folder / "broken.beton"
        write_faces(broken, 64, self.side, broken=3)
        device = "cuda" if torch.cuda.device_count() > 1 else "cpu"
        launch = ["-m", "frl.runtime.launch", "--standalone", "--nproc-per-node", "2", "-m", "frl.cli"]
        options = ["--device", device, "--optim.batch-size", "8", "--max-steps", "8"]
        options += ["--on-broken", "raise", "--compile", "off", *(SMALL_SECOND if self.on_gpu else ())]
        started = time.monotonic()
        done = command([*launch, *self.arguments(self.folder / "broken", broken, *SMALL, *options)], cwd=self.folder)
        seconds = time.monotonic() - started
        expect(done.returncode != 0, "both went on as if every image had decoded")
        expect("3.jpg" in done.stdout + done.stderr, f"the image is not named: {last(done)}")
        # Both start and compile nothing within it.
        expect(seconds < ONE_RANK_FAILS or not self.on_gpu, f"it took {seconds:.0f} s until both had ended")
        return f"both ended on {device}, {seconds:.0f} s after their start"

    def batch_search(self) -> str:
        """The largest batch that was found, by the step that it was found for."""
        self.needs_gpu("the search tries a GPU's memory")
        out = self.folder / "search"
        few = ("--max-steps", "3", "--log-every-steps", "1", "--compile", "off")
        self.pretrain(out, "--optim.batch-size", "0", *few)
        batch = json.loads((out / "config.json").read_text())["optim"]["batch_size"]
        used = facts(self.device)["device_ram_gib"]
        peak = max(line["memory_gib"] for line in read_metrics(out / "metrics.jsonl") if "memory_gib" in line)
        expect(peak > 0.6 * used, f"a batch of {batch} takes {peak:.0f} of {used:.0f} GiB: a larger one would fit")
        return f"{batch} images take {peak:.0f} of {used:.0f} GiB"

    def one_context(self) -> str:
        """Neither loaders nor helpers of a run have a context on the GPU: each would take half a gigabyte."""
        self.needs_gpu("there are no contexts")
        out = self.folder / "contexts"
        arguments = [sys.executable, "-m", "frl.cli", *self.arguments(out, self.faces, *BRIEF)]
        torch.zeros(1, device=self.device)  # so that this process has one
        before = processes_on_gpus()
        if not before:
            raise SkippedError("nvidia-smi names no process here, not even this one, as in many containers")
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            most = 0
            while run.poll() is None:
                most = max(most, processes_on_gpus() - before)
                time.sleep(0.5)
        expect(run.returncode == 0, f"the run ended with status {run.returncode}")
        expect(most == 1, f"{most} processes had a context")
        return "one process had a context"

    def tests(self) -> str:
        """The tests of tests/gpu."""
        found = run_tests()
        expect(not found.get("failed") and "passed" in found, f"failed: {found}")
        return f"{found['passed']} passed, {found['skipped']} skipped"

    def kernels(self) -> str:
        """The kernels written in Triton: the compiled graph's views; and how fast they are beside it."""
        if not self.on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
            raise SkippedError("without a GPU they need TRITON_INTERPRET=1")
        bench = Bench(BenchConfig(device="cuda" if self.on_gpu else "cpu", batches=(256,)))
        differences = [(a - b).abs() for a, b in zip(bench.levels("kernels"), bench.levels("graph"), strict=True)]
        mean, most = (max(map(pick, differences)).item() for pick in (torch.mean, torch.max))
        # Both round in half precision, which contrast and hue stretch.
        expect(mean < 0.1 and most < 4, f"their views are off by {mean:.2g} levels on average, {most:.2g} at most")
        found = f"off by {mean:.2g} levels on average, {most:.2g} at most"
        if not self.on_gpu:
            return f"{found} (no speed without a GPU)"
        (batch,) = bench.work.batches
        kernels, graph = bench.augment(batch, "kernels")["images_s"], bench.augment(batch, "graph")["images_s"]
        return f"{found}; {kernels:,.0f} images/s, the compiled graph {graph:,.0f}"

    def pretrain(self, out: Path, *options: str) -> None:
        """A run of the command on this device."""
        small = () if self.on_gpu else SMALL
        usual = ("--optim.batch-size", "128" if self.on_gpu else "8")
        batch = () if usual[0] in options else usual
        device = ("--device", self.device.type)
        done = command(["-m", "frl.cli", *self.arguments(out, self.faces, *small, *device, *batch, *options)])
        expect(done.returncode == 0, f"frl pretrain ended with status {done.returncode}: {last(done)}")

    def arguments(self, out: Path, data: Path, *options: str) -> list[str]:
        """Of frl for a run."""
        preset = "vggface2" if self.on_gpu else "cpu"
        return ["pretrain", preset, "--data", str(data), "--out", str(out), *options]

    def needs_gpu(self, why: str) -> None:
        """Leave a check out without a GPU."""
        if not self.on_gpu:
            raise SkippedError(f"{why} without a GPU")


BRIEF = ("--optim.batch-size", "128", "--max-steps", "100", "--compile", "off")
SMALL = (
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--objective.prototypes", "12", "--objective.queue-length", "0"),
)
SMALL_SECOND = ("--augment.crops.1.size", "16", "--augment.crops.1.count", "1")  # vggface2 has a second resolution


def expect(truth: bool, otherwise: str) -> None:
    """Raise a surprise unless something is as expected."""
    if not truth:
        raise SurpriseError(otherwise)


def command(arguments: Sequence[str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python with an end."""
    try:
        return subprocess.run(
            [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SurpriseError(f"it did not end within {LIMIT} s: {' '.join(arguments)}") from error


def last(done: subprocess.CompletedProcess[str]) -> str:
    """The end of what a command said."""
    return " | ".join((done.stdout + done.stderr).strip().splitlines()[-5:])


def installed(package: str) -> bool:
    """Whether a package is there; it is not imported."""
    parent = package.partition(".")[0]
    return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(package) is not None


def processes_on_gpus() -> int:
    """How many processes have a context, as the driver counts them; 0 where it does not say."""
    query = ["nvidia-smi", "--query-compute-apps=gpu_uuid,used_memory", "--format=csv,noheader"]
    if shutil.which(query[0]) is None:
        return 0
    said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    return sum("," in line for line in said.splitlines())  # anything else is a sentence


def overlapped_share(events: Iterable[dict[str, Any]]) -> float:
    """The share of the time of large copies to the device during which a kernel runs on another stream.

    Args:
        events: of a trace in Chrome's format: microseconds ``ts`` and ``dur``, stream and bytes in ``args``.
    """
    copies, kernels = [], []
    for event in events:
        span = (event.get("ts", 0.0), event.get("ts", 0.0) + event.get("dur", 0.0))
        arguments = event.get("args", {})
        if event.get("cat") == "gpu_memcpy" and "HtoD" in event["name"] and arguments.get("bytes", 0) >= LARGE:
            copies.append((span, arguments.get("stream")))
        elif event.get("cat") == "kernel":
            kernels.append((span, arguments.get("stream")))
    total = sum(end - begin for (begin, end), _ in copies)
    expect(total > 0, "the trace shows no large copy to the device")
    beside = [common(span, [other for other, where in kernels if where != stream]) for span, stream in copies]
    return sum(beside) / total


def common(span: Span, others: Iterable[Span]) -> float:
    """How long some of ``others`` lasts within ``span``; where several do, it counts once."""
    shared, reached = 0.0, span[0]
    for begin, end in sorted(others):
        begin, end = max(begin, reached), min(end, span[1])
        if end > begin:
            shared, reached = shared + end - begin, end
    return shared


def main() -> int:
    """Check one thing after the other; exit status 1 after a surprise."""
    config = tyro.cli(FirstMinute, description=__doc__)
    if config.device == "cuda" and not torch.cuda.is_available():
        print("first minute: no GPU here. --device cpu runs what makes sense without one.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(config.device, Path(folder))
        order: tuple[Callable[[], str], ...] = (
            checks.twice_alike, checks.score, checks.copies, checks.data_wait, checks.one_of_two_fails,
            checks.batch_search, checks.one_context, checks.tests, checks.kernels,
        )  # fmt: skip
        surprises = 0
        for check in order:
            if check.__name__ in config.skip:
                print(f"skipped   {check.__name__}: as asked", flush=True)
                continue
            surprises += not as_expected(check)
            if surprises and not config.keep_going:
                break
    return int(surprises > 0)


def as_expected(check: Callable[[], str]) -> bool:
    """Make one check and print what it found; False after a surprise."""
    name, started = check.__name__, time.monotonic()
    try:
        found = check()
    except SkippedError as why:
        print(f"skipped   {name}: {why}", flush=True)
    except SurpriseError as surprise:
        print(f"SURPRISE  {name}: {surprise}", flush=True)
        return False
    except Exception as error:
        traceback.print_exc()
        print(f"SURPRISE  {name}: {type(error).__name__}, as above", flush=True)
        return False
    else:
        print(f"as it should be  {name}: {found} ({time.monotonic() - started:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(console.run("first minute", main))
