"""Narrow ResNets, ResNets without the stem's pooling, networks of timm: trained, resumed, exported, read back."""

from __future__ import annotations

import copy
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from tests_support import run_ranks
from tiny_run import CONFIG, RandomViews, run
from torch import nn

from frl.cli import main
from frl.config import CropSpec, KnnConfig, ModelConfig, RunConfig, validate
from frl.config.model import RESNETS
from frl.errors import CheckpointError, ConfigError
from frl.export import export
from frl.models.backbone import (
    BLOCKS,
    ScaledResNet,
    build_backbone,
    objection,
    recompute_blocks,
    zero_residual_branches,
)
from frl.models.batchnorm import join_group, statistics_held, synchronise
from frl.objectives import Setting
from frl.pretrained import infer_arch, load_backbone
from frl.runtime import checkpoint
from frl.runtime.distributed import World
from frl.training.build import build, new_objective
from frl.training.memory import alone, step_memory

DOCS = Path(__file__).parents[3] / "docs" / "backbones.md"
ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")
NARROW = ModelConfig(arch="resnet18", width=16, stem="no-pool", batch_norm="local")
NETWORKS = {
    "narrow": NARROW,
    **{
        name: ModelConfig(arch=f"timm/{name}", batch_norm="local")
        for name in ("test_vit", "test_convnext", "test_efficientnet")
    },
}
CHOSEN = [pytest.param(name, marks=needs_timm if name != "narrow" else ()) for name in NETWORKS]
OF_TIMM = CHOSEN[1:]


