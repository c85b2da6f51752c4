"""The folder that a hub gets: weights, configuration and card, fit for frl, timm, torchvision and the hub's pages."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from frl import __version__, hub
from frl.config import ModelConfig, RunConfig, as_dict, from_dict, upgraded
from frl.config.check import require_new_file
from frl.errors import CheckpointError, ConfigError
from frl.export import write_backbone
from frl.files import atomic_write
from frl.model_card import Card, Result, facts_of_data
from frl.models.backbone import build_backbone
from frl.monitoring.logbook import read_metrics
from frl.pretrained import card_of_weights
from frl.runtime import checkpoint
from frl.trained_on import is_another


def write_publication(
    weights: Path, folder: Path, address: str, *, licence: str, results: Sequence[Path] = (), overwrite: bool = False
) -> Card:
    """Write the files of a repository: ``model.safetensors``, ``config.json`` and ``README.md``.

    Args:
        weights: a run's folder, or a file of weights, of which less can be said.
        folder: where the files go; made if need be.
        address: ``ORG/NAME``.
        licence: of the weights.
        results: files that ``frl evaluate --out`` wrote.
        overwrite: whether files that are there are replaced.

    Returns:
        what the card says.

    Raises:
        HubError: if ``address`` is no name of a repository.
        ConfigError: if no licence is given, a result cannot be read, or a file exists.
        CheckpointError: if the weights cannot be read, or a file cannot be written.
    """
    if hub.parse(address).revision:
        raise ConfigError(address, "names a state of a repository", "Give ORG/NAME.")
    if not licence.strip():
        raise ConfigError("--licence", "is empty", "State it, apache-2.0 or cc-by-nc-4.0, say.")
    for name in hub.FILES:
        require_new_file(folder / name, "folder", overwrite=overwrite)
    measured = [Result.read(path) for path in results]
    saved = _saved(weights)
    run = None if saved is None else _run_of(weights, saved)
    written = write_backbone(weights, folder / hub.WEIGHTS, "safetensors", overwrite=overwrite)
    said = card_of_weights(written.path)
    timm_fields = _timm_fields(written.network, said)
    card = Card(
        address=hub.parse(address).name,
        licence=licence.strip(),
        network=written.network,
        mean=_numbers(said, "mean"),
        std=_numbers(said, "std"),
        run=run,
        data=facts_of_data(run, here=not is_another(run, saved)) if run and saved else {},
        probe=_probe(weights) if run else None,
        results=measured,
        for_timm=timm_fields is not None,
    )
    config = {**(timm_fields or {}), "frl": {"version": __version__, "network": written.network, **_published(run)}}
    _write(folder / hub.CONFIG, json.dumps(config, indent=1) + "\n")
    _write(folder / hub.CARD, card.text())
    return card


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise CheckpointError(path, f"cannot be written ({error})", "Free space or choose another folder.") from error


def _saved(weights: Path) -> dict[str, Any] | None:
    """The checkpoint that was given, or the newest of the folder that was; None of other weights."""
    state = checkpoint.read_tensors(weights)
    return state if isinstance(state, dict) and state.get("format") == checkpoint.FORMAT else None


def _run_of(weights: Path, state: Mapping[str, Any]) -> RunConfig:
    """The run of a checkpoint."""
    try:
        return from_dict(RunConfig, upgraded(state["config"]))
    except ConfigError as error:
        cause, remedy = f"its configuration is not understood ({error.cause})", "Export its weights, and push these."
        raise CheckpointError(weights, cause, remedy) from error


def _published(run: RunConfig | None) -> dict[str, Any]:
    """The options of a run, as ``config.json`` of its folder has them, without where anything lay on its machine."""
    if run is None:
        return {}
    options = as_dict(run)
    del options["out"]
    options["data"]["data"] = [os.path.basename(path) for path in options["data"]["data"]]
    options["data"]["stage"] = None
    for section, name in (("knn", "data"), ("probe", "data"), ("probe", "train"), ("probe", "test")):
        if path := options[section][name]:
            options[section][name] = os.path.basename(path)
    return {"run": options}


def _probe(run: Path) -> tuple[float, int] | None:
    """The last figure of the online probe, and after which epoch."""
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "knn_top1" in line] if run.is_dir() else []
    return (lines[-1]["knn_top1"], lines[-1]["epoch"]) if lines else None


def _timm_fields(network: str, said: dict[str, str]) -> dict[str, Any] | None:
    """What timm's ``create_model("hf_hub:ORG/NAME")`` reads; None for a network that it does not have."""
    model = ModelConfig.of(network)
    if model.is_timm:
        backbone, width = build_backbone(network)
        known: dict[str, Any] = {**backbone.default_cfg}  # type: ignore[dict-item]
    elif model.network == model.arch:
        with torch.device("meta"):
            width = build_backbone(network)[1]
        known = {"input_size": (3, 224, 224), "pool_size": (7, 7), "first_conv": "conv1", "classifier": "fc"}
    else:
        return None
    kept = ("input_size", "fixed_input_size", "pool_size", "first_conv", "classifier")
    images = {name: numbers for name in ("mean", "std") if (numbers := _numbers(said, name)) is not None}
    return {
        "architecture": model.arch.removeprefix("timm/"),
        "num_classes": 0,
        "num_features": width,
        "pretrained_cfg": {
            "tag": "frl",
            "custom_load": False,
            **{name: known[name] for name in kept if known.get(name) is not None},
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "num_classes": 0,
            **images,
        },
    }


def _numbers(said: dict[str, str], name: str) -> tuple[float, ...] | None:
    try:
        return tuple(map(float, ast.literal_eval(said[name])))
    except (KeyError, ValueError, TypeError, SyntaxError):
        return None
