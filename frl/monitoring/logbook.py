"""What a run leaves behind for people: a progress bar or plain lines, JSON lines, and what trackers show."""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from frl.config import AugmentConfig, RunConfig, as_dict
from frl.files import atomic_write
from frl.monitoring.sinks import Sink
from frl.pixels import restored

if TYPE_CHECKING:
    from frl.evaluate.gallery import Probed

MARGIN = 2  # pixels around every crop of a picture
COUNTED = "steps_per_epoch"  # name of how a file counts, where that was not always so
RENAMED = {"spread": "feature_std", "rank": "effective_rank"}  # figures that version 0.1 logged under other names


class Logbook:
    """Writes ``metrics.jsonl``, the progress bar and the sinks; does nothing on ranks that are not main.

    Where there is no terminal, a line with the time is printed for each interval in the bar's place.

    Args:
        config: of the run.
        total_steps: length of the progress bar.
        first_step: where this process begins; metrics of later steps, left by a killed run, are dropped.
        enabled: whether this rank writes.
    """

    def __init__(self, config: RunConfig, *, total_steps: int, first_step: int, enabled: bool) -> None:
        self.enabled = enabled
        self.total_steps = total_steps
        self._started = time.monotonic()
        self._sinks: list[Sink] = []
        if not enabled:
            return
        config.out.mkdir(parents=True, exist_ok=True)
        self._metrics_path = config.out / "metrics.jsonl"
        _drop_from(self._metrics_path, first_step)
        self._sinks = _open_sinks(config, first_step)
        self._bar = tqdm(
            disable=not sys.stderr.isatty(),
            total=total_steps,
            initial=first_step,
            dynamic_ncols=True,
            mininterval=1.0,
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
        )

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.enabled:
            self._bar.close()
            self._each(lambda sink: sink.close())

    def advance(self) -> None:
        """Count one step on the progress bar."""
        if self.enabled:
            self._bar.update()

    def say(self, message: str) -> None:
        """Print a line without tearing the progress bar."""
        if self.enabled and self._bar.disable:
            print(message, flush=True)
        elif self.enabled:
            self._bar.write(message)

    def scalars(self, step: int, values: dict[str, float], **labels: Any) -> None:
        """Log numbers under their names; ``labels`` go to the JSON line alone."""
        if not self.enabled:
            return
        self.note(step, **labels, **values, seconds=round(time.monotonic() - self._started, 3))
        self._each(lambda sink: sink.scalars(step, values))
        if "loss" in values:
            self._show(step, values)

    def _show(self, step: int, values: dict[str, float]) -> None:
        """The figures of an interval at the bar, or in a line of their own."""
        each = values.get("images_per_s_per_process")
        used = f" ({each:.0f} a process)" if each is not None else ""
        used += f", {values['mfu']:.0%} MFU" if "mfu" in values else ""
        figures = (
            f"loss {values['loss']:.3f}, {values['images_per_s']:.0f} images/s{used}, "
            f"{values['data_wait']:.0%} data wait, {values['memory_gib']:.1f} GiB"
        )
        if self._bar.disable:
            now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            self.say(f"{now}  step {step:,} of {self.total_steps:,}: {figures}")
        self._bar.set_postfix_str(figures)

    def note(self, step: int, **entries: Any) -> None:
        """A JSON line that no tracker shows."""
        if self.enabled:
            with open(self._metrics_path, "a") as stream:
                stream.write(json.dumps({"step": step, **entries}) + "\n")

    def histogram(self, step: int, name: str, values: torch.Tensor) -> None:
        """The distribution of a vector."""
        self._each(lambda sink: sink.histogram(step, name, values))

    def crops(self, step: int, views: Sequence[torch.Tensor], augment: AugmentConfig, images: int = 8) -> None:
        """A picture of the crops of the first ``images`` samples."""
        if self._sinks:
            picture = crop_grid(views, augment, images)
            self._each(lambda sink: sink.image(step, "crops", picture))

    def probed(self, step: int, probed: Probed, **labels: Any) -> None:
        """The scores and the pictures of a probe, and how its scores are drawn, for the report."""
        self.scalars(step, probed.scores, **labels)
        if probed.described:
            self.note(step, described=[asdict(metric) for metric in probed.described])
        if probed.words:
            self.say(f"step {step:,}: {probed.words}")
        if (gallery := probed.gallery) is not None:
            self._each(lambda sink: sink.gallery(step, gallery))

    def was_probed(self, step: int) -> bool:
        """Whether the scores of a probe after ``step`` are logged; other figures of an epoch have a loss."""
        return self.enabled and any(
            line["step"] == step and "epoch" in line and "loss" not in line for line in read_metrics(self._metrics_path)
        )

    def _each(self, write: Callable[[Sink], None]) -> None:
        """Let every sink write. A tracker must not end a run of days: one that fails is dropped with a warning."""
        for sink in list(self._sinks):
            try:
                write(sink)
            except Exception as error:
                self._sinks.remove(sink)
                self.say(f"warning: {type(sink).__name__} failed and is left out from here on: {error}")


