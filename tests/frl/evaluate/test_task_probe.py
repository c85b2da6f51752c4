"""Tasks on the features of a network that trains: shared among ranks, without lost images, on a schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests_support import run_ranks
from torch import nn

from frl.batch import Batch
from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError
from frl.evaluate.gallery import Probed
from frl.evaluate.probe import Schedule
from frl.evaluate.task_probe import Question, Side, TaskProbe, require_features
from frl.models.backbone import build_backbone
from frl.runtime.distributed import World
from frl.tasks.registry import Truth, task_of

FACES, SIDE = 40, 16
SPEC = TargetSpec(name="shade", kind=Kind.VECTOR, shape=(1,), names=("shade",))


def known(rows: np.ndarray) -> Truth:
    """Of images that have one shade each, that shade."""
    shades = np.random.default_rng(0).random((FACES, 1)).astype(np.float32)
    whole = Truth(
        values={"shade": shades},
        specs={"shade": SPEC},
        subjects=np.arange(FACES) // 2,
        sides=np.full((FACES, 2), float(SIDE)),
    )
    return whole.rows(rows)


def batches(rows: np.ndarray) -> list[Batch]:
    """The images, which are their shades, in batches of up to seven."""
    shades = torch.from_numpy(known(np.arange(FACES)).values["shade"])
    samples = torch.from_numpy(rows)
    return [
        Batch(
            views=[shades[part][:, :, None, None].expand(-1, 3, SIDE, SIDE)],
            samples=part,
            targets={"identity": torch.full((len(part),), -1)},
        )
        for part in samples.split(7)
    ]


def question() -> Question:
    train, test = np.arange(30), np.arange(30, FACES)
    task = task_of("numbers:shade", known(train))
    return Question(task, Side(0, train, known(train)), Side(0, test, known(test)))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_backbone("resnet18-w16-nopool")[0]


def probed(rank: int, size: int, lost: tuple[int, ...] = ()) -> Probed | None:
    torch.set_num_threads(1)
    place = World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))
    share = np.arange(FACES * rank // size, FACES * (rank + 1) // size)
    probe = TaskProbe([batches(np.setdiff1d(share, lost))], [question()], "both", SIDE)
    probe.look(network())
    probe.gather(place)
    return probe.judge() if place.is_main else None


def test_of_a_stage_the_features_are_those_of_its_map() -> None:
    probe = TaskProbe([batches(np.arange(FACES))], [question()], "both", SIDE, stage=1)
    backbone = network().eval()
    probe.look(backbone)
    images = torch.cat([batch.views[0] for batch in batches(np.arange(FACES))])
    with torch.inference_mode():
        maps = backbone.layer1(backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(images)))))
    vectors = probe.shown[0].vectors
    torch.testing.assert_close(vectors[:, : probe.pooled], maps.mean((2, 3)))
    torch.testing.assert_close(vectors[:, probe.pooled :], F.adaptive_avg_pool2d(maps, 4).flatten(1))
    assert "shade" in probe.judge().words


def test_two_ranks_find_what_one_finds() -> None:
    alone = probed(0, 1)
    assert alone is not None and alone.scores["numbers:shade/pooled/r2"] > 0.9  # features follow the shade
    together, nothing = run_ranks(probed, 2)
    assert nothing is None
    assert together.scores == pytest.approx(alone.scores, rel=1e-6)


def test_images_that_cannot_be_read_are_no_faces() -> None:
    whole, without = probed(0, 1), probed(0, 1, lost=(3, 8, 35))
    assert whole is not None and without is not None
    assert without.scores["numbers:shade/pooled/r2"] > 0.9  # every face still has its own target
    assert without.scores != whole.scores


def test_a_network_that_collapsed_says_the_mean() -> None:
    backbone = network()
    for parameter in backbone.parameters():
        parameter.data.zero_()
    probe = TaskProbe([batches(np.arange(FACES))], [question()], "both", SIDE)
    probe.look(backbone)
    probe.gather(World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu")))
    found = probe.judge()
    lines = {metric.name: metric.line for metric in found.described}
    for kind in ("pooled", "unpooled"):
        name = f"numbers:shade/{kind}/mae"
        assert lines[name] is not None and found.scores[name] == pytest.approx(lines[name][0], rel=1e-5)


def test_looking_leaves_the_network_as_it_was() -> None:
    backbone = network()
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    drawn = torch.random.get_rng_state()
    probe = TaskProbe([batches(np.arange(FACES))], [question()], "both", SIDE)
    probe.look(backbone)
    probe.gather(World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu")))
    probe.judge()
    assert all(module.training for module in backbone.modules())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)


class Flat(nn.Module):
    """A network of timm's kind whose last features have no place in the image."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) * self.scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_features(images)


def test_a_network_without_a_map_is_refused_unless_its_pooled_features_do() -> None:
    require_features(Flat(), "pooled", SIDE)
    with pytest.raises(ConfigError, match=r"--probe.features pooled"):
        require_features(Flat(), "both", SIDE)


class Told:
    """A probe that notes what it is asked to do."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def look(self, backbone: nn.Module) -> None:
        self.calls.append(f"{self.name} looks")

    def gather(self, world: World) -> None:
        self.calls.append(f"{self.name} gathers")

    def judge(self) -> Probed:
        return Probed(scores={self.name: 1.0}, words=f"{self.name}: 1")


def test_probes_are_due_at_their_own_times_and_act_as_one() -> None:
    calls: list[str] = []
    schedule = Schedule([(Told("a", calls), 2), (Told("b", calls), 3)])
    names = []
    for epochs in range(1, 8):
        due = schedule.due(epochs, last=epochs == 7)
        names.append("" if due is None else "".join(due.judge().scores))
    assert names == ["", "a", "b", "a", "", "ab", "ab"]
    due = schedule.due(6, last=False)
    assert due is not None
    due.look(nn.Identity())
    due.gather(World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu")))
    assert calls == ["a looks", "b looks", "a gathers", "b gathers"]
    assert due.judge().words == "a: 1; b: 1"
