"""The commands, from synthetic faces to an export that torchvision loads, as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torchvision

from frl.cli import COMMANDS, main
from frl.monitoring.logbook import read_metrics

TINY = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--optim.batch-size", "8", "--optim.reference-batch", "8", "--objective.prototypes", "12", "--device", "cpu"),
]
SHORT = ["--optim.epochs", "2", "--log-every-steps", "2"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    assert main(["synthesize", str(folder / "faces"), "--identities", "4", "--images", "6", "--size", "40"]) == 0
    assert main(["write", str(folder / "faces"), "--out", str(folder / "faces.beton"), "--workers", "1"]) == 0
    return folder / "faces.beton"


@pytest.fixture(scope="module")
def run(faces) -> Path:
    out = faces.parent / "run"
    probe = ["--knn.data", str(faces), "--knn.size", "24", "--knn.every-epochs", "1"]
    torchvisions = ["--model.width", "64", "--model.stem", "pool"]
    assert main(["pretrain", "cpu", "--data", str(faces), "--out", str(out), *TINY, *SHORT, *probe, *torchvisions]) == 0
    return out


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"frl {name}" in capsys.readouterr().out


def test_usage_lists_every_command(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text and command.summary in text for name, command in COMMANDS.items())


def test_an_unknown_command_is_named(capsys):
    assert main(["trian"]) == 2
    assert "trian" in capsys.readouterr().err


def test_verify_tells_sound_from_truncated(faces, tmp_path, capsys):
    assert main(["verify", str(faces), "--deep"]) == 0
    assert "sound, 24 images" in capsys.readouterr().out
    (tmp_path / "cut.beton").write_bytes(faces.read_bytes()[:-1])
    assert main(["verify", str(tmp_path / "cut.beton")]) == 1
    assert "cut.beton" in capsys.readouterr().err


def test_preview_writes_a_picture(faces, tmp_path):
    out = tmp_path / "crops.png"
    assert main(["preview", str(faces), "--preset", "cpu", "--count", "2", "--out", str(out)]) == 0
    assert torchvision.io.decode_image(str(out)).shape[0] == 3


def test_an_unknown_preset_is_refused_with_the_known_ones(faces, capsys):
    assert main(["pretrain", "vggface3", "--data", str(faces)]) == 1
    assert "vggface2" in capsys.readouterr().err


def test_an_unknown_option_is_refused(faces, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["pretrain", "cpu", "--data", str(faces), "--optim.learning-rate", "1"])
    assert stop.value.code == 2


def test_pretraining_logs_losses_and_the_probe(run):
    lines = read_metrics(run / "metrics.jsonl")
    assert max(line["step"] for line in lines) == 6
    assert [line["epoch"] for line in lines if "knn_top1" in line] == [0, 1]
    assert all(0 <= line["knn_top1"] <= 1 for line in lines if "knn_top1" in line)


def test_a_run_begins_with_a_table_and_says_what_it_is_bound_by(faces, tmp_path, capsys):
    assert (
        main(["pretrain", "cpu", "--data", str(faces), "--out", str(tmp_path), *TINY, *SHORT, "--max-steps", "3"]) == 0
    )
    printed = capsys.readouterr().out
    table = {line[:9].strip(): line[11:] for line in printed.splitlines() if line[9:11] == "  "}
    assert "24 images, engine" in table["data"] and table["model"] == "resnet18-w16-nopool"
    assert table["crops"] == "2 x 24 px" and table["preset"].startswith("cpu: 2 epochs, batch 8, peak lr")
    assert table["device"].startswith("1 x ") and table["precision"] in ("fp32", "bf16")
    assert "8 images at once a process" in table["batch"] and "GiB of activations" in table["memory"]
    assert "the CPU" in table["placement"] and table["time"].startswith("6 steps") and table["output"] == str(tmp_path)
    assert "epoch 0: " in printed and "bound by" in printed


def test_identical_images_raise_the_alarm(faces, tmp_path, capsys):
    """Fault T8, from the file to the exit status: within 16 steps, as its message says what to change."""
    (one, *_) = sorted((faces.parent / "faces" / "train").rglob("*.jpg"))
    (tmp_path / "same" / "person").mkdir(parents=True)
    for copy in range(24):
        shutil.copy(one, tmp_path / "same" / "person" / f"{copy}.jpg")
    beton = tmp_path / "same.beton"
    write = ["write", str(tmp_path / "same"), "--out", str(beton), "--workers", "1"]
    assert main([*write, "--dedupe", "none"]) == 0
    alarm = ["--health.action", "stop", "--health.patience-steps", "8", "--objective.freeze-prototypes-steps", "0"]
    options = [*TINY, *alarm, "--optim.epochs", "6", "--log-every-steps", "1"]
    assert main(["pretrain", "cpu", "--data", str(beton), "--out", str(tmp_path / "run"), *options]) == 1
    error = capsys.readouterr().err
    assert "collapse" in error and "Try, in this order" in error and "duplicates" in error
    assert max(line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")) <= 16


@pytest.mark.parametrize("format", ["torchvision", "frl"])
def test_the_export_loads_where_it_should(run, tmp_path, format):
    out = tmp_path / "weights.pth"
    assert main(["export", str(run), "--out", str(out), "--format", format]) == 0
    state = torch.load(out, weights_only=True)
    if format == "frl":
        state = {name.removeprefix("module.base_net."): tensor for name, tensor in state["state_dict"].items()}
    missing, unexpected = torchvision.models.resnet18().load_state_dict(state, strict=False)
    assert sorted(missing) == ["fc.bias", "fc.weight"] and not unexpected


def test_export_of_a_folder_without_checkpoints_says_so(tmp_path, capsys):
    assert main(["export", str(tmp_path)]) == 1
    assert "no checkpoints" in capsys.readouterr().err


REPORT = {"report.html", "report.md", "training.png", "crops.png", "neighbours.png"}


def test_report_compares_with_the_baselines(run, faces, tmp_path, capsys):
    weights = tmp_path / "weights.pth"
    main(["export", str(run), "--out", str(weights)])
    arguments = ["--weights", str(weights), "--data", str(faces), "--size", "24", "--out", str(tmp_path / "report")]
    assert main(["report", str(run), *arguments]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("trained", "untrained", "raw pixels"))
    assert {path.name for path in (tmp_path / "report").iterdir()} == REPORT


def test_report_needs_only_the_run(run, tmp_path, capsys):
    """Without options: the newest checkpoint, the run's own faces; and a page even when those are gone."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["knn"]["data"] = None
    (copy / "config.json").write_text(json.dumps(config))
    assert main(["report", str(copy)]) == 0
    assert {path.name for path in (copy / "report").iterdir()} == REPORT
    page = (copy / "report" / "report.html").read_text()
    assert all(
        f"<h2>{title}</h2>" in page for title in ("Curves", "Nearest neighbours", "Configuration", "Environment")
    )

    config["data"]["data"] = [str(tmp_path / "gone.beton")]
    (copy / "config.json").write_text(json.dumps(config))
    assert main(["report", str(copy), "--out", str(tmp_path / "poor")]) == 0
    page = (tmp_path / "poor" / "report.html").read_text()
    assert "gone.beton" in page and "<h2>Curves</h2>" in page and "<h2>Nearest" not in page
    capsys.readouterr()
    assert main(["report", str(copy), "--data", str(tmp_path / "gone.beton")]) == 1
    assert "gone.beton" in capsys.readouterr().err


def test_doctor_finds_what_setup_installed(capsys):
    assert main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out


def test_each_command_says_what_comes_next(faces, tmp_path, capsys):
    def next_of(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Next: ")]
        return line

    assert next_of("info", faces) == f"Next: frl verify {faces} --deep"
    assert next_of("verify", faces, "--deep") == f"Next: frl pretrain --data {faces} --out runs/x"
    folder = tmp_path / "my faces"
    assert next_of("extract", faces, "--out", folder) == f"Next: frl write '{folder}/faces.csv' --out FILE"
    train, probe = tmp_path / "train.beton", tmp_path / "probe.beton"
    split = next_of("split", faces, "--share", "0.5", "--out-train", train, "--out-probe", probe)
    assert split == f"Next: frl pretrain --data {train} --knn.data {probe} --out runs/train"
