"""Every option of every command that cannot work is refused at the start, by name, and nothing is made."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import BetonWriter
from frl.cli import main
from frl.cli.evaluate import Knn, Verification
from frl.cli.export import ExportConfig
from frl.cli.extract import ExtractConfig
from frl.cli.info import InfoConfig
from frl.cli.merge import MergeConfig
from frl.cli.preview import PreviewConfig
from frl.cli.report import ReportConfig
from frl.cli.split import SplitConfig
from frl.cli.synthesize import SynthesizeConfig
from frl.cli.verify import VerifyConfig
from frl.config import (
    AugmentConfig,
    CropSpec,
    DataConfig,
    KnnConfig,
    ObjectiveConfig,
    RunConfig,
    Stage,
    SwAVConfig,
    as_dict,
    validate,
)
from frl.errors import ConfigError, FrlError
from frl.evaluate import untrained
from pipelines.benchmark.run import BenchConfig
from writers.config import WriteConfig

NAN, INF = math.nan, math.inf
LEAST_0, LEAST_1 = (-1,), (0, -1)
RATE = (-1.0, NAN, INF)  # of at least 0
ABOVE_0 = (0.0, *RATE)
SHARE = (-0.1, 1.1, NAN)

# Whatever has a number in a run's configuration, and values of it that cannot work.
RUN: dict[str, tuple[Any, ...]] = {
    "seed": (-1, 2**63),
    "checkpoint_every_steps": LEAST_1,
    "keep_checkpoints": LEAST_1,
    "log_every_steps": LEAST_1,
    "max_steps": (-2,),
    "profile": (-1,),
    "data.weights": ((0.0,), (-1.0,), (NAN,), (INF,), (1.0, 2.0)),
    "data.page_window": LEAST_1,
    "data.workers": LEAST_0,
    "data.prefetch": LEAST_1,
    "data.stage_minutes": ABOVE_0,
    "augment.crops": (
        (),
        (CropSpec(size=32, count=1, scale=(0.1, 1)),),
        *((CropSpec(size=size, count=2, scale=(0.1, 1)),) for size in LEAST_1),
        *((CropSpec(size=32, count=count, scale=(0.1, 1)),) for count in LEAST_1),
        *((CropSpec(size=32, count=2, scale=scale),) for scale in ((1, 0.1), (0, 1), (0.1, 1.1), (NAN, 1), (0.1, NAN))),
        *((CropSpec(size=32, count=2, scale=(0.1, 1), ratio=ratio),) for ratio in ((2, 1), (0, 1), (1, INF), (NAN, 1))),
    ),
    "augment.stages": (
        (Stage(until_epoch=0, sizes=(32, 24)),),
        (Stage(until_epoch=2, sizes=(32,)),),
        (Stage(until_epoch=2, sizes=(32, 0)),),
        (Stage(until_epoch=2, sizes=(32, 24)), Stage(until_epoch=1, sizes=(32, 24))),
    ),
    **{f"augment.{name}": SHARE for name in ("flip_p", "jitter_p", "grey_p", "blur_p", "solarise_p")},
    "augment.solarise_threshold": (-1, 256),
    **{f"augment.{name}": RATE for name in ("brightness", "contrast", "saturation")},
    "augment.hue": (-0.1, 0.6, NAN),
    "augment.blur_sigma": ((2.0, 0.1), (0.0, 1.0), (NAN, 1.0), (1.0, INF)),
    "augment.mean": ((NAN, 0.0, 0.0), (0.0, 0.0, INF)),
    "augment.std": ((0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, NAN), (INF, 1.0, 1.0)),
    "objective.hidden_dim": LEAST_1,
    "objective.feature_dim": LEAST_1,
    "objective.prototypes": (1, 0, -1),
    "model.batch_norm_group": LEAST_0,
    "model.width": LEAST_1,
    "objective.temperature": ABOVE_0,
    "objective.epsilon": ABOVE_0,
    "objective.sinkhorn_iterations": LEAST_1,
    "objective.queue_length": (-1024, 3),
    "objective.queue_from_epoch": LEAST_0,
    "objective.freeze_prototypes_steps": (-2,),
    "optim.batch_size": (-8, 1),
    "optim.accumulate": LEAST_1,
    "optim.epochs": LEAST_1,
    "optim.lr": ABOVE_0,
    "optim.start_lr": RATE,
    "optim.final_lr": RATE,
    "optim.reference_batch": LEAST_0,
    "optim.warmup_epochs": RATE,
    "optim.momentum": (-0.1, 1.0, NAN),
    "optim.weight_decay": RATE,
    "optim.trust": RATE,
    "optim.betas": ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, NAN)),
    "optim.final_weight_decay": RATE,
    "knn.every_epochs": LEAST_1,
    "knn.size": LEAST_1,
    "knn.neighbours": LEAST_1,
    "knn.limit": LEAST_1,
    "probe.test_share": (0.0, 1.0, -0.1, NAN),
    "probe.seed": LEAST_0,
    "probe.every_epochs": LEAST_1,
    "probe.size": LEAST_1,
    "probe.stage": LEAST_1,
    "probe.limit": (3, -1),
    "health.patience_steps": LEAST_1,
    "health.max_loss": ABOVE_0,
    "health.min_used": SHARE,
    "health.min_feature_std": SHARE,
    "health.max_skipped_steps": LEAST_1,
    "health.min_rank": RATE,
    "health.min_rank_kept": SHARE,
}


def hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields; of the run's objective, that of the default's."""
    found = get_type_hints(kind)
    found = {field.name: found[field.name] for field in dataclasses.fields(kind)}
    return {name: SwAVConfig if hint is ObjectiveConfig else hint for name, hint in found.items()}


