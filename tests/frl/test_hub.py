"""Networks of a model hub, against a stand-in that speaks the hub's own HTTP on the loopback."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hub_server import LFS_FROM, PART, TOKEN, Fault, Hub, model_hub
from torch import nn

from frl import hub
from frl.cli import main
from frl.config import RunConfig, as_dict
from frl.errors import CheckpointError, ConfigError, HubError
from frl.evaluate.few_labels import Trial
from frl.evaluate.table import Row
from frl.models.backbone import build_backbone
from frl.pretrained import load_backbone
from frl.publication import write_publication
from frl.runtime import checkpoint
from frl.runtime.checkpoint import with_card
from frl.tasks.scores import score
from frl.tasks.task import Score

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("safetensors")
CARD = {"mean": "[0.5, 0.4, 0.3]", "std": "[0.2, 0.25, 0.3]"}
LICENCE = ["--licence", "cc-by-nc-4.0"]


class _Hasty:
    """The module ``time``, without waiting."""

    time, monotonic, perf_counter = time.time, time.monotonic, time.perf_counter

    @staticmethod
    def sleep(seconds: float) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and a user with a cache of their own who is logged in."""
    constants = importlib.import_module("huggingface_hub.constants")
    with model_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # The client waits up to half a minute between its tries; here it has as many, and does not wait.
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            monkeypatch.setattr(importlib.import_module(module), "time", _Hasty)
        yield running


def saved(path: Path, arch: str) -> tuple[Path, nn.Module]:
    """A file of weights that says how its images were normalised, and the network."""
    torch.manual_seed(1)
    network, _ = build_backbone(arch)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    name, _, width = arch.partition("-w")
    torch.save(with_card(network.state_dict(), {"arch": name, **({"width": width} if width else {}), **CARD}), path)
    return path, network.eval()


