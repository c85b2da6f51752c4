"""What a run leaves behind for people: a progress bar, JSON lines, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torchvision
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from frl.config import AugmentConfig


class Logbook:
    """Writes ``metrics.jsonl``, TensorBoard events and the progress bar; does nothing on ranks that are not main.

    Args:
        out: folder of the run.
        total_steps: length of the progress bar.
        first_step: where this process begins; metrics of later steps, left by a killed run, are dropped.
        enabled: whether this rank writes.
    """

    def __init__(self, out: Path, *, total_steps: int, first_step: int, enabled: bool) -> None:
        self.enabled = enabled
        self._started = time.monotonic()
        if not enabled:
            return
        out.mkdir(parents=True, exist_ok=True)
        self._metrics_path = out / "metrics.jsonl"
        _drop_from(self._metrics_path, first_step)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first_step or None)
        self._bar = tqdm(total=total_steps, initial=first_step, unit="step", dynamic_ncols=True, mininterval=1.0)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.enabled:
            self._bar.close()
            self._board.close()

    def advance(self) -> None:
        """Count one step on the progress bar."""
        if self.enabled:
            self._bar.update()

    def say(self, message: str) -> None:
        """Print a line without tearing the progress bar."""
        if self.enabled:
            self._bar.write(message)

    def scalars(self, step: int, values: dict[str, float], **labels: Any) -> None:
        """Log numbers under their names; ``labels`` go to the JSON line alone."""
        if not self.enabled:
            return
        line = {"step": step, **labels, **values, "seconds": round(time.monotonic() - self._started, 3)}
        with open(self._metrics_path, "a") as stream:
            stream.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if "loss" in values:
            self._bar.set_postfix_str(
                f"loss {values['loss']:.3f}, {values['images_per_s']:.0f} img/s, wait {values['data_wait']:.0%}"
            )

    def usage(self, step: int, usage: torch.Tensor) -> None:
        """Histogram of the prototypes' mass relative to the fair share 1/K."""
        if self.enabled:
            self._board.add_histogram("prototype_mass", usage * len(usage), step)

    def crops(self, step: int, views: Sequence[torch.Tensor], augment: AugmentConfig, images: int = 8) -> None:
        """A picture of the crops of the first ``images`` samples."""
        if self.enabled:
            self._board.add_image("crops", crop_grid(views, augment, images), step)


def crop_grid(views: Sequence[torch.Tensor], augment: AugmentConfig, images: int) -> torch.Tensor:
    """Crops as the network sees them, colours restored: one row per sample, ``(3, H, W)`` in [0, 1]."""
    mean = torch.tensor(augment.mean).view(1, 3, 1, 1)
    std = torch.tensor(augment.std).view(1, 3, 1, 1)
    side = max(spec.size for spec in augment.crops)
    tiles = []
    for view, spec in zip(views, augment.crops, strict=True):
        per_crop = view.unflatten(0, (spec.count, -1))[:, :images].float().cpu()
        pictures = (per_crop.flatten(0, 1) * std + mean).clamp(0, 1)
        padded = torch.nn.functional.pad(pictures, (0, side - spec.size, 0, side - spec.size))
        tiles.append(padded.unflatten(0, per_crop.shape[:2]))
    by_sample = torch.cat(tiles).transpose(0, 1)
    return torchvision.utils.make_grid(by_sample.flatten(0, 1), nrow=by_sample.shape[1], padding=2)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _drop_from(path: Path, step: int) -> None:
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    if path.exists():
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
