"""Exports load where they should, bit for bit; what does not fit is refused by name."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from frl.config import AugmentConfig, ModelConfig, RunConfig, SwAVConfig, as_dict
from frl.config.model import RESNETS
from frl.errors import CheckpointError, ConfigError
from frl.evaluate import image_batches
from frl.export import export
from frl.models.backbone import build_backbone
from frl.objectives import Objective, Setting
from frl.pretrained import backbone_state, infer_arch, load_backbone
from frl.runtime import checkpoint as checkpoints
from frl.training.build import new_objective

CLASSIFIER = {"fc.weight", "fc.bias"}


def small_objective(seed: int) -> Objective:
    head = SwAVConfig(hidden_dim=16, feature_dim=8, prototypes=12)
    config = RunConfig(seed=seed, model=ModelConfig(arch="resnet18"), objective=head)
    return new_objective(config, Setting.of(config, steps_per_epoch=1, ranks=1))


@pytest.fixture(scope="module")
def trained() -> Objective:
    """A network whose every weight and statistic differs from its initial value, in the trainer's memory format."""
    net = small_objective(seed=5).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        net.train().backbone(torch.randn(4, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def saved(trained: Objective, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "step-000000001.pt"
    checkpoints.save(path, {"model": trained.state_dict(), "step": 1, "config": as_dict(RunConfig())})
    return path


def outputs(backbone: torch.nn.Module) -> torch.Tensor:
    """Pooled features of fixed random images, contiguous weights and input so that the arithmetic is the same."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    backbone.fc = torch.nn.Identity()
    with torch.inference_mode():
        return backbone.to(memory_format=torch.contiguous_format).eval()(images)


@pytest.fixture(scope="module")
def expected(trained: Objective) -> torch.Tensor:
    backbone, _ = build_backbone("resnet18")
    backbone.load_state_dict(trained.backbone.state_dict())
    return outputs(backbone)


def test_torchvision_export_lacks_only_the_classifier(saved: Path, tmp_path: Path, expected: torch.Tensor) -> None:
    path = export(saved, tmp_path / "deep" / "backbone.pt", "torchvision")
    state = torch.load(path, weights_only=True)
    network = torchvision.models.resnet18(weights=None)
    result = network.load_state_dict(state, strict=False)
    assert set(result.missing_keys) == CLASSIFIER
    assert result.unexpected_keys == []
    assert torch.equal(outputs(network), expected)


def test_a_torchvision_export_fits_timm_entirely(saved: Path, tmp_path: Path, expected: torch.Tensor) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet18", pretrained=False, num_classes=0)
    network.load_state_dict(torch.load(export(saved, tmp_path / "x.pt", "torchvision"), weights_only=True), strict=True)
    assert torch.equal(outputs(network), expected)


def test_safetensors_hold_the_same_bits_and_are_read_back(saved: Path, tmp_path: Path, expected: torch.Tensor) -> None:
    safetensors = pytest.importorskip("safetensors")
    path = export(saved, tmp_path / "backbone.safetensors", "safetensors")
    with safetensors.safe_open(path, framework="pt") as file:
        card = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    assert card["arch"] == "resnet18" and card["mean"] == "[0.485, 0.456, 0.406]"
    network = torchvision.models.resnet18(weights=None)
    assert set(network.load_state_dict(state, strict=False).missing_keys) == CLASSIFIER
    backbone, arch = load_backbone(path)
    assert arch == "resnet18"
    assert torch.equal(outputs(network), expected) and torch.equal(outputs(backbone), expected)


def test_damaged_safetensors_are_refused(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = export(saved, tmp_path / "backbone.safetensors", "safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"backbone\.safetensors.*not a readable"):
        load_backbone(path)


def test_onnx_computes_the_same_for_any_batch_and_size(saved: Path, tmp_path: Path, trained: Objective) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    path = export(saved, tmp_path / "backbone.onnx", "onnx")
    session = runtime.InferenceSession(path)
    backbone, _ = load_backbone(saved)
    for shape in ((1, 3, 64, 64), (5, 3, 96, 80)):
        images = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        (features,) = session.run(["features"], {"images": images.numpy()})
        with torch.inference_mode():
            torch.testing.assert_close(torch.from_numpy(features), backbone(images), rtol=1e-4, atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["arch"] == "resnet18"


def test_a_missing_package_names_the_package(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ConfigError, match=r"safetensors is not installed.*pip install safetensors"):
        export(saved, tmp_path / "x.safetensors", "safetensors")
    assert list(tmp_path.iterdir()) == []


def test_frl_export_loads_as_the_authors_publish_it(saved: Path, tmp_path: Path, expected: torch.Tensor) -> None:
    path = export(saved, tmp_path / "released.pth", "frl")
    # The steps of the model zoo: take 'state_dict', cut the prefix off wherever it stands, load leniently.
    released = torch.load(path, map_location=torch.device("cpu"), weights_only=True)["state_dict"]
    network = torchvision.models.resnet18(weights=None)
    result = network.load_state_dict({k.replace("module.base_net.", ""): v for k, v in released.items()}, strict=False)
    assert set(result.missing_keys) == CLASSIFIER
    assert result.unexpected_keys == []
    assert torch.equal(outputs(network), expected)


@pytest.mark.parametrize("format", ["torchvision", "frl"])
def test_exported_tensors_are_portable(saved: Path, tmp_path: Path, format: Any) -> None:
    content = torch.load(export(saved, tmp_path / "x.pt", format), weights_only=True)
    for name, tensor in content.get("state_dict", content).items():
        assert type(tensor) is torch.Tensor and not tensor.requires_grad
        assert tensor.is_contiguous(), name
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32), name
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def layouts(net: Objective) -> dict[str, dict[str, Any]]:
    """The same backbone as each of the projects writes it, with their other tensors around it."""
    backbone = dict(net.backbone.state_dict())
    others = {"projection_net.net.0.weight": torch.zeros(4, 4), "prototypes.weight": torch.zeros(12, 8)}
    heads = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}

    def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {prefix + name: tensor for name, tensor in state.items()}

    return {
        "ours": {
            **{"format": "frl-checkpoint", "version": 1, "step": 3},
            **{"model": dict(net.state_dict()), "config": as_dict(RunConfig())},
        },
        "torchvision": backbone | heads,
        "torchvision without fc": backbone,
        "torchvision under DDP": prefixed("module.", backbone | others),
        "released": {
            "epoch": 400,
            "state_dict": prefixed("module.base_net.", backbone) | prefixed("module.", others),
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        },
        "released without DDP": {"state_dict": prefixed("base_net.", backbone) | others},
        "released MoCo": {
            "state_dict": prefixed("module.encoder_q.", backbone | heads)
            | prefixed("module.encoder_k.", {k: torch.zeros_like(v) for k, v in backbone.items()})
        },
        "half precision": {name: t.half() if t.is_floating_point() else t for name, t in backbone.items()},
        "without counters": {name: t for name, t in backbone.items() if not name.endswith("num_batches_tracked")},
    }


@pytest.mark.parametrize("layout", layouts(small_objective(seed=0)))
def test_every_layout_gives_the_same_backbone(
    layout: str, trained: Objective, tmp_path: Path, expected: torch.Tensor
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(layouts(trained)[layout], path)
    backbone, arch = load_backbone(path)
    assert arch == "resnet18"
    assert not backbone.training
    tolerance = 0.05 if layout == "half precision" else 0.0
    torch.testing.assert_close(outputs(backbone), expected, rtol=tolerance, atol=tolerance)


def test_export_round_trip_keeps_every_bit(saved: Path, tmp_path: Path, trained: Objective) -> None:
    released = export(saved, tmp_path / "released.pth", "frl")
    again = torch.load(export(released, tmp_path / "plain.pt", "torchvision"), weights_only=True)
    assert again.keys() == trained.backbone.state_dict().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in trained.backbone.state_dict().items())


@pytest.mark.parametrize("arch", RESNETS)
def test_architecture_is_told_by_shapes(arch: str) -> None:
    with torch.device("meta"):
        backbone, _ = build_backbone(arch)
    assert infer_arch(backbone.state_dict()) == arch


def test_missing_weights_are_named(trained: Objective, tmp_path: Path) -> None:
    state = dict(trained.backbone.state_dict())
    del state["layer3.1.bn2.running_var"], state["conv1.weight"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(CheckpointError, match=r"short\.pt.*resnet18.*conv1\.weight, layer3\.1\.bn2\.running_var"):
        load_backbone(tmp_path / "short.pt")
    with pytest.raises(CheckpointError, match="conv1.weight"):
        export(tmp_path / "short.pt", tmp_path / "out.pt", "torchvision")
    assert not (tmp_path / "out.pt").exists()


def test_another_architecture_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"resnet50: layer1\.0\.conv3\.weight"):
        load_backbone(saved, arch="resnet50")
    with pytest.raises(CheckpointError, match=r"does not fit resnet18: layer1\.2"):
        load_backbone(_resnet34(tmp_path), arch="resnet18")
    with pytest.raises(ConfigError, match="vgg16 is unknown"):
        load_backbone(saved, arch="vgg16")


def _resnet34(folder: Path) -> Path:
    backbone, _ = build_backbone("resnet34")
    torch.save(backbone.state_dict(), folder / "resnet34.pt")
    return folder / "resnet34.pt"


def test_weights_that_fit_nothing_are_refused(trained: Objective, tmp_path: Path) -> None:
    torch.save(trained.backbone.state_dict() | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="fit none"):
        load_backbone(tmp_path / "odd.pt")


@pytest.mark.parametrize("content", [{}, {"weights": torch.zeros(3)}, {"state_dict": [1, 2]}, {"model": "resnet"}])
def test_a_file_without_a_resnet_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no ResNet"):
        backbone_state(content)
    torch.save(content, tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match=r"empty\.pt"):
        load_backbone(tmp_path / "empty.pt")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text"])
def test_a_file_that_is_no_dictionary_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match=r"list\.pt"):
        load_backbone(tmp_path / "list.pt")


class Malicious:
    """Runs a shell command when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("container", ["zip", "bare pickle"])
def test_a_pickle_with_code_is_refused_and_does_not_run(container: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "evil.pth"
    content = {"state_dict": {"module.base_net.conv1.weight": Malicious(witness)}}
    if container == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    for attempt in (lambda: load_backbone(path), lambda: export(path, tmp_path / "out.pt", "frl")):
        with pytest.raises(CheckpointError, match=r"evil\.pth"):
            attempt()
    assert not witness.exists()
    torch.load(path, weights_only=False) if container == "zip" else pickle.loads(path.read_bytes())
    assert witness.exists()  # the trap was armed


def spoiled(net: Objective, name: str, value: float | torch.dtype) -> dict[str, torch.Tensor]:
    """The backbone's weights, of which one tensor has one other value, or another type."""
    state = {key: tensor.clone() for key, tensor in net.backbone.state_dict().items()}
    if isinstance(value, torch.dtype):
        state[name] = state[name].to(value)
    else:
        state[name].flatten()[0] = value
        state[name] = state[name].contiguous()
        state[name].view(-1)[0] = value
    return state


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("layer2.0.conv1.weight", float("nan"), "NaN or infinite: layer2.0.conv1.weight"),
        ("bn1.running_mean", float("inf"), "NaN or infinite: bn1.running_mean"),
        ("layer4.1.bn2.running_var", float("-inf"), "NaN or infinite: layer4.1.bn2.running_var"),
        ("bn1.running_var", -1.0, "bn1.running_var holds negative variances"),
        ("conv1.weight", torch.int8, "conv1.weight holds int8"),
    ],
)
def test_weights_that_are_no_numbers_are_refused_at_every_door(
    name: str, value: Any, cause: str, trained: Objective, tmp_path: Path
) -> None:
    """Fault D1: one bad value in one tensor, in each layout that is read."""
    state = spoiled(trained, name, value)
    bad = tmp_path / "bad.pth"
    for content in (state, {"state_dict": {f"module.base_net.{key}": tensor for key, tensor in state.items()}}):
        torch.save(content, bad)
        with pytest.raises(CheckpointError, match=f"bad.pth.*{cause}"):
            load_backbone(bad)
        with pytest.raises(CheckpointError, match=cause):
            export(bad, tmp_path / "out.pth")
        with pytest.raises(CheckpointError, match=cause):
            backbone_state(content)
    assert not (tmp_path / "out.pth").exists()


def test_doubles_that_overflow_float32_are_refused(trained: Objective, tmp_path: Path) -> None:
    state = dict(trained.backbone.state_dict()) | {"bn1.bias": torch.full((64,), 1e300, dtype=torch.float64)}
    with pytest.raises(CheckpointError, match="bn1.bias"):
        backbone_state(state)


def test_the_suffix_says_the_format_and_a_contradiction_is_refused(saved: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = export(str(saved), str(tmp_path / "x.safetensors"))
    assert set(safetensors.load_file(path)) == set(torch.load(export(saved, tmp_path / "x.pth"), weights_only=True))
    for name, format in (
        ("y.safetensors", "torchvision"),
        ("y.safetensors", "frl"),
        ("y.onnx", "safetensors"),
        ("y.ONNX", "torchvision"),
        ("y.pth", "onnx"),
        ("y.bin", "safetensors"),
    ):
        with pytest.raises(ConfigError, match=f"--format: {format} is not what others expect in {name}"):
            export(saved, tmp_path / name, format)  # type: ignore[arg-type]
    export(saved, tmp_path / "no_suffix", "safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no_suffix", "x.pth", "x.safetensors"]


def test_nothing_is_overwritten_unasked(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis.pth"
    out.write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis.pth exists already.*--overwrite"):
        export(saved, out)
    assert out.read_text() == "years of work"
    assert load_backbone(export(saved, out, overwrite=True))[1] == "resnet18"
    copy = tmp_path / "copy.pt"
    copy.write_bytes(saved.read_bytes())
    with pytest.raises(ConfigError, match="is the checkpoint itself"):
        export(copy, copy, overwrite=True)
    assert copy.read_bytes() == saved.read_bytes()


def test_strings_and_runs_are_taken(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    (run / "step-000000001.pt").write_bytes(saved.read_bytes())
    for source in (str(saved), str(run.parent), run.parent, run):
        assert load_backbone(source)[1] == "resnet18"
    assert export(str(run.parent), str(tmp_path / "x.pth")) == tmp_path / "x.pth"


def test_half_precision_is_half_the_size_and_near_the_network(saved: Path, tmp_path: Path) -> None:
    network, _ = load_backbone(saved)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network(images)
    for name in ("x.pth", "x.safetensors"):
        if name.endswith("safetensors"):
            pytest.importorskip("safetensors")
        whole, half = export(saved, tmp_path / f"whole-{name}"), tmp_path / name
        export(saved, half, precision="float16")
        assert 0.49 < half.stat().st_size / whole.stat().st_size < 0.52
        loaded, arch = load_backbone(half)
        assert arch == "resnet18" and {p.dtype for p in loaded.parameters()} == {torch.float32}
        with torch.inference_mode():
            found = loaded(images)
        assert not torch.equal(found, wanted)
        assert torch.nn.functional.cosine_similarity(found, wanted).min() > 0.9999


def test_what_half_precision_cannot_hold_is_refused(trained: Objective, tmp_path: Path) -> None:
    torch.save(spoiled(trained, "layer1.0.bn1.running_var", 1e6), tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match="cannot hold layer1.0.bn1.running_var.*float32"):
        export(tmp_path / "wide.pth", tmp_path / "half.pth", precision="float16")
    assert not (tmp_path / "half.pth").exists()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_onnx_takes_any_batch_in_either_precision(saved: Path, tmp_path: Path, precision: Any) -> None:
    """Against the network itself, at sizes and batches that it was not traced with."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export(saved, tmp_path / "x.onnx", precision=precision)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    network, _ = load_backbone(saved)
    for batch, height, width in ((1, 64, 64), (5, 96, 80), (3, 112, 112)):
        images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            wanted = network(images)
        (found,) = session.run(["features"], {"images": images.numpy()})
        assert found.dtype == "float32" and found.shape == wanted.shape
        error = (torch.from_numpy(found) - wanted).norm() / wanted.norm()
        assert error < (1e-5 if precision == "float32" else 1e-2), error
    if precision == "float16":
        kinds = {weight.data_type for weight in pytest.importorskip("onnx").load(path).graph.initializer}
        assert 10 in kinds and 1 not in kinds  # FLOAT16, and not FLOAT


@pytest.mark.parametrize(
    "name, precision, most, angle",
    [
        ("x.onnx", "float32", 1e-5, 1e-10),
        ("x.onnx", "float16", 5e-3, 1e-5),
        ("x.pth", "float16", 5e-3, 1e-5),
        ("x.safetensors", "float16", 5e-3, 1e-5),
    ],
)
def test_exports_say_of_real_faces_what_the_network_says(
    real_faces: Path, tmp_path: Path, name: str, precision: Any, most: float, angle: float
) -> None:
    """The released network on photographs: the largest difference over the largest feature, and 1 - cosine."""
    pytest.importorskip("safetensors")
    paths = (
        sorted((real_faces / "lfw_color150").rglob("*.jpg"))[::50]
        + sorted((real_faces / "utkface200").rglob("*"))[::50]
    )
    images = torch.cat(
        [batch.views[0] for batch in image_batches(paths, size=32, augment=AugmentConfig())]
    ).contiguous()
    network, _ = load_backbone("released:synthetic-faces")
    if name.endswith("onnx"):
        pytest.importorskip("onnxscript")
        runtime = pytest.importorskip("onnxruntime")
        path = export("released:synthetic-faces", tmp_path / name, precision=precision)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        parts = [session.run(["features"], {"images": part.numpy()})[0] for part in images.split(48)]
        found = torch.from_numpy(np.concatenate(parts)).double()
    else:
        loaded, _ = load_backbone(export("released:synthetic-faces", tmp_path / name, precision=precision))
        with torch.inference_mode():
            found = loaded(images).double()
    with torch.inference_mode():
        wanted = network(images).double()
    assert len(found) > 100
    assert (found - wanted).abs().max() < most * wanted.abs().max()
    assert 1 - torch.nn.functional.cosine_similarity(found, wanted).min() < angle


@pytest.mark.parametrize("config", [..., None, {}, {"model": {"arch": "resnet18"}}, {"model": None, "augment": None}])
def test_a_checkpoint_that_does_not_tell_its_network_is_not_guessed(
    config: Any, saved: Path, trained: Objective, tmp_path: Path
) -> None:
    """The shapes of the weights say nothing of the stem's pooling and stride."""
    state = checkpoints.read_tensors(saved)
    arch = load_backbone(saved)[1]
    torch.save({name: part for name, part in {**state, "config": config}.items() if part is not ...}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt: lacks the options of its run, .* --arch"):
        load_backbone(tmp_path / "a.pt")
    assert load_backbone(tmp_path / "a.pt", arch)[1] == arch


def test_keys_that_are_no_names_are_passed_over(saved: Path, tmp_path: Path) -> None:
    state = checkpoints.read_tensors(saved)["model"]
    torch.save({**state, 7: torch.zeros(1)}, tmp_path / "odd.pt")
    assert load_backbone(tmp_path / "odd.pt")[1]