def features(network: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.rand(3, 3, 64, 48, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def narrow(tmp_path: Path) -> tuple[Path, nn.Module]:
    return saved(tmp_path / "narrow.pth", "resnet18-w8")


def test_what_is_pushed_is_what_is_pulled(server: Hub, narrow: tuple[Path, nn.Module], tmp_path: Path, capsys) -> None:
    path, network = narrow
    assert main(["push", str(path), "lab/faces", *LICENCE, "--private"]) == 0
    assert f"{server.url}/lab/faces/commit/" in capsys.readouterr().out
    repository = server.repositories["lab/faces"]
    assert repository.private and set(repository.commits[repository.head]) == {".gitattributes", *hub.FILES}
    assert len(repository.commits) == 2, "one commit made all of it"

    assert main(["pull", "lab/faces", "--out", str(tmp_path / "copy")]) == 0
    for name in hub.FILES:
        assert (tmp_path / "copy" / name).read_bytes() == repository.commits[repository.head][name]
    loaded, arch = load_backbone("hub:lab/faces")
    assert arch == "resnet18-w8" and torch.equal(features(loaded), features(network))


def test_a_copy_in_the_cache_needs_no_hub(server: Hub, narrow: tuple[Path, nn.Module], monkeypatch) -> None:
    path, network = narrow
    main(["push", str(path), "lab/faces", *LICENCE])
    hub.fetch("lab/faces")
    asked = len(server.requests)
    assert torch.equal(features(load_backbone("hub:lab/faces")[0]), features(network))
    assert len(server.requests) == asked, "nobody is asked for what is there"

    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()  # else its connection is served on
    load_backbone("hub:lab/faces")
    with pytest.raises(HubError, match=r"hub:lab/other: .*cannot be reached, and no whole copy is in the cache"):
        hub.fetch("lab/other")
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"cannot be reached, and no whole copy"):
        hub.fetch("lab/other")


def test_pull_brings_what_is_new_and_a_revision_stays(server: Hub, narrow: tuple[Path, nn.Module], tmp_path) -> None:
    path, network = narrow
    main(["push", str(path), "lab/faces", *LICENCE])
    first = server.repositories["lab/faces"].head
    hub.fetch("lab/faces")
    other, second = saved(tmp_path / "other.pth", "resnet18-w4")
    main(["push", str(other), "lab/faces", *LICENCE])
    assert load_backbone("hub:lab/faces")[1] == "resnet18-w8"
    assert main(["pull", "lab/faces"]) == 0
    assert load_backbone("hub:lab/faces")[1] == "resnet18-w4"
    assert torch.equal(features(load_backbone(f"hub:lab/faces@{first}")[0]), features(network))
    with pytest.raises(HubError, match="has no revision v9"):
        hub.fetch("lab/faces@v9")


def test_large_files_travel_in_parts(server: Hub, tmp_path: Path) -> None:
    path, network = saved(tmp_path / "large.pth", "resnet18")
    main(["push", str(path), "lab/large", *LICENCE])
    weights = server.repositories["lab/large"].commits[server.repositories["lab/large"].head][hub.WEIGHTS]
    assert len(weights) > 2 * PART > LFS_FROM and len(server.parts) == -(-len(weights) // PART)
    assert torch.equal(features(load_backbone("hub:lab/large")[0]), features(network))


@pytest.mark.parametrize(
    ("faults", "uploads"),
    [
        ([Fault("PUT /lfs/", 503, 2), Fault("/batch", 429), Fault("preupload", 500)], True),
        ([Fault("GET /cdn/", "cut", 2)], False),
        ([Fault("HEAD ", 503), Fault("GET /cdn/", 429)], False),
    ],
)
def test_passing_trouble_costs_nothing(server: Hub, tmp_path: Path, faults: list[Fault], uploads: bool) -> None:
    path, network = saved(tmp_path / "weights.pth", "resnet18-w16")
    if uploads:
        server.faults = faults
    assert main(["push", str(path), "lab/faces", *LICENCE]) == 0
    server.faults = faults
    assert torch.equal(features(load_backbone("hub:lab/faces")[0]), features(network))
    assert all(fault.times == 0 for fault in faults), "each happened"


def test_a_cut_download_goes_on_where_it_was(server: Hub, tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "weights.pth", "resnet18-w32")
    main(["push", str(path), "lab/faces", *LICENCE])
    server.faults = [Fault("GET /cdn/", "cut")]
    weights = hub.fetch("lab/faces")
    assert sum(request.startswith("GET /cdn/") for request in server.requests) == 2
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in server.objects


@pytest.mark.parametrize(
    ("status", "cause"),
    [(429, "answers 429.*too many requests.*Wait some minutes"), (503, "answers 503.*trouble of its own.*later")],
)
def test_lasting_trouble_is_an_error_and_changes_nothing(
    server: Hub, narrow: tuple[Path, nn.Module], status: int, cause: str, capsys
) -> None:
    main(["push", str(narrow[0]), "lab/faces", *LICENCE])
    head = server.repositories["lab/faces"].head
    server.faults = [Fault("POST /api/models/.*/(preupload|commit)/", status, 1000)]
    assert main(["push", str(narrow[0]), "lab/faces", *LICENCE]) == 1
    assert server.repositories["lab/faces"].head == head
    error = capsys.readouterr().err
    assert all(part in error.replace("\n", " ") for part in cause.split(".*")), error


def test_wrong_bytes_of_the_right_number_are_refused(server: Hub, narrow: tuple[Path, nn.Module]) -> None:
    main(["push", str(narrow[0]), "lab/faces", *LICENCE])
    server.faults = [Fault("GET /cdn/", "flip")]
    with pytest.raises(HubError, match="differs from the checksum that the hub states"):
        hub.fetch("lab/faces")
    assert hub.fetch("lab/faces", refresh=True).is_file(), "and the next one is sound"


def test_who_may_not_is_told_how_to(server: Hub, narrow: tuple[Path, nn.Module], monkeypatch, capsys) -> None:
    main(["push", str(narrow[0]), "lab/hidden", *LICENCE, "--private"])
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert main(["push", str(narrow[0]), "lab/faces", *LICENCE]) == 1
    assert "hf auth login" in capsys.readouterr().err and "lab/faces" not in server.repositories
    assert main(["pull", "lab/hidden"]) == 1
    error = capsys.readouterr().err
    assert "hub:lab/hidden: " in error and "hf auth login" in error


def test_a_repository_without_weights_is_refused(server: Hub) -> None:
    server.commit("lab/text", {"README.md": b"nothing"})
    with pytest.raises(HubError, match=r"hub:lab/text: holds no model\.safetensors"):
        hub.fetch("lab/text")
    with pytest.raises(HubError, match="is no repository of .*, or not one that you may see"):
        hub.fetch("lab/nothing")


@pytest.mark.parametrize("name", ["faces", "a/b/c", "/b", "a/", "a b/c", "a/b@", "../b@x/y"])
def test_a_wrong_name_is_refused_before_anything_is_asked(server: Hub, name: str, narrow, capsys) -> None:
    with pytest.raises(HubError, match="is no name of a repository"):
        hub.fetch(name)
    assert main(["push", str(narrow[0]), name, *LICENCE, "--folder", str(narrow[0].parent / "f")]) == 1
    assert not server.requests and not (narrow[0].parent / "f").exists()


@pytest.mark.parametrize("arch", ["resnet18", "timm/resnet10t"])
def test_timm_loads_it_by_its_name(server: Hub, tmp_path: Path, arch: str) -> None:
    timm = pytest.importorskip("timm")
    path, network = saved(tmp_path / "weights.pth", arch)
    main(["push", str(path), "lab/faces", *LICENCE])
    model = timm.create_model("hf_hub:lab/faces", pretrained=True).eval()
    torch.testing.assert_close(features(model), features(network), rtol=1e-5, atol=1e-5)
    told = timm.data.resolve_model_data_config(model)
    assert tuple(told["mean"]) == (0.5, 0.4, 0.3) and tuple(told["std"]) == (0.2, 0.25, 0.3)
    assert told["crop_pct"] == 1.0


def test_the_snippet_for_torchvision_runs(server: Hub, tmp_path: Path) -> None:
    path, network = saved(tmp_path / "weights.pth", "resnet18")
    main(["push", str(path), "lab/faces", *LICENCE])
    card = hub.fetch("lab/faces").with_name(hub.CARD).read_text()
    (snippet,) = [block for block in card.split("```") if "torchvision.models" in block]
    variables: dict = {}
    exec(snippet.removeprefix("python"), variables)
    assert isinstance(variables["model"], torchvision.models.ResNet)
    assert torch.equal(features(variables["model"].eval()), features(network))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, with a probe; its faces are gone."""
    network, _ = build_backbone("resnet18-w8")
    config = as_dict(RunConfig()) | {"out": str(tmp_path / "secret" / "run")}
    config["model"] |= {"arch": "resnet18", "width": 8}
    config["data"]["data"] = [str(tmp_path / "secret" / "faces.beton")]
    config["knn"]["data"] = str(tmp_path / "secret" / "probe.beton")
    state = {"config": config, "model": {f"backbone.{name}": value for name, value in network.state_dict().items()}}
    checkpoint.save(checkpoint.path_of(tmp_path / "run" / "checkpoints", 3), state)
    lines = [{"step": 3, "epoch": 0, "knn_top1": 0.25}, {"step": 6, "epoch": 1, "knn_top1": 0.5}]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "run"


def test_the_card_says_what_is_known(run: Path, tmp_path: Path) -> None:
    """Its metadata are read by huggingface_hub's own parser."""
    measured = {"step-3.pt (resnet18-w8)": {"accuracy": 0.625, "auc": 0.75}, "raw pixels": {"accuracy": 0.5}}
    (tmp_path / "lfw.json").write_text(json.dumps(measured))
    out = tmp_path / "folder"
    write_publication(run, out, "lab/faces", licence="for research alone", results=[tmp_path / "lfw.json"])
    card = huggingface_hub.ModelCard.load(out / hub.CARD)
    assert card.data.license == "other" and card.data.license_name == "for-research-alone"
    assert card.data.library_name == "frl" and "swav" in card.data.tags
    (first, second) = card.data.eval_results
    assert (first.dataset_name, first.metric_type, first.metric_value) == ("lfw", "accuracy", 0.625)
    assert second.metric_value == 0.75
    text = card.text
    for said in ("0.6250", "raw pixels", "50.00% of identities", "after epoch 1", "`faces.beton` was not at hand",
                 "prototypes", "for research alone", "Faces are personal data"):  # fmt: skip
        assert said in text, said
    config = json.loads((out / hub.CONFIG).read_text())
    assert config["frl"]["run"]["data"]["data"] == ["faces.beton"] and config["frl"]["network"] == "resnet18-w8"
    assert "secret" not in text + json.dumps(config), "nothing says where things lay"


def heads_result(rows: list[tuple[str, str, str]], how: str = "frozen") -> dict:
    """What ``frl evaluate landmarks --out`` writes of rows of network, features and labels; each has its own error."""
    faces = [Trial(seed=seed, faces=9, setting="", details={}, scores={}) for seed in (0, 1)]
    measured = []
    for place, (network, features, labels) in enumerate(rows, start=1):
        scores = {"nme": percent(place / 100), "auc10": percent(np.nan), "nme/pose": percent(0.5)}
        found = tuple(replace(trial, scores=scores) for trial in faces)
        measured.append(Row(network=network, features=features, labels=labels, trials=found).to_json())
    return {"task": "landmarks", "how": how, "headline": "nme", "rows": measured}


def percent(value: float) -> Score:
    return score(value, "{:.2%}", higher_is_better=False)


def test_the_card_has_the_results_of_heads_too(run: Path, tmp_path: Path) -> None:
    """Every row of the network, none of a baseline's, with what tells the rows apart."""
    own = "step-3.pt (resnet18-w8)"
    frozen = [("untrained (resnet18-w8)", "pooled", "100%"), ("HOG", "", "100%"), ("constant", "", "100%")]
    frozen += [(own, "pooled", "10%"), (own, "unpooled", "100%")]
    tuned = [("HOG", "", "100%"), (own, "fine-tuned, linear", "100%")]
    (tmp_path / "wflw.json").write_text(json.dumps(heads_result(frozen)))
    (tmp_path / "tuned.json").write_text(json.dumps(heads_result(tuned, "finetune")))
    results = [tmp_path / "wflw.json", tmp_path / "tuned.json"]
    write_publication(run, tmp_path / "out", "lab/faces", licence="mit", results=results)
    card = huggingface_hub.ModelCard.load(tmp_path / "out" / hub.CARD)
    told = [(one.dataset_name, one.task_name, one.metric_type, one.metric_name, one.metric_value)
            for one in card.data.eval_results]  # fmt: skip
    assert told == [
        ("wflw", "faces, by a frozen network", "nme", "nme, pooled, 10%", 0.04),
        ("wflw", "faces, by a frozen network", "nme", "nme, unpooled, 100%", 0.05),
        ("tuned", "faces, fine-tuned", "nme", "nme, fine-tuned, linear", 0.02),
    ]
    assert "| HOG, 100% | 2.00% +- 0.00% | n/a |" in card.text and "nme/pose" not in card.text
    assert f"| {own}, unpooled, 100% | 5.00% +- 0.00% | n/a |" in card.text


def test_the_card_of_a_run_whose_faces_are_there_holds_their_licences(run: Path, tmp_path: Path) -> None:
    faces, secret = tmp_path / "faces", tmp_path / "secret"
    secret.mkdir()
    assert main(["synthesize", str(faces), "--identities", "2", "--images", "3", "--size", "32"]) == 0
    stated = ["--licence", "drawn by us, CC0"]
    assert main(["write", str(faces), "--out", str(secret / "faces.beton"), "--workers", "1", *stated]) == 0
    write_publication(run, tmp_path / "out", "lab/faces", licence="cc0-1.0")
    text = (tmp_path / "out" / hub.CARD).read_text()
    assert "6 images, 2 identities" in text and "| faces | 6 | drawn by us, CC0 |" in text
    assert str(tmp_path) not in text


def test_a_dry_run_writes_the_folder_and_asks_nobody(server: Hub, run: Path, tmp_path: Path, capsys) -> None:
    dry = ["push", str(run), "lab/faces", *LICENCE, "--dry-run", "--folder", str(tmp_path / "out")]
    assert main(dry) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(hub.FILES) and not server.requests
    assert main(dry) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*dry, "--overwrite"]) == 0