def holds_numbers(hint: Any) -> bool:
    """Whether a type is of numbers, or a tuple, an alternative or a dataclass of some."""
    if dataclasses.is_dataclass(hint):
        return any(map(holds_numbers, hints(hint).values()))
    return hint in (int, float) or any(map(holds_numbers, get_args(hint)))


def numbers_of(kind: type, prefix: str = "") -> Iterator[str]:
    """The names of all options of a configuration that hold numbers."""
    for name, hint in hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from numbers_of(hint, f"{prefix}{name}.")
        elif holds_numbers(hint):
            yield f"{prefix}{name}"


def changed(config: Any, name: str, value: Any) -> Any:
    first, _, rest = name.partition(".")
    return dataclasses.replace(config, **{first: changed(getattr(config, first), rest, value) if rest else value})


def test_every_number_of_a_run_has_its_bounds() -> None:
    assert set(numbers_of(RunConfig)) == RUN.keys()
    validate(RunConfig())


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RUN.items() for value in values])
def test_a_number_that_cannot_work_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        validate(changed(RunConfig(), name, value))
    option = name.removeprefix("data.").replace("_", "-")
    assert refusal.value.subject == f"--{option}" or refusal.value.subject.startswith(f"--{option}."), refusal.value


@dataclasses.dataclass(frozen=True)
class Files:
    """What the commands need to be there."""

    folder: Path
    beton: Path
    weights: Path
    images: Path
    pairs: Path
    run: Path
    picture: Path


def jpeg(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((24, 24, 3), shade, np.uint8)).save(stream, format="JPEG")
    return stream.getvalue()


def write_beton(path: Path, labels: list[int]) -> Path:
    with BetonWriter(path, capacity=len(labels)) as writer:
        for index, label in enumerate(labels):
            writer.append(jpeg(10 * index), 24, 24, label, f"{index}.jpg")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("options")
    torch.save(untrained("resnet18").state_dict(), folder / "weights.pth")
    (folder / "faces" / "Ann").mkdir(parents=True)
    for number in (1, 2):
        (folder / "faces" / "Ann" / f"Ann_{number:04}.jpg").write_bytes(jpeg(number))
    (folder / "pairs.txt").write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\n" * 2)
    (folder / "crops.png").write_bytes(b"somebody's picture")
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text("{}")
    return Files(
        folder=folder,
        beton=write_beton(folder / "faces.beton", [0, 0, 1, 1, -1, -1, 2, 2]),
        weights=folder / "weights.pth",
        images=folder / "faces",
        pairs=folder / "pairs.txt",
        run=folder / "run",
        picture=folder / "crops.png",
    )