def run_config(name: str, out: Path, **changes: Any) -> RunConfig:
    """Of a few steps, on crops of 64 and 32 pixels, which every one of the networks takes."""
    crops = (CropSpec(size=64, count=2, scale=(0.3, 1.0)), CropSpec(size=32, count=1, scale=(0.1, 0.3)))
    objective = replace(CONFIG.objective, queue_length=0)
    return replace(
        CONFIG,
        out=out,
        augment=replace(CONFIG.augment, crops=crops),
        model=NETWORKS[name],
        objective=objective,
        **{"max_steps": 4, **changes},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs of four steps, made when first asked for."""

    class Runs(dict):
        def __missing__(self, name: str) -> Path:
            self[name] = tmp_path_factory.mktemp("runs") / name
            run(run_config(name, self[name]))
            return self[name]

    return Runs()


def images(size: int = 64, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def features(network: nn.Module, of: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.to(memory_format=torch.contiguous_format).eval()(of)


# ResNets of any width


@pytest.mark.parametrize("arch", RESNETS)
def test_a_scaled_resnet_of_full_width_is_torchvisions(arch: str) -> None:
    with torch.device("meta"):
        ours, theirs = ScaledResNet(*BLOCKS[arch], width=64), torchvision.models.get_model(arch)
        ours.fc = nn.Linear(theirs.fc.in_features, 1000)
    assert str(ours).replace("ScaledResNet", "ResNet") == str(theirs)
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "wide_resnet50_2"])
@pytest.mark.parametrize("width", [1, 16, 48, 128])
def test_every_channel_is_scaled_and_the_width_is_told_by_the_shapes(arch: str, width: int) -> None:
    with torch.device("meta"):
        ours, pooled = build_backbone(ModelConfig(arch=arch, width=width).network)
        full, published = build_backbone(arch)
    assert pooled * 64 == published * width
    theirs = full.state_dict()
    for name, tensor in ours.state_dict().items():
        scaled = [size if size == 3 or axis > 1 else size * width // 64 for axis, size in enumerate(theirs[name].shape)]
        assert list(tensor.shape) == scaled, name
    assert infer_arch(ours.state_dict()) == f"{arch}-w{width}"


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_a_published_resnet_begins_with_torchvisions_values_and_computes_the_same(arch: str) -> None:
    torch.manual_seed(3)
    ours, _ = build_backbone(arch)
    drawn = torch.get_rng_state()
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(arch)
    assert torch.equal(torch.get_rng_state(), drawn)
    theirs.fc = nn.Identity()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    assert torch.equal(ours(images()), theirs(images()))
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_residual_branches_from_zero_are_torchvisions(arch: str) -> None:
    ours, _ = build_backbone(arch)
    zero_residual_branches(ours)
    theirs = torchvision.models.get_model(arch, zero_init_residual=True).state_dict()
    zeros = [name for name, tensor in ours.state_dict().items() if name.endswith(".weight") and not tensor.any()]
    assert zeros == [name for name, tensor in theirs.items() if name.endswith(".weight") and not tensor.any()]


def test_a_run_begins_with_residual_branches_from_zero() -> None:
    config = replace(CONFIG, model=replace(NARROW, zero_init_residual=True))
    objective = new_objective(config, Setting.of(config, 1, 1))
    assert not objective.backbone.layer4[1].bn2.weight.any() and objective.backbone.layer4[1].bn1.weight.all()


def test_without_pooling_every_stage_sees_twice_the_resolution() -> None:
    sizes: dict[str, list[int]] = {}
    for network in ("resnet18-w16", "resnet18-w16-nopool"):
        backbone, _ = build_backbone(network)
        backbone.layer4.register_forward_hook(
            lambda _, __, out, key=network: sizes.setdefault(key, list(out.shape[2:])) and None
        )
        backbone(images(32))
    assert sizes == {"resnet18-w16": [1, 1], "resnet18-w16-nopool": [2, 2]}


@pytest.mark.parametrize("network", ["resnet50", "resnet18-w16", "resnet18-nopool", "resnet34-w8-nopool"])
def test_a_whole_name_and_its_configuration_are_inverse(network: str) -> None:
    assert ModelConfig.of(network).network == network


@pytest.mark.parametrize("name", ["vgg16", "resnet18-w0", "resnet18-w", "resnet18-nopool-w16", "resnet18-w064", ""])
def test_what_is_no_network_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is unknown"):
        ModelConfig.of(name)


# Runs


@pytest.mark.parametrize("name", CHOSEN)
def test_a_run_that_goes_on_is_the_uninterrupted_one_bit_for_bit(name: str, runs: Any, tmp_path: Path) -> None:
    for steps in (3, 4):  # neither is the end of an epoch
        run(run_config(name, tmp_path / "run", max_steps=steps))
    states = [checkpoint.load_newest(out / "checkpoints") for out in (runs[name], tmp_path / "run")]
    for part in ("model", "optimiser"):
        assert _digest(states[0][part]) == _digest(states[1][part])
    start = alone(run_config(name, tmp_path)).state_dict()
    assert all(not torch.equal(start[key], tensor) for key, tensor in states[0]["model"].items() if ".weight" in key
               and "prototypes" not in key)  # fmt: skip


def _digest(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _digest(item) for key, item in value.items()}
    return [_digest(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CHOSEN)
def test_a_run_is_read_back_as_what_it_is(name: str, runs: Any) -> None:
    backbone, network = load_backbone(runs[name])
    assert network == NETWORKS[name].network and not backbone.training
    state = checkpoint.load_newest(runs[name] / "checkpoints")
    expected, _ = build_backbone(network)
    expected.load_state_dict(
        {key.removeprefix("backbone."): t for key, t in state["model"].items() if key.startswith("backbone.")}
    )
    assert torch.equal(features(backbone, images()), features(expected, images()))


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_export_is_read_back_and_exported_again_bit_for_bit(
    name: str, suffix: str, runs: Any, tmp_path: Path
) -> None:
    pytest.importorskip("safetensors")
    expected = features(load_backbone(runs[name])[0], images())
    first = export(runs[name], tmp_path / f"first{suffix}")
    for path in (first, export(first, tmp_path / "second.safetensors"), export(first, tmp_path / "second.pth")):
        backbone, network = load_backbone(path)
        assert network == NETWORKS[name].network
        assert torch.equal(features(backbone, images()), expected)


@pytest.mark.parametrize("name", CHOSEN[:2])
def test_onnx_computes_what_the_network_does(name: str, runs: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(export(runs[name], tmp_path / "backbone.onnx"))
    backbone, _ = load_backbone(runs[name])
    for size, count in ((64, 3), (96, 1)):
        (found,) = session.run(["features"], {"images": images(size, count).numpy()})
        np.testing.assert_allclose(found, features(backbone, images(size, count)).numpy(), rtol=1e-4, atol=1e-4)
    card = session.get_modelmeta().custom_metadata_map
    assert card["arch"] == NETWORKS[name].arch
    assert name != "narrow" or (card["width"], card["stem"]) == ("16", "no-pool")


@pytest.mark.parametrize("name", OF_TIMM)
def test_an_export_of_timms_network_is_timms(name: str, runs: Any, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    dynamic = {"dynamic_img_size": True} if "vit" in name else {}
    network = timm.create_model(name, pretrained=False, num_classes=0, **dynamic)
    network.load_state_dict(torch.load(export(runs[name], tmp_path / "x.pth", "timm"), weights_only=True), strict=True)
    assert torch.equal(features(network, images()), features(load_backbone(runs[name])[0], images()))
    # A classifier is left out, and a bare state dict is read where --arch names the network.
    torch.save(timm.create_model(name, pretrained=False, num_classes=7).state_dict(), tmp_path / "theirs.pth")
    assert load_backbone(tmp_path / "theirs.pth", arch=f"timm/{name}")[1] == f"timm/{name}"


def test_the_documented_lines_load_an_export(runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert lines is not None
    monkeypatch.chdir(tmp_path)
    export(runs["narrow"], "backbone.pth")
    namespace: dict[str, Any] = {}
    exec(lines[1], namespace)
    assert torch.equal(features(namespace["model"], images()), features(load_backbone(runs["narrow"])[0], images()))


# What cannot be


@pytest.mark.parametrize("format", ["torchvision", "frl"])
@needs_timm
def test_layouts_of_resnets_do_not_take_timms_networks(format: Any, runs: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--format: {format} is a layout of torchvision's ResNets, and timm/"):
        export(runs["test_vit"], tmp_path / "x.pth", format)
    with pytest.raises(ConfigError, match=r"timm has no resnet18-w16-nopool"):
        export(runs["narrow"], tmp_path / "x.pth", "timm")
    assert not list(tmp_path.iterdir())


def test_the_stems_pooling_that_only_the_file_knows_cannot_be_contradicted(runs: Any, tmp_path: Path) -> None:
    path = export(runs["narrow"], tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="was trained without the pooling of the stem, unlike resnet18-w16"):
        load_backbone(path, arch="resnet18-w16")
    with pytest.raises(CheckpointError, match="does not fit resnet18-nopool"):
        load_backbone(path, arch="resnet18-nopool")
    torch.save(dict(torch.load(path, weights_only=True)), tmp_path / "bare.pth")
    assert load_backbone(tmp_path / "bare.pth")[1] == "resnet18-w16"
    assert load_backbone(tmp_path / "bare.pth", arch="resnet18-w16-nopool")[1] == "resnet18-w16-nopool"


@needs_timm
def test_weights_of_another_network_of_timm_are_refused(runs: Any) -> None:
    with pytest.raises(CheckpointError, match="lacks weights of timm/test_convnext"):
        load_backbone(runs["test_vit"], arch="timm/test_convnext")
    with pytest.raises(CheckpointError, match=r"(lacks weights of|does not fit) timm/test_vit3"):
        load_backbone(runs["test_vit"], arch="timm/test_vit3")


@pytest.mark.parametrize(
    ("model", "option", "cause"),
    [
        (ModelConfig(arch="vgg16"), "--model.arch", "vgg16 is unknown"),
        (ModelConfig(arch="resnet18-w16"), "--model.arch", "resnet18-w16 is unknown"),
        pytest.param(ModelConfig(arch="timm/test_vit", width=16), "--model.width", "only ResNets", marks=needs_timm),
        pytest.param(ModelConfig(arch="timm/test_vit", stem="no-pool"), "--model.stem", "only ResN", marks=needs_timm),
        pytest.param(
            ModelConfig(arch="timm/test_vit", zero_init_residual=True),
            "--model.zero-init-residual",
            "only ResN",
            marks=needs_timm,
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(model: ModelConfig, option: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}: .*{cause}"):
        validate(replace(CONFIG, model=model))


def test_without_timm_its_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs timm, which is not installed\. Run pip install timm"):
        validate(replace(CONFIG, model=ModelConfig(arch="timm/test_vit")))


@needs_timm
@pytest.mark.parametrize(
    ("name", "crops", "knn", "option"),
    [
        ("test_vit", (32, 24), None, "--augment.crops: timm/test_vit does not take images of 24 x 24 pixels"),
        ("test_vit", (32, 16), 40, "--knn.size: timm/test_vit does not take images of 40 x 40"),
        ("test_convnext", (64, 24), None, "--augment.crops: timm/test_convnext does not take images of 24"),
        ("test_maxvit", (32, 32), None, "--augment.crops: timm/test_maxvit does not take images of 32"),
        ("test_vitt", (32, 16), None, "timm/test_vitt: timm .* has no such network. Did you mean timm/test_vit"),
    ],
)
def test_sizes_that_the_network_does_not_take_are_refused_before_anything_is_made(
    name: str, crops: tuple[int, int], knn: int | None, option: str, tmp_path: Path
) -> None:
    specs = tuple(replace(spec, size=size) for spec, size in zip(CONFIG.augment.crops, crops, strict=True))
    config = replace(
        CONFIG,
        out=tmp_path / "run",
        augment=replace(CONFIG.augment, crops=specs),
        model=ModelConfig(arch=f"timm/{name}"),
        knn=KnnConfig() if knn is None else KnnConfig(data=tmp_path / "probe.beton", size=knn),
    )
    with pytest.raises(ConfigError, match=option):
        build(config, RandomViews(config), ALONE)
    assert not list(tmp_path.iterdir())


@needs_timm
def test_an_evaluation_names_a_size_that_the_network_does_not_take(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "pairs.txt").write_text("1\t0\n")
    arguments = f"evaluate verification --images {tmp_path}/faces --pairs {tmp_path}/pairs.txt --arch timm/test_vit"
    assert main([*arguments.split(), "--size", "40"]) == 1
    assert "--size" in capsys.readouterr().err


def test_published_resnets_take_every_size() -> None:
    assert objection("resnet18", 1, 1) is None


# How they are trained


@needs_timm
def test_nothing_in_timms_networks_is_random() -> None:
    backbone, _ = build_backbone("timm/swin_tiny_patch4_window7_224")
    shown = images(64)
    assert torch.equal(backbone.train()(shown), backbone(shown))


@needs_timm
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_recomputing_gives_the_same_gradients_for_less_memory(name: str, tmp_path: Path) -> None:
    plain, _ = build_backbone(f"timm/{name}")
    again = copy.deepcopy(plain)
    recompute_blocks(again)
    for network in (plain, again):
        network(images()).square().sum().backward()
    pairs = zip(plain.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)
    config = run_config(name, tmp_path)
    less = step_memory(replace(config, recompute=True), 8, bf16=False).activations
    assert less < 0.8 * step_memory(config, 8, bf16=False).activations


@needs_timm
def test_recomputing_what_has_batchnorm_is_refused(tmp_path: Path) -> None:
    config = run_config("test_efficientnet", tmp_path / "run", recompute=True)
    with pytest.raises(ConfigError, match="--recompute: the BatchNorm of EfficientNet would count its images twice"):
        build(config, RandomViews(config), ALONE)


@needs_timm
def test_running_statistics_of_timms_layers_are_held() -> None:
    backbone, _ = build_backbone("timm/test_efficientnet")
    before = copy.deepcopy(backbone.state_dict())
    with statistics_held(backbone):
        held = backbone.train()(images())
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert torch.equal(backbone(images()), held)
    assert not torch.equal(backbone.state_dict()["bn1.running_mean"], before["bn1.running_mean"])


def synchronised_outcome(rank: int, world: int) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    backbone, _ = build_backbone("timm/test_efficientnet")
    if world > 1:
        synchronise(backbone, join_group(0))
    shown = images(32, 8).chunk(world)[rank]
    pooled = backbone.train()(shown)
    pooled.square().sum().backward()
    found = {"pooled": pooled, "gradient": backbone.conv_stem.weight.grad, **backbone.state_dict()}  # type: ignore[union-attr]
    return {name: tensor.detach().double().numpy() for name, tensor in found.items()}


@needs_timm
def test_two_ranks_share_the_statistics_of_batchnorm_with_activation() -> None:
    expected = synchronised_outcome(0, 1)
    one, other = run_ranks(synchronised_outcome, 2)
    np.testing.assert_allclose(
        np.concatenate([one["pooled"], other["pooled"]]), expected["pooled"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(one["gradient"] + other["gradient"], expected["gradient"], rtol=1e-3, atol=1e-4)
    for name in expected.keys() - {"pooled", "gradient"}:
        np.testing.assert_allclose(one[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


class Unknown(nn.BatchNorm2d):
    """Of a kind that nobody can synchronise."""


def test_a_batchnorm_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--model.batch-norm: a layer of the network, Unknown, cannot share"):
        synchronise(nn.Sequential(Unknown(3)), group=None)  # type: ignore[arg-type]
