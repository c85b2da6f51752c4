"""Who takes part, and in what."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ours", "peer", "floor", "stage"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant, before anything of it is imported.

    Attributes:
        label: in tables.
        kind: ours, a peer, the floor, or a part of our pipeline.
        function: ``module:name`` of a ``Contestant``.
        needs: the package without which it cannot run.
        install: how to get that.
        everything: whether it can do the whole recipe, or crops and flips alone.
        crops_only: whether crops and flips alone are measured too.
        slow_start: whether its first batch takes so long that ``--quick`` leaves it out.
    """

    label: str
    kind: Kind
    function: str
    needs: str | None = None
    install: str = "bash scripts/setup.sh"
    everything: bool = True
    crops_only: bool = True
    slow_start: bool = False

    def missing(self) -> bool:
        """Whether its package is not installed."""
        try:
            return self.needs is not None and importlib.util.find_spec(self.needs) is None
        except ModuleNotFoundError:  # the package that holds it is missing too
            return True


DALI = "pip install nvidia-dali-cuda130==2.4.0"
ENTRIES = {
    "paper": Entry(
        label="the paper's code (PIL, OpenCV, DataLoader)", kind="peer", function="pipelines.benchmark.paper:batches"
    ),
    "torchvision": Entry(
        label="torchvision v2 on tensors", kind="peer", function="pipelines.benchmark.torchvision_v2:batches"
    ),
    "by-hand": Entry(
        label="by hand: simplejpeg, OpenCV AREA and LINEAR, tables",
        kind="peer",
        function="pipelines.benchmark.by_hand:batches",
        needs="simplejpeg",
    ),
    "by-hand-linear": Entry(
        label="by hand, LINEAR only (aliases)",
        kind="peer",
        function="pipelines.benchmark.by_hand:aliased_batches",
        needs="simplejpeg",
    ),
    "albumentationsx": Entry(
        label="simplejpeg, albumentationsx",
        kind="peer",
        function="pipelines.benchmark.albumentationsx:batches",
        needs="albumentations",
        install="pip install albumentationsx",
    ),
    "dali": Entry(
        label="DALI's own operators, CPU",
        kind="peer",
        function="pipelines.benchmark.stock_dali:batches",
        needs="nvidia.dali",
        install=DALI,
    ),
    "ffcv": Entry(
        label="stock ffcv, one decode a crop",
        kind="peer",
        function="pipelines.benchmark.stock_ffcv:batches",
        needs="ffcv",
        everything=False,
        slow_start=True,
    ),
    "frl-threads": Entry(
        label="frl, engine threads", kind="ours", function="pipelines.benchmark.ours:threads", needs="simplejpeg"
    ),
    "frl-ffcv": Entry(label="frl, engine ffcv", kind="ours", function="pipelines.benchmark.ours:ffcv", needs="ffcv"),
    "frl-torch": Entry(label="frl, engine torch", kind="ours", function="pipelines.benchmark.ours:torch"),
    "frl-dali": Entry(
        label="frl, engine dali, CPU",
        kind="ours",
        function="pipelines.benchmark.ours:dali",
        needs="nvidia.dali",
        install=DALI,
    ),
    "floor-decode": Entry(
        label="floor: decode", kind="floor", function="pipelines.benchmark.floor:decode", everything=False
    ),
    "floor-resize": Entry(
        label="floor: decode + resize",
        kind="floor",
        function="pipelines.benchmark.floor:decode_and_resize",
        everything=False,
    ),
    **{
        f"stage-{name}": Entry(
            label=name, kind="stage", function=f"pipelines.benchmark.ours:{name}", needs="simplejpeg", crops_only=False
        )
        for name in ("read", "decode", "crop", "colour", "blur")
    },
}
