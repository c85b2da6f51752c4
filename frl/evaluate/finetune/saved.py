"""A fine-tuned network in one file: backbone, head, what it says and how it sees images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frl.beton.targets import TargetSpec
from frl.config import AugmentConfig, ModelConfig
from frl.config.finetune import FinetuneConfig
from frl.errors import CheckpointError
from frl.evaluate.finetune.network import Predictor, new_head
from frl.models.backbone import build_backbone
from frl.models.layers import UpToStage, stage_of, up_to
from frl.runtime import checkpoint
from frl.tasks.registry import TASKS, Classes, Numbers, Points, SupervisedTask

KINDS: dict[str, type[SupervisedTask]] = {**TASKS, "classes": Classes, "numbers": Numbers, "points": Points}
"""The tasks that a file may name."""
FORMAT = "frl-finetuned"
PARTS = ("version", "arch", "head", "task", "specs", "size", "mean", "std", "model")
"""What every file has."""
VERSION, WITH_STAGE = 1, 2
"""A network up to a stage is what earlier versions of frl cannot read; they say so by the second number."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a file of a fine-tuned network holds.

    Attributes:
        network: in evaluation mode, on the CPU.
        arch: the whole name of the network of which the backbone is one, such as ``resnet18-w16-nopool``.
        stage: of that network, after which the backbone ends; None: it is whole.
        task: what it says.
        specs: the targets that the task was learned from, by name.
        size: side of the images that it sees, in pixels.
        augment: its mean and standard deviation normalise them.
    """

    network: Predictor
    arch: str
    stage: int | None
    task: SupervisedTask
    specs: Mapping[str, TargetSpec]
    size: int
    augment: AugmentConfig


def save(
    path: str | os.PathLike[str],
    network: Predictor,
    *,
    arch: str,
    task: SupervisedTask,
    specs: Mapping[str, TargetSpec],
    config: FinetuneConfig,
) -> None:
    """Write a fine-tuned network for ``load`` and ``frl predict``; ``frl export`` finds the backbone in it.

    Args:
        path: the file to write; one that is there is replaced.
        network: as ``finetune`` gave it.
        arch: the backbone's whole name.
        task: what was learned.
        specs: the targets of the training data, by name.
        config: of the fine-tuning.

    Raises:
        CheckpointError: if it cannot be written.
    """
    path = Path(path)
    model, stage = ModelConfig.of(arch), stage_of(network.backbone)
    card = {"arch": model.arch, "width": str(model.width), "stem": model.stem}
    card |= {"input": "RGB in [0, 1], minus mean, divided by std"}
    card |= {"mean": str(config.augment.mean), "std": str(config.augment.std)}
    card |= {} if stage is None else {"stage": str(stage)}
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    state = {
        "format": FORMAT,
        "version": VERSION if stage is None else WITH_STAGE,
        "arch": arch,
        "stage": stage,
        "head": config.head,
        "task": _described(task, path),
        "specs": [_plain(specs[name]) for name in task.fields],
        "size": config.size,
        "mean": list(config.augment.mean),
        "std": list(config.augment.std),
        "model": checkpoint.with_card(weights, card),
    }
    checkpoint.save(path, state)


def _plain(spec: TargetSpec) -> dict[str, Any]:
    """A target's description in numbers, texts and lists."""
    mirror = list(spec.mirror) if isinstance(spec.mirror, tuple) else spec.mirror
    return {**asdict(spec), "kind": str(spec.kind), "shape": list(spec.shape), "names": list(spec.names)} | {
        "mirror": mirror
    }


def load(path: str | os.PathLike[str]) -> Saved:
    """What ``save`` wrote.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe, not of a fine-tuned network, or its weights are NaN.
    """
    path = Path(path)
    state = checkpoint.read_tensors(path)
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        remedy = "Give a file that frl evaluate TASK --how finetune --save wrote."
        raise CheckpointError(path, "is not a fine-tuned network: it has no head for a task", remedy)
    if missing := [part for part in PARTS if part not in state]:
        raise CheckpointError(path, f"lacks {', '.join(missing)}", "Copy it again, or fine-tune again.")
    if state["version"] > WITH_STAGE:
        raise CheckpointError(path, f"has version {state['version']}, newer than {WITH_STAGE}", "Update frl.")
    checkpoint.require_finite(state["model"], path)
    specs = {spec.name: spec for spec in map(TargetSpec.from_json, state["specs"])}
    task = _task(state["task"], path)
    backbone = _pruned(state["arch"], state.get("stage"))
    network = Predictor(backbone, new_head(backbone, task, state["head"], state["size"]))
    try:
        network.load_state_dict(state["model"], strict=True)
    except RuntimeError as error:
        raise CheckpointError(path, f"does not fit {state['arch']} ({error})", "Use another file.") from error
    augment = AugmentConfig(mean=tuple(state["mean"]), std=tuple(state["std"]))
    return Saved(
        network=network.to(memory_format=torch.channels_last).eval(),
        arch=state["arch"],
        stage=state.get("stage"),
        task=task,
        specs=specs,
        size=state["size"],
        augment=augment,
    )


def _pruned(arch: str, stage: int | None) -> nn.Module:
    backbone = up_to(build_backbone(arch)[0], stage)
    if isinstance(backbone, UpToStage):
        backbone.prune()
    return backbone


def _described(task: SupervisedTask, path: Path) -> dict[str, Any]:
    """A task in words and numbers."""
    kind = next((name for name, known in KINDS.items() if type(task) is known), None)
    if kind is None:
        cause = f"cannot name the task {task.name}, which frl.tasks.TASKS does not know"
        raise CheckpointError(path, cause, "Add it there, or save the network's state_dict() yourself.")
    options: Any = task
    return {"kind": kind, "options": {field.name: getattr(options, field.name) for field in fields(options)}}


def _task(described: Mapping[str, Any], path: Path) -> SupervisedTask:
    kind, options = described["kind"], described["options"]
    if kind not in KINDS:
        raise CheckpointError(path, f"says {kind}, a task that this version does not know", "Update frl.")
    try:
        return KINDS[kind](**options)
    except TypeError as error:
        raise CheckpointError(
            path, f"describes {kind} in another way ({error})", "Use the frl that wrote it."
        ) from error
