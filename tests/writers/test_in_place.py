"""Images where they are: the samples that ``frl write`` would store of them."""

from __future__ import annotations

import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import Beton
from frl.cli import main
from frl.cli.data import open_images
from frl.config import AugmentConfig, CropSpec, DataConfig
from frl.errors import ConfigError, LoaderError, SourceError
from frl.images.photo import UnusableImage
from frl.synthetic import write_folder
from pipelines.loader import make_loader
from pipelines.sampling.beton_set import BetonSet
from writers.config import WriteConfig
from writers.in_place import InPlace
from writers.sources import is_source
from writers.to_beton import write

AUGMENT = AugmentConfig(crops=(CropSpec(size=24, count=2, scale=(0.3, 1.0)),))


def photograph(width: int, height: int, seed: int, format: str = "JPEG", **options) -> bytes:
    """Smooth colours, which survive a JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(encoded, format, **options)
    return encoded.getvalue()


@pytest.fixture
def photos(tmp_path) -> Path:
    """People with images of every kind that is cut, turned, shrunk or encoded anew."""
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "ann/small.jpg": photograph(40, 40, 0),
        "ann/wide.jpg": photograph(90, 60, 1),
        "ann/turned.jpg": photograph(60, 90, 2, exif=exif),
        "bob/large.jpg": photograph(400, 300, 3),
        "bob/alpha.png": photograph(50, 50, 4, "PNG"),
        "bob/web.webp": photograph(64, 48, 5, "WEBP"),
    }
    for name, data in images.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    return tmp_path / "photos"


def written(source: Path | str, out: Path) -> Beton:
    write(WriteConfig(sources=(str(source),), out=out, workers=1))
    return Beton(out)


def same(live: InPlace, beton: Beton) -> bool:
    columns = ("heights", "widths", "modes", "labels")
    return all(np.array_equal(getattr(live, name), getattr(beton, name)) for name in columns) and all(
        bytes(live.encoded(i)) == bytes(beton.encoded(i)) for i in range(len(beton))
    )


def test_a_folder_has_the_samples_that_would_be_written_of_it(photos, tmp_path):
    live = InPlace(str(photos))
    with written(photos, tmp_path / "photos.beton") as beton:
        assert len(live) == len(beton) == 6
        assert same(live, beton) and same(live, beton)  # again, now that what is whole is known
        assert live.max_side == beton.max_side == 256
        assert [f"({live.name(i)})" in beton.name(i) for i in range(6)] == [True] * 6
    assert live.central == 4 and not live.rejects


def test_boxes_and_people_of_vggface2_are_used(tmp_path):
    write_folder(tmp_path / "faces", 3, 4, 40, seed=0, workers=1)
    live = InPlace(str(tmp_path / "faces"))
    with written(tmp_path / "faces", tmp_path / "faces.beton") as beton:
        assert same(live, beton)
        assert len(set(live.labels.tolist())) == 3


def test_shards_of_webdataset(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as tar:
            for key in range(3):
                number = f"{shard}{key}"
                for name, data in ((f"{number}.jpg", photograph(40, 40, int(number))), (f"{number}.cls", b"%d" % key)):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    pattern = str(tmp_path / "s-{0..1}.tar")
    live = InPlace(pattern)
    with written(pattern, tmp_path / "s.beton") as beton:
        assert len(live) == 6 and same(live, beton)


def test_crops_are_those_of_the_file_bit_for_bit(photos, tmp_path):
    written(photos, tmp_path / "photos.beton").close()
    batches = []
    for path in (photos, tmp_path / "photos.beton"):
        data = DataConfig(data=(path,), workers=2)
        loader = make_loader(data, AUGMENT, batch_size=3, seed=0, device="cpu", open=open_images)
        batches.append([*loader.epoch(0), *loader.epoch(1, start=1)])
        loader.close()
    for live, stored in zip(*batches, strict=True):
        assert live.samples.equal(stored.samples) and live.labels.equal(stored.labels)
        assert all(map(torch.equal, live.views, stored.views))


def test_damage_is_found_when_it_is_read(photos):
    broken = photos / "ann" / "small.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    live = InPlace(str(photos))
    (index,) = [i for i in range(len(live)) if live.name(i).endswith("small.jpg")]
    with pytest.raises(UnusableImage, match="damaged JPEG"):
        live.encoded(index)
    options = {"batch_size": 6, "seed": 0, "device": "cpu", "open": open_images}
    with pytest.raises(LoaderError, match=r"ann/small\.jpg.*damaged.*Mend or remove it"):
        list(make_loader(DataConfig(data=(photos,)), AUGMENT, **options).epoch(0))
    loader = make_loader(DataConfig(data=(photos,), on_broken="replace"), AUGMENT, **options)
    (batch,) = loader.epoch(0)
    assert index not in batch.samples.tolist() and loader.broken == 1


def test_what_has_no_header_is_left_out_and_named(photos):
    (photos / "ann" / "no.jpg").write_bytes(b"GIF89a, but not really")
    live = InPlace(str(photos))
    assert len(live) == 6
    assert list(live.rejects) == ["photos/ann/no.jpg"] and live.left_out.startswith("1 images (photos/ann/no.jpg: ")


def test_a_file_that_changes_or_goes_while_it_is_read(photos):
    live = InPlace(str(photos))
    places = {live.name(i).rpartition("/")[2]: i for i in range(len(live))}
    (photos / "ann" / "small.jpg").write_bytes(photograph(44, 44, 0))
    (photos / "ann" / "wide.jpg").unlink()
    with pytest.raises(UnusableImage, match="no longer the image"):
        live.encoded(places["small.jpg"])
    with pytest.raises(UnusableImage, match="cannot be read"):
        live.encoded(places["wide.jpg"])


def test_the_fingerprint_tells_data_sets_apart(photos):
    before = InPlace(str(photos)).fingerprint
    assert InPlace(str(photos)).fingerprint == before
    copy = pickle.loads(pickle.dumps(InPlace(str(photos))))
    assert copy.fingerprint == before
    (photos / "bob" / "large.jpg").rename(photos / "ann" / "large.jpg")
    assert InPlace(str(photos)).fingerprint != before


def test_threads_share_it(photos):
    live = InPlace(str(photos))
    expected = [bytes(live.encoded(i)) for i in range(6)]
    fresh = InPlace(str(photos))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: bytes(fresh.encoded(i % 6)), range(60)))
    assert found == expected * 10


def test_what_cannot_be_read_in_any_order_is_refused(photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
        tar.add(photos, "photos")
    with pytest.raises(SourceError, match="only be read from front to back.*frl write"):
        InPlace(str(tmp_path / "photos.tar.gz"))


@pytest.mark.parametrize("options", [{"order": "pages"}, {"engine": "dali"}])
def test_options_that_need_a_file_are_refused(photos, options):
    with pytest.raises(ConfigError, match=r"\.beton"):
        make_loader(
            DataConfig(data=(photos,), **options), AUGMENT, batch_size=2, seed=0, device="cpu", open=open_images
        )


def test_a_folder_beside_a_file(photos, tmp_path):
    write_folder(tmp_path / "faces", 3, 4, 40, seed=0, workers=1)
    written(tmp_path / "faces", tmp_path / "faces.beton").close()
    both = BetonSet([tmp_path / "faces.beton", photos], open_images)
    assert len(both) == 18 and len(set(both.labels.tolist())) == 5
    assert bytes(both.encoded(12)) == bytes(InPlace(str(photos)).encoded(0))
    with pytest.raises(ConfigError, match="the same data set"):
        BetonSet([photos, photos], open_images)


def test_which_paths_are_sources(photos, tmp_path):
    (tmp_path / "faces.beton").write_bytes(b"x")
    assert is_source(photos) and is_source(f"folder:{photos}") and is_source("s-{000..010}.tar")
    assert not is_source(tmp_path / "faces.beton") and not is_source(tmp_path / "absent")


TINY = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--model.width", "8", "--optim.batch-size", "4", "--optim.epochs", "4", "--objective.prototypes", "12"),
    *("--device", "cpu", "--precision", "fp32", "--deterministic"),
]


def test_a_run_on_a_folder_is_probed_resumed_and_the_same_as_on_the_file(tmp_path, capsys):
    write_folder(tmp_path / "faces", 4, 3, 32, seed=0, workers=1)
    faces, beton = str(tmp_path / "faces"), str(tmp_path / "faces.beton")
    assert main(["write", faces, "--out", beton, "--workers", "1"]) == 0
    probe = ["--knn.data", faces, "--knn.size", "24", "--knn.every-epochs", "4"]
    runs = {"live": [faces], "stored": [beton]}
    for name, data in runs.items():
        out = ["--out", str(tmp_path / name)]
        if name == "live":  # and interrupted in the middle of an epoch
            assert main(["pretrain", "cpu", "--data", *data, *out, *TINY, *probe, "--max-steps", "4"]) == 0
        assert main(["pretrain", "cpu", "--data", *data, *out, *TINY, *probe]) == 0
    captured = capsys.readouterr()
    assert "read where it is" in captured.err and "frl write" in captured.err
    weights = [
        torch.load(sorted((tmp_path / name / "checkpoints").glob("*.pt"))[-1], weights_only=True)["model"]
        for name in runs
    ]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[1])


def test_a_changed_folder_does_not_go_on_unawares(tmp_path, capsys):
    write_folder(tmp_path / "faces", 4, 3, 32, seed=0, workers=1)
    command = ["pretrain", "cpu", "--data", str(tmp_path / "faces"), "--out", str(tmp_path / "run"), *TINY]
    assert main([*command, "--max-steps", "1"]) == 0
    next((tmp_path / "faces").rglob("*.jpg")).unlink()
    open_images.__globals__["_listed"].cache_clear()  # another process
    assert main(command) == 1
    assert "data.fingerprint" in capsys.readouterr().err
