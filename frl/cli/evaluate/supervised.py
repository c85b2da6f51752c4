"""``frl evaluate landmarks|face3d|pose|expression|affect|action-units|task``: what heads learn on a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from frl.cli.evaluate.extraction import Extraction
from frl.cli.evaluate.finetuned import FinetunedRows, main_rank_speaks
from frl.cli.evaluate.networks import Networks
from frl.cli.evaluate.parts import Part, asked, in_folds, one_file, two_files
from frl.config import EngineName
from frl.config.check import require, require_file, require_least, require_new_folder, require_within
from frl.config.finetune import FinetuneConfig
from frl.config.probe import require_of_its_side
from frl.evaluate.downstream import Examination
from frl.evaluate.hog import Hog
from frl.evaluate.published import BENCHMARKS, benchmark_of, published_text
from frl.evaluate.splits import Labels
from frl.evaluate.table import Row, joined, parts_table, scores_table
from frl.network import SIZE
from frl.pretrained import load_backbone
from frl.runtime.distributed import World, world
from frl.runtime.numerics import numerics
from frl.tasks.registry import SupervisedTask

Fold = tuple[Part, Part, SupervisedTask]
"""The side to learn from, the side to be judged on, and the task on them."""


@dataclass(frozen=True, kw_only=True)
class Supervised(Networks):
    """What heads learn on networks from the targets of a .beton, judged on faces that they did not see."""

    train: Path | None = None
    """A .beton with targets to learn from."""
    test: Path | None = None
    """A .beton with the same targets to be judged on."""
    data: Path | None = None
    """In the place of both: one .beton, which is split by subject (by face where none is known)."""
    test_share: float = 0.2
    """Of --data: the share of its faces to be judged on."""
    folds: int | None = None
    """Of --data: divide it into so many parts of whole subjects, and judge on each in turn what the others taught; the
    table gives mean and standard deviation. None: --test-share is judged on, once."""
    how: Literal["frozen", "knn", "finetune"] = "frozen"
    """frozen: ridge regression on features that stay; knn: the nearest training faces by these features; finetune: the
    whole network learns, under torchrun on many GPUs."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """Of finetune: how."""
    save: Path | None = None
    """Of finetune: folder for the fine-tuned networks, a file each for frl predict, and for checkpoints, from which an
    interrupted evaluation goes on; none: nothing is kept."""
    labels: tuple[str, ...] = ("100%",)
    """How much of the training data has labels: shares and numbers of faces, such as 1% 10% 100% or 50. The smaller
    parts are parts of the larger; where subjects are known, they are whole."""
    seeds: int = 3
    """Draws of each part; the table gives mean and standard deviation."""
    features: Literal["both", "pooled", "unpooled"] = "both"
    """pooled: what the network gives; unpooled: its last feature map (or that of --stage), in at most 4 x 4 cells."""
    flip: bool = False
    """Judge the mean of what is said of an image and, mirrored back, of its mirror image."""
    cache: Path | None = None
    """Folder where features are kept for the next task or share of labels; none: they are computed each time."""
    imagenet: Path | None = None
    """Weights of the same network trained on ImageNet, as a further baseline, such as torchvision's."""
    benchmark: str | None = None
    """Print what is published on this benchmark, such as wflw; none: told by the test file, if it says so."""
    shared_subjects: bool = False
    """Allow subjects who are in both files, for a benchmark that is published so."""
    limit: int | None = None
    """Faces of each file used at most, the first ones; none: all."""
    engine: EngineName = "threads"
    """What decodes the images; see ``frl pretrain``."""

    task: ClassVar[str] = ""

    @property
    def task_name(self) -> str:
        """As ``task_of`` knows it."""
        return self.task

    @property
    def task_options(self) -> dict[str, Any]:
        """Of the task."""
        return {}

    def check(self) -> None:
        """As for all networks; and the options fit each other."""
        super().check()
        remedy = "Give --train and --test, or --data alone."
        both = self.train is not None and self.test is not None
        require(both or self.data is not None, "train", "nothing to learn from", remedy)
        alone = self.train is None and self.test is None
        require(self.data is None or alone, "data", "there are --train or --test, too", remedy)
        for option in ("train", "test", "data", "imagenet"):
            if (path := getattr(self, option)) is not None:
                require_file(path, option)
        is_share = 0 < self.test_share < 1
        require(is_share, "test_share", f"{self.test_share} is no share between 0 and 1", "Use e.g. 0.2.")
        require_of_its_side("", self.data, self.test_share, self.shared_subjects)
        if self.folds is not None:
            require_within("folds", self.folds, 2, 1000, "Use 5, or leave it out.")
            cause, remedy = "--train and --test are divided already", "Leave it out, or give --data alone."
            require(self.data is not None, "folds", cause, remedy)
            own = self.test_share == type(self).test_share
            require(own, "test_share", "--folds says how many are judged on", "Leave out one of them.")
        require(len(self.labels) > 0, "labels", "no part of the labels is asked for", "Use e.g. 1% 10% 100%.")
        parts = [Labels.parse(text) for text in self.labels]
        require(len(set(parts)) == len(parts), "labels", "names a part twice", "Name each once; --seeds draws more.")
        if self.limit is not None:
            require_least("limit", self.limit, 4, "Leave it out to use all.")
        require_within("seeds", self.seeds, 1, 1000, "Use 3, or more of few labels.")
        if self.cache is not None:
            require_new_folder(self.cache, "cache")
        if self.how == "finetune":
            cause, remedy = "fine-tuning trains the whole network", "Leave it out, or use --how frozen or knn."
            require(self.features == "both", "features", cause, remedy)
            own = self.batch_size == type(self).batch_size
            require(own, "batch_size", "fine-tuning has a batch size of its own", "Use --finetune.batch-size.")
            replace(self.finetune, size=self.size or SIZE, flip_test=self.flip, seed=self.seed).check()
        elif self.save is not None or self.finetune != FinetuneConfig():
            option = "save" if self.save is not None else "finetune"
            require(False, option, f"--how {self.how} trains no network", "Use --how finetune, or leave it out.")
        if self.save is not None:
            require_new_folder(self.save, "save")
        if self.benchmark is not None:
            there = ", ".join(BENCHMARKS)
            known = self.benchmark in BENCHMARKS
            require(known, "benchmark", f"nothing published on {self.benchmark!r} is known", f"Known are {there}.")

    @property
    def recipe(self) -> FinetuneConfig:
        """Fine-tuning, which sees images as all networks do; raises like ``loaded``."""
        shown = self.normalisation
        augment = replace(self.finetune.augment, mean=shown.mean, std=shown.std)
        return replace(self.finetune, size=self.side, flip_test=self.flip, seed=self.seed, augment=augment)

    def measure(self) -> dict[str, Any]:
        """The task on each network; prints the table. A collective call where networks are fine-tuned."""
        if self.how != "finetune":
            return self.measured(None)
        with world(self.device) as place, main_rank_speaks(place), numerics(place.device):
            return self.measured(place)

    def measured(self, place: World | None) -> dict[str, Any]:
        """The same; ``place`` is this process among the ranks that fine-tune."""
        folds = self.divided()
        train, test, task = folds[0]
        said = f", and {len(folds) - 1} times otherwise, so that each face is judged on once" if self.folds else ""
        print(f"{task.name}, {self.how}: trained on {train},\njudged on {test}{said}", flush=True)
        extract = Extraction(self, None if place is None else place.device)
        networks = self.networks()
        tuned = {} if place is None else self._finetuned(networks, folds, place)
        rows: list[Row] = []
        for name, network in networks.items():
            if name in tuned:
                rows += joined(tuned[name])
                continue
            how = self.how if place is None else "frozen"  # of what has nothing to learn
            features = extract(network)
            rows += joined([self._examination(fold).frozen(name, features.of(*fold[:2]), how) for fold in folds])
        rows += joined([[self._examination(fold).constant()] for fold in folds])
        print(f"\n{scores_table(rows)}")
        if parts := parts_table(rows, task.headline):
            print(f"\n{task.headline} of each part\n{parts}")
        benchmark = self.benchmark or benchmark_of(test.sources, task.name, test.faces)
        if benchmark is not None:
            print(f"\n{published_text(benchmark, len(test.rows))}")
        return {
            "task": task.name,
            "how": self.how,
            "headline": task.headline,
            "train": train.to_json(),
            "test": test.to_json(),
            **({} if self.folds is None else {"folds": self.folds}),
            "rows": [row.to_json() for row in rows],
            "benchmark": benchmark,
        }

    def _examination(self, fold: Fold) -> Examination:
        train, test, task = fold
        return Examination(
            task=task,
            train=train.truth,
            test=test.truth,
            labels=[Labels.parse(text) for text in self.labels],
            seeds=range(self.seed, self.seed + self.seeds),
        )

    def _finetuned(
        self, networks: Mapping[str, nn.Module], folds: Sequence[Fold], place: World
    ) -> dict[str, list[list[Row]]]:
        """By name the rows of each fold, of networks that can learn; the images of a fold are decoded once for all."""
        found: dict[str, list[list[Row]]] = {}
        for number, fold in enumerate(folds):
            options: dict[str, Any] = {"folder": self.save, "engine": self.engine}
            with closing(FinetunedRows(self._examination(fold), *fold[:2], self.recipe, place, **options)) as tuned:
                for name, network in networks.items():
                    if any(True for _ in network.parameters()):
                        arch = name.rpartition("(")[2].rstrip(")").removesuffix(self.of_network)  # with both it ends
                        called = name if self.folds is None else f"{name}, fold {number}"
                        rows = [replace(row, network=name) for row in tuned(called, arch, network)]
                        found.setdefault(name, []).append(rows)
        return found

    def divided(self) -> list[Fold]:
        """Both sides and the task on them, of each fold.

        Raises:
            FrlError: whatever makes them unfit for each other.
        """
        if self.folds is None:
            return [self.opened()]
        assert self.data is not None
        return [self._fit(*sides) for sides in in_folds(self.data, self.folds, self.seed, self.limit)]

    def opened(self) -> Fold:
        """Both sides and the task on them.

        Raises:
            FrlError: whatever makes them unfit for each other.
        """
        if self.data is not None:
            return self._fit(*one_file(self.data, self.test_share, self.seed, self.limit))
        assert self.train is not None and self.test is not None
        return self._fit(*two_files(self.train, self.test, shared_subjects=self.shared_subjects, limit=self.limit))

    def _fit(self, train: Part, test: Part) -> Fold:
        """Two sides, as far as they fit the task and each other."""
        train, test, task = asked(self.task_name, train, test, **self.task_options)
        for text in self.labels:
            Labels.parse(text).of(len(train.rows))
        if self.flip:
            task.mirror(torch.zeros(1, task.outputs))
        return train, test, task

    def networks(self) -> dict[str, nn.Module]:
        """As for all; with HOG, and with ImageNet's weights if they are given."""
        networks = super().networks()
        if self.imagenet is not None:
            backbone, arch = load_backbone(self.imagenet, self.arch)
            networks[f"ImageNet ({arch}{self.of_network})"] = self.seen(backbone)
        if self.baselines:
            networks["HOG"] = Hog(self.normalisation)
        return networks


