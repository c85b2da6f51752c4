"""frl evaluate --how finetune, then frl predict and frl embed with what it saved."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import Beton
from frl.cli import main
from frl.cli.embed import EmbedConfig
from frl.cli.embed import run as embed
from frl.cli.faces import Faces
from frl.cli.predict import PredictConfig, write_table
from frl.cli.predict import run as predict
from frl.config.finetune import FinetuneConfig
from frl.errors import BetonError, CheckpointError, ConfigError, SourceError
from frl.evaluate import untrained
from frl.evaluate.finetune import load, save
from frl.evaluate.finetune.network import predictor
from frl.evaluate.images import load_image
from frl.evaluate.said import Said
from frl.tasks.registry import Expression, Landmarks
from tests.labelled_faces import LANDMARKS, write_faces

ARCH = "resnet18-w8-nopool"


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "faces.beton", identities=8)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has hardly learned its landmarks."""
    path, config = tmp_path_factory.mktemp("head") / "head.pt", FinetuneConfig(size=32)
    task = Landmarks.of({"landmarks": LANDMARKS})
    network = predictor(untrained(ARCH), task, config)
    network.head.start_at(torch.linspace(-0.4, 0.4, task.outputs))
    save(path, network.eval(), arch=ARCH, task=task, specs={"landmarks": LANDMARKS}, config=config)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs, of which one is wide and one lies in a folder."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, (width, height) in (("a.jpg", (40, 40)), ("b.png", (100, 40)), ("more/c.jpg", (32, 32))):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_fine_tune_save_and_predict(beton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    command = f"evaluate landmarks --data {beton} --how finetune --arch {ARCH} --size 32 --labels 50% 100% --seeds 1"
    command += f" --finetune.steps 4 --finetune.checks 2 --finetune.batch-size 4 --save {tmp_path / 'nets'}"
    command += f" --out {tmp_path / 'results.json'} --device cpu"
    assert main(command.split()) == 0
    printed = capsys.readouterr().out
    assert "fine-tuned, linear" in printed and "HOG" in printed and "constant" in printed
    assert printed.count("step 4: loss") == 2
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["how"] == "finetune" and len(results["rows"]) >= 4
    files = sorted((tmp_path / "nets").glob("*.pt"))
    assert len(files) == 2
    assert load(files[0]).task.name == "landmarks"
    assert main(f"predict {files[0]} {beton} --out {tmp_path / 'p.csv'} --device cpu".split()) == 0
    assert len(rows_of(tmp_path / "p.csv")) == 16
    assert main(command.split()) != 0, "the results are there already"
    capsys.readouterr()
    assert main(f"{command} --overwrite".split()) == 0
    assert "step 4: loss" not in capsys.readouterr().out, "what is done is not done again"