def test_what_cannot_be_published_is_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "odd.json").write_text("[1, 2]")
    baselines = ("untrained (resnet18-w8)", "raw pixels", "HOG", "ImageNet (resnet18-w8)")
    (tmp_path / "base.json").write_text(json.dumps({name: {"accuracy": 1} for name in baselines}))
    (tmp_path / "heads.json").write_text(json.dumps(heads_result([("HOG", "", "100%"), ("constant", "", "100%")])))
    (tmp_path / "rows.json").write_text('{"rows": [{"network": "x.pt (resnet18)"}]}')
    with pytest.raises(ConfigError, match="--licence: is empty"):
        write_publication(run, out, "lab/faces", licence=" ")
    causes = {"odd": "no figures by network", "rows": "no figures by network", "no": "cannot be read"}
    for name, cause in (causes | {"base": "baselines alone", "heads": "baselines alone"}).items():
        with pytest.raises(ConfigError, match=cause):
            write_publication(run, out, "lab/faces", licence="mit", results=[tmp_path / f"{name}.json"])
    with pytest.raises(CheckpointError, match="no such file"):
        write_publication(tmp_path / "none.pth", out, "lab/faces", licence="mit")
    assert not out.exists()


def test_from_the_command_line_with_the_environment_alone(tmp_path: Path, narrow: tuple[Path, nn.Module]) -> None:
    """Push, pull, and an evaluation's loading, offline, each a process of its own."""
    with model_hub() as running:
        environment = {**os.environ, "HF_ENDPOINT": running.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
                       "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        for command in (["push", str(narrow[0]), "lab/faces", *LICENCE], ["pull", "lab/faces"]):
            done = subprocess.run(
                [sys.executable, "-m", "frl.cli", *command],
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
    export = ["export", "hub:lab/faces", "--out", str(tmp_path / "again.pth")]
    done = subprocess.run(
        [sys.executable, "-m", "frl.cli", *export], env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert torch.equal(features(load_backbone(tmp_path / "again.pth")[0]), features(narrow[1]))


def test_torch_hub_loads_the_folder(narrow: tuple[Path, nn.Module]) -> None:
    root = Path(hub.__file__).parents[1]
    network = torch.hub.load(str(root), "backbone", str(narrow[0]), source="local")
    assert torch.equal(features(network), features(narrow[1]))
    assert not torch.hub.load(str(root), "untrained", "resnet18-w8", source="local").training