def _open_sinks(config: RunConfig, first_step: int) -> list[Sink]:
    """TensorBoard, and Weights & Biases if the configuration names a project; each is imported only here."""
    from frl.monitoring.tensorboard_sink import TensorBoardSink

    texts = {"configuration": json.dumps(as_dict(config), indent=2)}
    sinks: list[Sink] = [TensorBoardSink(config.out / "tensorboard", first_step, texts)]
    if config.wandb:
        from frl.monitoring.wandb_sink import WandbSink

        sinks.append(WandbSink(config.wandb, config.out, as_dict(config)))
    return sinks


def crop_grid(views: Sequence[torch.Tensor], augment: AugmentConfig, images: int) -> torch.Tensor:
    """Crops as the network sees them, colours restored: one row per sample, ``(3, H, W)`` in [0, 1]."""
    side = max(view.shape[-1] for view in views)
    tiles = []
    for view, spec in zip(views, augment.crops, strict=True):
        per_crop = view.unflatten(0, (spec.count, -1))[:, :images].cpu()
        pictures = restored(per_crop.flatten(0, 1), augment).clamp(0, 1)
        margin = side - view.shape[-1]
        padded = F.pad(pictures, (0, margin, 0, margin))
        tiles.append(padded.unflatten(0, per_crop.shape[:2]))
    framed = F.pad(torch.cat(tiles), (MARGIN, 0, MARGIN, 0))
    grid = framed.permute(2, 1, 3, 0, 4).flatten(3, 4).flatten(1, 2)  # (3, samples * H, crops * W)
    return F.pad(grid, (0, MARGIN, 0, MARGIN))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a run's ``metrics.jsonl`` or ``environment.jsonl``, without one that a kill cut off.

    Others that say nothing of a step are left out with a warning. Names that an earlier version gave to figures are
    given as today's; a figure that is null is NaN.
    """
    if not path.exists():
        return []
    content = path.read_text(errors="replace")
    found = list(map(_line, content.split("\n")))
    last = len(found) - 1  # behind the last end of a line: nothing, or what a kill left of one
    damaged = [number for number, line in enumerate(found[:last], 1) if line is None]
    if damaged:
        what = f"{len(damaged)} of {last} lines are damaged and left out, the first of them line {damaged[0]}"
        warnings.warn(f"{path}: {what}", stacklevel=2)
    return [line for line in found if line is not None]


def _line(text: str) -> dict[str, Any] | None:
    """What a line says of a step; None if it is no such line."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        return None
    return {RENAMED.get(str(name), str(name)): math.nan if value is None else value for name, value in line.items()}


def _drop_from(path: Path, step: int) -> None:
    if path.exists():
        _write(path, [line for line in read_metrics(path) if line["step"] <= step])


def recount(path: Path, *, before: int, now: int) -> None:
    """Let the steps of a run's ``metrics.jsonl`` count as they do where an epoch has another number of them.

    A step becomes that at the same place of the run, rounded up. A line at the beginning then says how the file counts,
    so that a process which is killed before its first checkpoint leaves nothing that the next one would count wrongly.

    Args:
        path: of the metrics.
        before: steps of an epoch of the checkpoint that the run goes on from.
        now: steps of an epoch from here on.
    """
    lines = read_metrics(path)
    counted = next((line[COUNTED] for line in lines if COUNTED in line), before)
    if lines and counted != now:
        recounted = [{**line, "step": math.ceil(line["step"] * now / counted)} for line in lines if COUNTED not in line]
        _write(path, [{"step": 0, COUNTED: now}, *recounted])


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with atomic_write(path) as stream:
        stream.writelines(f"{json.dumps(line)}\n".encode() for line in lines)