@dataclass(frozen=True, kw_only=True)
class Landmarks(Supervised):
    """Where the points of a face lie: normalised mean error, failures, area under the cumulative curve."""

    normaliser: Literal["inter-ocular", "inter-pupil", "box", "diag"] | None = None
    """What errors are divided by; none: as the benchmark with so many points does."""

    task: ClassVar[str] = "landmarks"

    @property
    def task_options(self) -> dict[str, Any]:
        """The normaliser."""
        return {"normaliser": self.normaliser}


@dataclass(frozen=True, kw_only=True)
class Face3d(Supervised):
    """The points in three dimensions: error in the image over three bins of yaw, and the head's pose."""

    task: ClassVar[str] = "face3d"


@dataclass(frozen=True, kw_only=True)
class Pose(Supervised):
    """Yaw, pitch and roll of the head: mean absolute error in degrees."""

    task: ClassVar[str] = "pose"


@dataclass(frozen=True, kw_only=True)
class Expression(Supervised):
    """The expression of a face: accuracy, balanced accuracy, confusion matrix."""

    task: ClassVar[str] = "expression"


@dataclass(frozen=True, kw_only=True)
class Affect(Supervised):
    """Valence and arousal: concordance and Pearson's correlation, error, equal signs."""

    task: ClassVar[str] = "affect"


@dataclass(frozen=True, kw_only=True)
class ActionUnits(Supervised):
    """Intensities of action units: ICC(3,1), errors, F1 of those present."""

    task: ClassVar[str] = "action-units"


@dataclass(frozen=True, kw_only=True)
class AnyTarget(Supervised):
    """Any target of a .beton: its classes, numbers or points."""

    target: str
    """classes:NAME, numbers:NAME or points:NAME, as ``frl info`` calls the target."""

    @property
    def task_name(self) -> str:
        """The target."""
        return self.target
