"""The logbook: the sinks get everything, one that fails is dropped, and only the wanted ones are imported."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torchvision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import CONFIG

from frl.errors import ConfigError
from frl.evaluate.gallery import Gallery, Probed, thumbnails
from frl.monitoring.logbook import Logbook, crop_grid, read_metrics
from frl.monitoring.wandb_sink import WandbSink
from frl.pixels import restored

VALUES = {"loss": 2.5, "images_per_s": 100.0, "data_wait": 0.25, "memory_gib": 1.5}


def gallery(count: int = 9, width: int = 80) -> Gallery:
    random = np.random.default_rng(0)
    return Gallery(
        images=random.integers(0, 256, (count, 8, 8, 3), np.uint8),
        vectors=torch.from_numpy(random.standard_normal((count, width), np.float32)),
        labels=torch.arange(count) % 3,
    )


def write_everything(out: Path, **changes) -> Logbook:
    with Logbook(replace(CONFIG, out=out, **changes), total_steps=10, first_step=0, enabled=True) as logbook:
        logbook.advance()
        logbook.scalars(1, VALUES, epoch=0)
        logbook.histogram(1, "prototype_mass", torch.linspace(0, 2, 12))
        logbook.crops(1, [torch.zeros(16, 3, 32, 32), torch.zeros(16, 3, 16, 16)], CONFIG.augment, images=4)
        logbook.probed(
            1, Probed(scores={"knn_top1": 0.75}, gallery=gallery(), words="k-NN: 75.0% of 9 images"), epoch=0
        )
    return logbook


def test_tensorboard_gets_scalars_crops_histogram_and_a_bounded_projector(tmp_path, capsys):
    write_everything(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("loss")[0].value == 2.5
    assert events.Scalars("knn_top1")[0].value == 0.75
    assert events.Tags()["images"] == ["crops"] and events.Tags()["histograms"] == ["prototype_mass"]
    (tensors,) = (tmp_path / "tensorboard").rglob("tensors.tsv")
    rows = [line.split("\t") for line in tensors.read_text().splitlines()]
    assert (len(rows), len(rows[0])) == (9, 9)  # of 80 directions, those that 9 points can have
    assert (tensors.parent / "metadata.tsv").read_text().split() == ["0", "1", "2"] * 3
    assert (tensors.parent / "sprite.png").is_file()
    assert [line.get("knn_top1", line.get("loss")) for line in read_metrics(tmp_path / "metrics.jsonl")] == [2.5, 0.75]
    assert "warning" not in capsys.readouterr().out


FIGURES = "loss 2.500, 100 images/s, 25% data wait, 1.5 GiB"


def test_the_picture_of_the_crops_is_torchvisions_grid_of_them():
    """A row a sample; crops of fewer pixels lie in the corners of their tiles."""
    large, small = torch.randn(2 * 3, 3, 20, 20), torch.randn(2 * 3, 3, 12, 12)
    views = [large, torch.cat([small, small.flip(0)])]
    specs = (replace(CONFIG.augment.crops[0], count=2), replace(CONFIG.augment.crops[1], count=4))
    augment = replace(CONFIG.augment, crops=specs)
    shown = [restored(view, augment).clamp(0, 1).unflatten(0, (-1, 3)) for view in views]
    shown[1] = torch.nn.functional.pad(shown[1], (0, 8, 0, 8))
    rows = torch.cat(shown).transpose(0, 1)[:2]
    expected = torchvision.utils.make_grid(rows.flatten(0, 1), nrow=6, padding=2)
    assert torch.equal(crop_grid(views, augment, images=2), expected)


def test_on_a_terminal_the_bar_shows_loss_speed_wait_memory_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    write_everything(tmp_path)
    said = capsys.readouterr()
    assert FIGURES in said.err and "left" in said.err and FIGURES not in said.out


def test_elsewhere_each_interval_is_a_line_with_the_time(tmp_path, capsys):
    write_everything(tmp_path)
    said = capsys.readouterr()
    assert said.err == "" and "\r" not in said.out
    line, probe = said.out.splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  step 1 of 10: {FIGURES}", line)
    assert probe == "step 1: k-NN: 75.0% of 9 images"


def test_utilisation_stands_beside_the_wait_where_it_is_known(tmp_path, capsys):
    with Logbook(replace(CONFIG, out=tmp_path), total_steps=10, first_step=0, enabled=True) as logbook:
        logbook.scalars(1, VALUES | {"mfu": 0.42})
    assert "100 images/s, 42% MFU, 25% data wait" in capsys.readouterr().out


def test_tensorboard_shows_the_configuration(tmp_path):
    write_everything(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (event,) = events.Tensors("configuration/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert json.loads(text)["optim"]["lr"] == CONFIG.optim.lr


def test_a_sink_that_fails_is_dropped_and_the_run_goes_on(tmp_path, capsys):
    class Broken:
        def scalars(self, step, values):
            raise OSError("no space left on device")

    with Logbook(replace(CONFIG, out=tmp_path), total_steps=10, first_step=0, enabled=True) as logbook:
        logbook._sinks.insert(0, Broken())
        logbook.scalars(1, VALUES)
        logbook.scalars(2, VALUES)
    assert capsys.readouterr().out.count("warning: Broken failed") == 1
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    assert len(EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")) == 2


def test_a_full_disk_at_a_resume_loses_no_metrics(tmp_path, monkeypatch):
    """Those of later steps are dropped by a new file in the place of the old one."""
    lines = "".join(f'{{"step": {step}}}\n' for step in range(1, 5))
    (tmp_path / "metrics.jsonl").write_text(lines)
    monkeypatch.setattr("frl.files.os.fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device: .*metrics.jsonl"):
        Logbook(replace(CONFIG, out=tmp_path), total_steps=10, first_step=2, enabled=True)
    assert (tmp_path / "metrics.jsonl").read_text() == lines
    monkeypatch.undo()
    with Logbook(replace(CONFIG, out=tmp_path), total_steps=10, first_step=2, enabled=True):
        assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]


def test_other_ranks_write_nothing(tmp_path):
    with Logbook(replace(CONFIG, out=tmp_path / "no"), total_steps=10, first_step=0, enabled=False) as logbook:
        logbook.advance()
        logbook.scalars(1, VALUES)
        logbook.crops(1, [], CONFIG.augment)
    assert not (tmp_path / "no").exists()


class FakeWandb:
    """The part of wandb that we use, in memory; ``reachable`` is whether its service answers."""

    class Error(Exception):
        pass

    def __init__(self, reachable: bool = True) -> None:
        self.reachable = reachable
        self.inits: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.finished = False
        self.Settings = lambda **options: SimpleNamespace(**options)
        self.Histogram = lambda values: ("histogram", values)
        self.Image = lambda pixels: ("image", pixels.shape, pixels.dtype)
        self.Table = lambda columns, data: ("table", columns, data)

    def init(self, **options):
        if not self.reachable and options.get("mode") != "offline":
            raise self.Error("no network")
        self.inits.append(options)
        return SimpleNamespace(log=lambda values, step: self.logged.append((step, values)), finish=self._finish)

    def _finish(self) -> None:
        self.finished = True


def test_wandb_gets_everything_and_the_configuration(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    write_everything(tmp_path, wandb="faces")
    (options,) = fake.inits
    assert (options["project"], options["resume"], options["dir"]) == ("faces", "allow", str(tmp_path))
    assert options["config"]["objective"]["prototypes"] == 12
    json.dumps(options["config"])
    logged = {name: value for _, values in fake.logged for name, value in values.items()}
    assert logged["loss"] == 2.5 and logged["knn_top1"] == 0.75
    assert logged["prototype_mass"] == ("histogram", pytest.approx(np.linspace(0, 2, 12).tolist()))
    assert logged["crops"][1][2] == 3 and logged["crops"][2] == np.uint8
    assert len(logged["features"][2]) == 9
    assert {step for step, _ in fake.logged} == {1} and fake.finished


def test_wandb_without_a_network_logs_offline_under_the_same_id(tmp_path, monkeypatch):
    online, offline = FakeWandb(), FakeWandb(reachable=False)
    for fake in (online, offline):
        monkeypatch.setitem(sys.modules, "wandb", fake)
        write_everything(tmp_path, wandb="faces")
    assert offline.inits[0]["mode"] == "offline" and offline.logged
    assert offline.inits[0]["id"] == online.inits[0]["id"]


def test_without_the_extra_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install wandb"):
        WandbSink("faces", tmp_path, {})


def test_trackers_are_imported_only_by_a_run():
    code = "import sys, frl.monitoring.logbook; print([m for m in ('tensorboard', 'wandb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stdout == "[]\n"


def test_thumbnails_restore_the_colours_and_shrink():
    view = torch.zeros(2, 3, 64, 64)  # the mean colour
    pictures = thumbnails(view, CONFIG.augment, 16)
    assert pictures.shape == (2, 16, 16, 3)
    assert pictures[0, 0, 0].tolist() == [round(255 * value) for value in CONFIG.augment.mean]
    assert thumbnails(view[..., :8, :8], CONFIG.augment, 16).shape == (2, 8, 8, 3)


@pytest.mark.parametrize("line", ["", "\0\0\0", "5", '{"loss": 1.0}', "\udcff", '{"step": "3"}', '{"step": 3, "lo'])
def test_a_damaged_line_costs_itself_alone(tmp_path, line):
    """It is left out with a word; what follows is shown, and kept when the run goes on."""
    path = tmp_path / "metrics.jsonl"
    whole = [json.dumps({"step": step, "loss": 2.0 / step}) for step in (1, 2, 4)]
    path.write_bytes("\n".join([*whole[:2], line, whole[2], '{"step": 5, "lo']).encode("utf-8", "surrogateescape"))
    with pytest.warns(
        UserWarning, match=r"metrics\.jsonl: 1 of 4 lines are damaged and left out, the first of them line 3"
    ):
        assert [found["step"] for found in read_metrics(path)] == [1, 2, 4]
    with pytest.warns(UserWarning), Logbook(replace(CONFIG, out=tmp_path), total_steps=9, first_step=4, enabled=True):
        pass
    assert [found["step"] for found in read_metrics(path)] == [1, 2, 4]


def test_a_figure_that_is_null_is_no_number(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": null}\n')
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert np.isnan(line["loss"])
