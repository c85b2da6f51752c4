"""The learning rate of each layer at each step: a pure function of the step."""

from __future__ import annotations

from typing import Any

from torch import nn

from frl.config.finetune import FinetuneConfig
from frl.evaluate.finetune.network import Predictor
from frl.models.layers import layers_of
from frl.training.optimisers import AdamW, set_rates
from frl.training.schedule import warmup_cosine

Group = dict[str, Any]


def optimiser_of(network: Predictor, config: FinetuneConfig) -> AdamW:
    """AdamW with a group for each layer of the backbone and for the head; biases and normalisation do not decay."""
    return AdamW(groups_of(network, config), lr=config.lr, weight_decay=config.weight_decay)


def groups_of(network: Predictor, config: FinetuneConfig) -> list[Group]:
    """The parameters by layer, each layer in those that decay and those that do not.

    The last layer of the backbone learns at the rate ``lr``, the one below it at ``lr * layer_decay``, and so on; the
    head at ``head_lr`` (Clark et al., "ELECTRA", 2020, section 3; Bao et al., "BEiT", 2022).
    """
    layers = layers_of(network.backbone)
    scales = [config.layer_decay ** (len(layers) - 1 - depth) for depth in range(len(layers))]
    layers, scales = [*layers, list(network.head.parameters())], [*scales, config.head_lr / config.lr]
    groups = []
    for layer, scale in zip(layers, scales, strict=True):
        for decays in (True, False):
            if params := [param for param in layer if param.requires_grad and (param.ndim > 1) == decays]:
                groups.append({"params": params, "lr_scale": scale, "fixed_lr": False, "decays": decays})
    _require_all(groups, network)
    return groups


def _require_all(groups: list[Group], network: nn.Module) -> None:
    grouped = {id(param) for group in groups for param in group["params"]}
    assert grouped == {id(param) for param in network.parameters() if param.requires_grad}, "a layer is left out"


def learning_rate(step: int, config: FinetuneConfig) -> float:
    """The rate of the backbone's last layer at ``step``: linear from 0 in the warm-up, then a half cosine to 0.

    The first step of a warm-up has already a share of the peak, so that it is not taken in vain.
    """
    warmup = config.warmup_steps
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return warmup_cosine(step, total=config.steps, warmup=warmup, start=0.0, peak=config.lr, final=0.0)


def set_rates_of(optimiser: AdamW, step: int, config: FinetuneConfig) -> None:
    """Tell every group what holds for ``step``."""
    rate = learning_rate(step, config)
    set_rates(optimiser, rate=rate, peak=config.lr, weight_decay=config.weight_decay)


def momentum(step: int, config: FinetuneConfig) -> float:
    """Of the averaged weights after ``step``: as configured, but of few weights so far an even mean.

    Without that they would stay near the initialisation for the first thousand steps.
    """
    return min(config.ema, (step + 1) / (step + 10)) if config.ema else 0.0