def test_a_stage_is_fine_tuned_for_itself(beton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"evaluate landmarks --data {beton} --how finetune --arch {ARCH} --stage 2 --size 32 --seeds 1"
    command += f" --finetune.steps 2 --finetune.checks 1 --finetune.batch-size 4 --save {tmp_path / 'nets'}"
    assert main(f"{command} --device cpu".split()) == 0
    assert f"untrained ({ARCH}, stage 2)" in capsys.readouterr().out
    (file,) = (tmp_path / "nets").glob("*.pt")
    saved = load(file)
    assert (saved.arch, saved.stage) == (ARCH, 2)
    assert main(f"predict {file} {beton} --out {tmp_path / 'p.csv'} --device cpu".split()) == 0
    assert len(rows_of(tmp_path / "p.csv")) == 16
    assert main(f"export {file} --out {tmp_path / 'backbone.pt'}".split()) == 1
    assert "was fine-tuned up to stage 2" in capsys.readouterr().err


def test_each_fold_is_fine_tuned_and_saved_for_itself(beton: Path, tmp_path: Path) -> None:
    command = f"evaluate landmarks --data {beton} --how finetune --arch {ARCH} --folds 2 --size 32 --seeds 1"
    command += f" --finetune.steps 2 --finetune.checks 1 --finetune.batch-size 4 --save {tmp_path / 'nets'}"
    assert main(f"{command} --device cpu --out {tmp_path / 'r.json'}".split()) == 0
    assert len([file for file in (tmp_path / "nets").glob("*.pt") if "fold-0" in file.name]) == 1
    assert len(list((tmp_path / "nets").glob("*.pt"))) == 2
    for row in json.loads((tmp_path / "r.json").read_text())["rows"]:
        assert [trial["fold"] for trial in row["trials"]] == [0, 1] and "fold" not in row["network"]


def test_options_of_fine_tuning_need_it(beton: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"evaluate landmarks --data {beton} --arch {ARCH} --save nets".split()) == 1
    assert "--save: --how frozen trains no network" in capsys.readouterr().err
    assert main(f"evaluate landmarks --data {beton} --arch {ARCH} --finetune.lr 0.1".split()) == 1
    assert "--finetune: --how frozen trains no network" in capsys.readouterr().err


def test_points_are_said_in_pixels_of_the_photograph(head: Path, folder: Path, tmp_path: Path) -> None:
    """The untrained head says the same shares of every square."""
    found = predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.csv", device="cpu"))
    rows = rows_of(tmp_path / "p.csv")
    assert [row["image"] for row in rows] == ["a.jpg", "b.png", "more/c.jpg"]
    assert len(rows[0]) == 1 + 2 * 68
    for row, points, side, left in zip(rows, found.points, (40, 40, 32), (0, 30, 0), strict=True):
        x = np.array([float(row[f"x{i}"]) for i in range(68)])
        y = np.array([float(row[f"y{i}"]) for i in range(68)])
        np.testing.assert_allclose(x, points[:, 0] + left, atol=1e-4)
        np.testing.assert_allclose(y, points[:, 1], atol=1e-4)
        expected = (torch.linspace(-0.4, 0.4, 136).numpy().reshape(68, 2) + 0.5) * side - 0.5
        np.testing.assert_allclose(points, expected, atol=0.25 * side)


def test_names_of_files_need_not_be_utf8(head: Path, folder: Path, tmp_path: Path) -> None:
    """CSV has their bytes, NumPy and JSON what Python calls them; the text of Parquet is UTF-8."""
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    odd = os.fsdecode(b"J\xfcrgen")
    (folder / "a.jpg").rename(folder / f"{odd}.jpg")
    names = [f"{odd}.jpg", "b.png", "more/c.jpg"]
    for suffix in ("csv", "json"):
        out, draw = tmp_path / f"{odd}.{suffix}", tmp_path / f"{odd}-{suffix}.png"
        predict(PredictConfig(weights=head, images=(folder,), out=out, draw=draw, device="cpu"))
        assert np.asarray(Image.open(draw)).shape == (192, 3 * 192, 3)
    assert (tmp_path / f"{odd}.csv").read_bytes().splitlines()[1].startswith(b"J\xfcrgen.jpg,")
    assert [row["image"] for row in json.loads((tmp_path / f"{odd}.json").read_text())] == names
    for suffix in ("npz", "csv", "parquet"):
        embed(EmbedConfig(weights=head, images=(folder,), out=tmp_path / f"f.{suffix}", size=32, device="cpu"))
    assert (tmp_path / "f.csv").read_bytes().splitlines()[1].startswith(b"J\xfcrgen.jpg,-1,")
    with np.load(tmp_path / "f.npz") as stored:
        assert stored["names"].tolist() == names
    read = pyarrow.parquet.read_table(tmp_path / "f.parquet")["image"].to_pylist()
    assert read == [r"J\xfcrgen.jpg", *names[1:]]
    with pytest.raises(ConfigError, match="no suffix of a picture"):
        PredictConfig(weights=head, images=(folder,), draw=tmp_path / f"a.{odd}").check()


def test_a_number_or_a_class_may_be_called_like_a_coordinate(tmp_path: Path) -> None:
    """A corner is added to points alone. What is not defined is null in JSON, which knows no NaN."""
    faces = Faces(
        names=["a", "b"],
        sides=np.full((2, 2), 40.0),
        corners=np.full((2, 2), 100.0),
        labels=np.full(2, -1),
        batches=[],
    )
    columns = {"x1": np.array([0.5, np.nan]), "y2": np.array(["calm", "glad"])}
    write_table(tmp_path / "p.csv", faces, Said(columns, None, ["", ""]))
    assert (tmp_path / "p.csv").read_text().splitlines() == ["image,x1,y2", "a,0.5,calm", "b,nan,glad"]
    write_table(tmp_path / "p.json", faces, Said(columns, None, ["", ""]))
    assert json.loads((tmp_path / "p.json").read_text())[1] == {"image": "b", "x1": None, "y2": "glad"}


def test_a_picture_shows_the_points(head: Path, folder: Path, tmp_path: Path) -> None:
    config = PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.json", draw=tmp_path / "p.png", count=2)
    found = predict(config)
    picture = np.asarray(Image.open(tmp_path / "p.png"))
    assert picture.shape == (192, 2 * 192, 3)
    x, y = np.round((found.points[0, 34] + 0.5) * 192 / 40 - 0.5).astype(int)
    assert picture[y, x].tolist() == [60, 255, 90]
    rows = json.loads((tmp_path / "p.json").read_text())
    assert rows[1]["image"] == "b.png" and isinstance(rows[1]["x0"], float)
    with pytest.raises(ConfigError, match="exists already"):
        predict(config)


def test_classes_are_said_by_name(beton: Path, tmp_path: Path) -> None:
    from frl.beton.targets import Kind, TargetSpec

    spec = TargetSpec(name="expression", kind=Kind.CLASS, names=("sad", "glad"))
    task, config = Expression.of({"expression": spec}), FinetuneConfig(size=32)
    network = predictor(untrained(ARCH), task, config).eval()
    network.head.start_at(torch.tensor([-50.0, 50.0]))
    save(tmp_path / "head.pt", network, arch=ARCH, task=task, specs={"expression": spec}, config=config)
    predict(PredictConfig(weights=tmp_path / "head.pt", images=(beton,), out=tmp_path / "p.csv", flip=True))
    rows = rows_of(tmp_path / "p.csv")
    assert {row["expression"] for row in rows} == {"glad"}
    assert all(float(row["p_glad"]) == pytest.approx(1 - float(row["p_sad"]), abs=1e-3) for row in rows)
    with Beton(beton) as file:
        assert len(rows) == len(file)
    assert rows[3]["image"] == "1/1.jpg"


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_features_of_a_beton(head: Path, beton: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"f.{suffix}"
    config = {"weights": head, "images": (beton,), "out": out, "size": 32, "device": "cpu"}
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    features = embed(EmbedConfig(**config))
    assert features.shape == (16, 64)
    names = [f"{identity}/{image}.jpg" for identity in range(8) for image in range(2)]
    if suffix == "npz":
        with np.load(out) as stored:
            assert stored["names"].tolist() == names and stored["labels"].tolist() == [i // 2 for i in range(16)]
            np.testing.assert_array_equal(stored["features"], features)
    elif suffix == "csv":
        rows = rows_of(out)
        assert [row["image"] for row in rows] == names and rows[5]["label"] == "2"
        np.testing.assert_allclose([float(rows[5][f"f{i}"]) for i in range(64)], features[5], rtol=1e-6)
    else:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(out)
        assert table["image"].to_pylist() == names
        np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), features)


def test_features_of_a_stage(beton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(untrained(ARCH).state_dict(), tmp_path / "w.pth")
    options = {"weights": tmp_path / "w.pth", "images": (beton,), "arch": ARCH, "size": 32, "device": "cpu"}
    pooled = embed(EmbedConfig(**options, out=tmp_path / "p.npz", stage=2))
    cells = embed(EmbedConfig(**options, out=tmp_path / "u.npz", stage=2, features="unpooled"))
    assert f"({ARCH}, stage 2, unpooled)" in capsys.readouterr().out
    assert pooled.shape == (16, 16) and cells.shape == (16, 16 * 16)
    np.testing.assert_allclose(cells.reshape(16, 16, 16).mean(2), pooled, atol=1e-5)


def test_features_of_photographs_of_unit_length(head: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.jpg", tmp_path / "copy.jpg")
    config = EmbedConfig(weights=head, images=(folder, tmp_path / "copy.jpg"), out=tmp_path / "f.npz", size=32)
    features = embed(EmbedConfig(**{**vars(config), "normalise": True}))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(features[0], features[3], atol=1e-5)


def test_a_folder_gives_what_frl_write_takes_of_it_and_each_file_is_read_once(
    head: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "b.png", folder / "more" / "d")  # no suffix, but an image
    shutil.copy(folder / "a.jpg", folder / "e.jfif")
    for name in (".hidden.jpg", "._a.jpg", "@eaDir/thumbnail.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"nobody looks into it")
    reads: Counter[str] = Counter()
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.update([path.name]), read_bytes(path))[1])
    found = predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.csv", batch_size=2))
    names = [row["image"] for row in rows_of(tmp_path / "p.csv")]
    assert names == ["a.jpg", "b.png", "e.jfif", "more/c.jpg", "more/d"] and len(found.points) == 5
    assert {name: reads[Path(name).name] for name in names} == dict.fromkeys(names, 1)
    assert main(["write", f"folder:{folder}", "--out", str(tmp_path / "written.beton"), "--workers", "1"]) == 0
    with Beton(tmp_path / "written.beton") as written:
        assert len(written) == 3  # of five, of which two are copies
    shutil.copy(folder / "a.jpg", tmp_path / "named.txt")
    predict(PredictConfig(weights=head, images=(tmp_path / "named.txt",), out=tmp_path / "named.csv"))


def test_links_are_followed_and_what_is_skipped_is_counted(
    head: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``frl write`` does; of a pipe nobody waits for what comes."""
    (tmp_path / "more").mkdir()
    (folder / "more").rename(tmp_path / "more" / "deep")
    (folder / "linked").symlink_to(tmp_path / "more")
    (folder / "same.jpg").symlink_to("a.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / ".hidden.jpg").write_bytes(b"")
    os.mkfifo(folder / "pipe.jpg")
    predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.csv"))
    assert [row["image"] for row in rows_of(tmp_path / "p.csv")] == ["a.jpg", "b.png", "linked/deep/c.jpg", "same.jpg"]
    told = capsys.readouterr().err
    skipped = next(line for line in told.splitlines() if line.startswith(f"{folder}: skipped"))
    assert all(part in skipped for part in ("1 hidden", "1 no images (.txt 1)", "1 no regular files"))
    assert "left out: 1 images" in told and "gone.jpg: no such image" in told
    (folder / "linked" / "back").symlink_to(folder)
    with pytest.raises(SourceError, match="a link leads back"):
        predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "q.csv"))


def test_what_is_unusable_in_a_folder_is_left_out_and_told(
    head: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.csv"))
    heic = folder / "a0.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:300])
    capsys.readouterr()
    for batch_size in (1, 2, 64):
        config = PredictConfig(
            weights=head, images=(folder,), out=tmp_path / f"{batch_size}.csv", batch_size=batch_size
        )
        found = predict(config)
        np.testing.assert_allclose(found.points, whole.points, atol=1e-3)
        assert [row["image"] for row in rows_of(config.table)] == ["a.jpg", "b.png", "more/c.jpg"]
        told = capsys.readouterr().err
        assert "left out: 2 images" in told and "HEIC, which is not decoded" in told and "broken.jpg: " in told
    features = embed(EmbedConfig(weights=head, images=(folder,), out=tmp_path / "f.npz", size=32))
    with np.load(tmp_path / "f.npz") as stored:
        assert stored["names"].tolist() == ["a.jpg", "b.png", "more/c.jpg"] and len(features) == 3
    heic.rename(tmp_path / heic.name)
    with pytest.raises(SourceError, match="HEIC, which is not decoded"):
        predict(PredictConfig(weights=head, images=(tmp_path / heic.name, folder), out=tmp_path / "q.csv"))
    for name in ("a.jpg", "b.png", "more/c.jpg"):
        (folder / name).unlink()
    with pytest.raises(SourceError, match="photos: holds no usable image"):
        predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "q.csv"))
    assert not (tmp_path / "q.csv").exists()


def test_images_of_several_inputs_have_names_of_their_own(
    head: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a folder's path tells its images from those of others, and from a file that is called like one."""
    for other in ("other/photos/more", "third", "photos2"):
        (tmp_path / other).mkdir(parents=True)
        shutil.copy(folder / "a.jpg", tmp_path / other / "a.jpg")
    monkeypatch.chdir(tmp_path / "other")

    def names(*images: str | Path) -> list[str]:
        predict(PredictConfig(weights=head, images=tuple(map(Path, images)), out=tmp_path / "p.csv", overwrite=True))
        return [row["image"] for row in rows_of(tmp_path / "p.csv")]

    own = ["a.jpg", "b.png", "more/c.jpg"]
    assert names(folder) == own
    assert names(folder, "../third") == [*(f"photos/{name}" for name in own), "third/a.jpg"]
    place = f"{tmp_path.name}/photos"
    assert names(folder, "photos/") == [*(f"{place}/{name}" for name in own), "other/photos/more/a.jpg"]
    assert names(folder, "photos/more/a.jpg") == [*(f"{place}/{name}" for name in own), "photos/more/a.jpg"]
    assert names("../third/a.jpg", "../photos2") == ["../third/a.jpg", "photos2/a.jpg"]
    for twice in (
        (folder, "../photos"),
        (folder, folder / "a.jpg"),
        (folder / "more", folder),
        ("photos/more/a.jpg",) * 2,
    ):
        with pytest.raises(SourceError, match=r"\.jpg: is given twice"):
            names(*twice)


def test_a_pipe_that_is_named_is_refused_at_once(head: Path, folder: Path, tmp_path: Path) -> None:
    """In an evaluation, too, whose lists name files."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(SourceError, match=r"pipe.jpg: is no regular file"):
        embed(EmbedConfig(weights=head, images=(folder, tmp_path / "pipe.jpg"), out=tmp_path / "f.npz"))
    with pytest.raises(SourceError, match=r"pipe.jpg: is no regular file"):
        load_image(tmp_path / "pipe.jpg", 32)
    with pytest.raises(SourceError, match=r"photos: cannot be read \(Is a directory\)"):
        load_image(folder, 32)


def test_features_are_of_images_that_look_as_in_the_training(folder: Path, tmp_path: Path) -> None:
    """Size, mean and deviation are those of the export, unless others are named."""
    out = tmp_path / "f.npz"
    network = untrained(ARCH)
    card = {"arch": "resnet18", "width": "8", "stem": "no-pool", "size": "40", "mean": "[0.7, 0.2, 0.4]"}
    safetensors = pytest.importorskip("safetensors.torch")
    weights = tmp_path / "w.safetensors"
    safetensors.save_file(network.state_dict(), weights, metadata=card)
    told = embed(EmbedConfig(weights=weights, images=(folder,), out=out, device="cpu"))
    options = {"weights": weights, "images": (folder,), "out": out, "device": "cpu", "overwrite": True}
    named = embed(EmbedConfig(**options, size=40, mean=(0.7, 0.2, 0.4)))
    np.testing.assert_array_equal(told, named)
    assert not np.allclose(told, embed(EmbedConfig(**options, mean=(0.0, 0.0, 0.0))))


def test_what_cannot_work_is_refused(head: Path, folder: Path, beton: Path, tmp_path: Path) -> None:
    for images, error, message in (
        ((), ConfigError, "nothing to look at"),
        ((tmp_path / "none",), SourceError, "no such file or folder"),
        ((folder / "notes.txt",), SourceError, "cannot be decoded"),
        ((beton, folder), ConfigError, "is not alone"),
        ((tmp_path / "none.beton",), BetonError, "none.beton"),
    ):
        with pytest.raises(error, match=message):
            predict(PredictConfig(weights=head, images=images, out=tmp_path / "p.csv"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with pytest.raises(SourceError, match=r"holds no images, but 1 no images \(.txt 1\)"):
        embed(EmbedConfig(weights=head, images=(tmp_path / "empty",), out=tmp_path / "f.npz"))
    with pytest.raises(ConfigError, match="is none of .csv, .json"):
        predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.xls"))
    with pytest.raises(ConfigError, match="is none of .npz, .csv, .parquet"):
        embed(EmbedConfig(weights=head, images=(folder,), out=tmp_path / "f.h5"))
    with pytest.raises(ConfigError, match="--count: no picture is drawn"):
        predict(PredictConfig(weights=head, images=(folder,), out=tmp_path / "p.csv", count=5))
    with pytest.raises(CheckpointError, match="is not a fine-tuned network"):
        torch.save({}, tmp_path / "x.pt")
        predict(PredictConfig(weights=tmp_path / "x.pt", images=(folder,), out=tmp_path / "p.csv"))
    assert not (tmp_path / "p.csv").exists()


def test_parquet_without_its_package_says_how_to_get_it(
    head: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        embed(EmbedConfig(weights=head, images=(folder,), out=tmp_path / "f.parquet"))


@pytest.mark.parametrize("change", ["turned", "cut"])
def test_names_of_another_file_are_not_written_beside_these_faces(
    change: str, head: Path, beton: Path, tmp_path: Path
) -> None:
    for suffix in ("", ".json", ".samples.tsv"):
        shutil.copy(f"{beton}{suffix}", f"{tmp_path / 'copy.beton'}{suffix}")
    names = tmp_path / "copy.beton.samples.tsv"
    lines = names.read_text().splitlines(keepends=True)
    names.write_text("".join(lines[::-1] if change == "turned" else lines[:5]))
    for run, options in ((embed, EmbedConfig), (predict, PredictConfig)):
        out = tmp_path / f"{run.__name__}.csv"
        with pytest.raises(BetonError, match=r"copy\.beton\.samples\.tsv differs from the digest"):
            run(options(weights=head, images=(tmp_path / "copy.beton",), out=out, device="cpu"))
        assert not out.exists()