INTEGER_1, INTEGER_0, SEED = ("0", "-1"), ("-1",), ("-1", str(2**63))
POSITIVE = ("0", "-1", "nan", "inf")
VIEWED = {
    "seed": SEED,
    "size": INTEGER_1,
    "stage": INTEGER_1,
    "batch-size": INTEGER_1,
    "mean": ("nan 0 0", "0 inf 0"),
    "std": ("0 1 1", "1 -1 1", "1 1 nan"),
}

# For each command its configuration, arguments that work, and values of its numbers that do not.
COMMANDS: dict[str, tuple[type, str, dict[str, tuple[str, ...]]]] = {
    "evaluate verification": (
        Verification,
        "--images {images} --pairs {pairs}",
        {**VIEWED, "folds": ("1", "0", "-1"), "whiten": INTEGER_0},
    ),
    "evaluate knn": (
        Knn,
        "--data {beton} --engine torch",
        {**VIEWED, "neighbours": INTEGER_1, "temperature": POSITIVE, "limit": INTEGER_1},
    ),
    "export": (ExportConfig, "{weights}", {}),
    "verify": (VerifyConfig, "{beton}", {"workers": INTEGER_0}),
    "info": (InfoConfig, "{beton}", {}),
    "merge": (MergeConfig, "{beton} --out new.beton", {}),
    "extract": (ExtractConfig, "{beton} --out new", {}),
    "split": (
        SplitConfig,
        "{beton} --out-train t.beton --out-probe p.beton",
        {"share": ("0", "1", "-1", "nan"), "seed": SEED},
    ),
    "preview": (PreviewConfig, "{beton} --preset cpu", {"count": INTEGER_1, "seed": SEED}),
    "report": (ReportConfig, "{run}", {"size": INTEGER_1, "neighbours": INTEGER_1, "limit": INTEGER_1}),
    "synthesize": (
        SynthesizeConfig,
        "new",
        {"identities": INTEGER_1, "images": INTEGER_1, "size": ("31", "-1"), "seed": SEED, "workers": INTEGER_0},
    ),
    "bench loader": (
        BenchConfig,
        "--data {beton}",
        {
            "workers": INTEGER_0,
            "batch-size": INTEGER_1,
            "rounds": INTEGER_1,
            "seconds": POSITIVE,
            "limit": POSITIVE,
            "gpu-images-per-s": POSITIVE,
        },
    ),
    "write": (
        WriteConfig,
        "{images} --out new.beton",
        {
            "size": ("0", "-1", "65536"),
            "quality": ("0", "96", "-1"),
            "margin": ("-1", "nan", "inf"),
            "seed": SEED,
            "limit": INTEGER_1,
            "identities": INTEGER_1,
            "per-identity": INTEGER_1,
            "samples": INTEGER_1,
            "workers": INTEGER_0,
            "max-rejects": INTEGER_0,
            "shards": INTEGER_1,
            "max-megapixels": POSITIVE,
            "min-face": INTEGER_1,
            "min-score": ("nan", "inf", "-inf"),
            "max-faces": INTEGER_1,
            "min-side": INTEGER_0,
            "min-sharpness": ("-1", "nan", "inf"),
            "max-clipped": ("-0.1", "1.1", "nan"),
        },
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_of_a_command_has_its_bounds(command: str) -> None:
    kind, _, numbers = COMMANDS[command]
    stated = {name.rpartition(".")[2].replace("_", "-") for name in numbers_of(kind)}
    assert stated == numbers.keys()


def refusal(
    command: str, options: str, files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What a command says that must end with status 1 and make nothing, neither here nor beside its input."""
    here = files.folder / "here"
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    before = sorted(files.folder.rglob("*"))
    arguments = f"{command} {options}".format(**{name: path for name, path in vars(files).items()}).split()
    assert main(arguments) == 1
    assert sorted(files.folder.rglob("*")) == before, "something was made"
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (command, option, value)
        for command, (_, _, numbers) in COMMANDS.items()
        for option, values in numbers.items()
        for value in values
    ],
)
def test_a_number_of_a_command_that_cannot_work_is_refused(
    command: str,
    option: str,
    value: str,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = COMMANDS[command][1]
    error = refusal(command, f"{base} --{option} {value}", files, monkeypatch, capsys)
    assert f"--{option}" in error or f"--augment.{option}" in error


TINY = "pretrain quickstart --optim.batch-size 4 --optim.reference-batch 4 --engine torch --device cpu --data {beton}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        # Nothing to work on is no success.
        ("verify", "FILES"),
        ("info", "FILES"),
        ("merge --out new.beton", "SHARDS"),
        ("preview {beton} --engines", "--engines"),
        ("evaluate knn --data {beton} --no-baselines", "--weights"),
        # Files that are not there, and folders or files in the place of the other.
        ("evaluate verification --images {folder}/no --pairs {pairs}", "--images"),
        ("evaluate verification --images {pairs} --pairs {pairs}", "--images"),
        ("evaluate verification --images {images} --pairs {images}", "--pairs"),
        ("evaluate verification --images {images} --pairs no.txt", "--pairs"),
        ("evaluate verification --images {images}", "--pairs"),
        ("evaluate verification --images {images} --pairs {pairs} --folds 5", "--folds"),
        ("evaluate verification --images {images} --pairs {pairs} --align yes", "--align"),
        ("evaluate verification --images {images} --pairs {pairs} --points no.csv", "--points"),
        ("evaluate verification --images {images} --pairs {pairs} --points {pairs} --align no", "--points"),
        ("evaluate verification --images {images} --pairs {pairs} --fit-data {beton}", "--fit-data"),
        ("evaluate verification --images {images} --pairs {pairs} --centre --fit-data no.beton", "--fit-data"),
        ("evaluate verification --protocol cfp-ff --images {images} --pairs {pairs}", "--pairs"),
        ("evaluate verification --protocol cfp-ff --images {images}", "Split/FF"),
        ("evaluate verification --protocol bin --images {images}", "--images"),
        ("evaluate verification --protocol bin --images {pairs}", "pairs.txt"),
        ("evaluate verification --protocol bin --images {pairs} --align yes", "--align"),
        ("evaluate verification --protocol ijb --images {images} --whiten 8", "--protocol"),
        ("evaluate verification --protocol ijb --images {images} --points {pairs}", "--points"),
        ("evaluate verification --protocol ijb --images {images}", "meta"),
        ("evaluate knn --data no.beton --engine torch", "no.beton"),
        ("evaluate knn --data {images} --engine torch", "faces"),
        ("evaluate knn --data {beton} --engine torch --weights no.pth", "no.pth"),
        ("evaluate knn --data {beton} --engine torch --weights {images}", "holds no checkpoints"),
        ("evaluate knn --data {beton} --engine torch --arch vgg16", "--arch"),
        ("evaluate knn --data {beton} --engine torch --out {images}", "--out"),
        ("evaluate knn --data {beton} --engine torch --out {weights}", "--overwrite"),
        ("evaluate knn --data {beton} --engine torch --out {pairs}/x.json", "--out"),
        ("export {weights} --out {images}", "--out"),
        ("export {weights} --out {pairs}/x.pth", "--out"),
        ("export no.pth", "no.pth"),
        ("report {folder}/no", "no such file"),
        ("report {run} --data no.beton", "--data"),
        ("report {run} --out {pairs}", "--out"),
        ("preview {beton} --out {images}", "--out"),
        ("preview {beton} --out {picture}", "--overwrite"),
        ("preview {beton} --out x.weights", "--out"),
        ("preview {beton} --out {pairs}/x.png", "--out"),
        ("preview no.beton", "no.beton"),
        ("bench loader --data {beton} --out {pairs}", "--out"),
        ("synthesize {pairs}", "--out"),
        ("extract {beton} --out {pairs}", "--out"),
        ("split {beton} --out-train {beton} --out-probe p.beton --overwrite", "--out-train"),
        ("merge {beton} --out {beton} --overwrite", "--out"),
        ("verify {beton} --against no.json", "no.json"),
        ("verify {beton} --against {beton}", "faces.beton.json"),
        ("verify {images}", "faces"),
        (TINY + " --knn.data no.beton --out new", "--knn.data"),
        (TINY + " --knn.data {images} --out new", "--knn.data"),
        (TINY + " --out {pairs}", "--out"),
        (TINY + " --out {pairs}/run", "--out"),
        (TINY + " --stage {pairs} --out new", "--stage"),
        (TINY.replace("{beton}", "no.beton") + " --out new", "no.beton"),
        (TINY.replace("{beton}", "{images}") + " --out new", "faces"),
        (TINY.replace("{beton}", "") + " --out new", "--data"),
        (TINY + " --optim.batch-size 64 --out new", "--optim.batch-size"),
        (TINY + " --optim.batch-size 0 --out new", "--optim.batch-size"),
        (TINY + " --knn.data {beton} --knn.limit 3 --out new", "--knn.data"),
        (TINY + " --out {images}", "holds Ann"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    arguments: str, named: str, files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refusal(arguments, "", files, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--out new.beton", "SOURCE"),
        ("{images} --out {images}", "--out"),
        ("{images} --out {beton}", "--overwrite"),
        ("{images} --out {folder}/no/new.beton", "--out"),
        ("{images} --out new.beton --boxes no.csv", "--boxes"),
        ("{images} --out new.beton --boxes {images}", "--boxes"),
        ("no --out new.beton", "is not there"),
        ("{images} --out new.beton --detect yunet --yunet-model {folder}/lfs.onnx", "git lfs pull"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_made(
    arguments: str, named: str, files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (files.folder / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert named in refusal("write", arguments, files, monkeypatch, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_does_not_take_files_is_named_at_the_start(files: Files, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert main(["export", str(files.weights), "--out", str(tmp_path / "x.pth")]) == 1


@pytest.mark.parametrize(
    ("labels", "limit", "cause"),
    [
        ([-1] * 8, 20000, "none has a label"),
        (list(range(8)), 20000, "0 of its 8 identities have two images"),
        ([0] * 8, 20000, "1 of its 1 identities have two images"),
        ([0, 0, 1, 2, 3, 1, 2, 3], 5, "1 of its 4 identities have two images"),
    ],
)
def test_a_probe_of_unusable_labels_is_refused_at_the_start(
    labels: list[int], limit: int, cause: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = write_beton(tmp_path / "probe.beton", labels)
    arguments = f"{TINY} --knn.data {probe} --knn.limit {limit} --out {tmp_path}/new".format(beton=files.beton).split()
    assert main(arguments) == 1
    assert f"--knn.data {probe}" in (error := capsys.readouterr().err) and cause in error
    assert not (tmp_path / "new").exists()
    assert main(f"evaluate knn --data {probe} --limit {limit} --engine torch".split()) == 1
    assert cause in capsys.readouterr().err


def test_strings_stand_for_paths_and_one_for_several() -> None:
    assert DataConfig(data="a.beton", stage="/fast") == DataConfig(data=(Path("a.beton"),), stage=Path("/fast"))  # type: ignore[arg-type]
    assert DataConfig(data=["a", Path("b")]).data == (Path("a"), Path("b"))  # type: ignore[arg-type]
    assert DataConfig(data=Path("a")).data == (Path("a"),)  # type: ignore[arg-type]
    assert KnnConfig(data="p.beton").data == Path("p.beton")  # type: ignore[arg-type]
    assert RunConfig(out="runs/x", allow_changes="optim.lr").allow_changes == ("optim.lr",)  # type: ignore[arg-type]
    config = WriteConfig(sources="faces", out="a.beton", boxes="b.csv", licence="CC0")  # type: ignore[arg-type]
    assert (config.sources, config.out, config.boxes, config.licence) == (
        ("faces",),
        Path("a.beton"),
        Path("b.csv"),
        ("CC0",),
    )
    assert as_dict(AugmentConfig(crops=[CropSpec(size=8, count=2, scale=(0.1, 1))]))["crops"][0]["size"] == 8  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--data: 3 is no path"):
        DataConfig(data=(3,))  # type: ignore[arg-type]


def test_the_error_family_is_one(files: Files) -> None:
    """A caller from Python meets the same refusal as the command line."""
    with pytest.raises(FrlError, match="--out"):
        validate(RunConfig(out=files.pairs))
