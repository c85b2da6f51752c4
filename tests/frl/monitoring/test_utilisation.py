"""Operations are counted as the literature does, and held against data sheets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from frl.config import AugmentConfig
from frl.monitoring import utilisation
from frl.monitoring.utilisation import flops_per_image, forward_flops, peak_flops, utilisation_per_image
from frl.presets import preset


@pytest.mark.parametrize("network, giga", [("resnet50", 4.09), ("resnet18", 1.81)])
def test_multiplications_are_those_that_torchvision_states(network, giga):
    """https://pytorch.org/vision/stable/models.html, in billions of multiply-adds at 224 pixels."""
    assert forward_flops(network, 224) / 2e9 == pytest.approx(giga, rel=0.01)


def test_an_image_costs_three_passes_of_each_crop():
    config = replace(preset("cpu").config, augment=AugmentConfig())
    expected = sum(3 * spec.count * forward_flops(config.model.network, spec.size) for spec in config.augment.crops)
    assert flops_per_image(config) == expected > 0


@pytest.mark.parametrize(
    "device, tera",
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA A10G", 125),
        ("AMD EPYC", None),
        ("Tesla T4", None),
    ],
)
def test_devices_by_their_names(device, tera):
    assert peak_flops(device) == (None if tera is None else tera * 1e12)


def test_only_where_the_peak_is_known(monkeypatch):
    config = replace(preset("cpu").config, precision="bf16")
    assert utilisation_per_image(config, torch.device("cpu")) is None
    monkeypatch.setattr(utilisation.torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    share = utilisation_per_image(config, torch.device("cuda"))
    assert share == pytest.approx(flops_per_image(config) / 312e12)
    assert utilisation_per_image(replace(config, precision="fp32"), torch.device("cuda")) is None
