"""What others report on the benchmarks, with where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures of one method on one benchmark.

    Attributes:
        method: who, with which network and what it was trained on before.
        scores: as the source prints them, by what it calls them.
        source: where they stand.
    """

    method: str
    scores: Mapping[str, str]
    source: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark and what is published on it.

    Attributes:
        task: which task it is.
        split: what its test set is called, for others may have as many faces.
        faces: of its test set.
        note: what the figures are.
        results: of others.
    """

    task: str
    split: str = "test"
    faces: int
    note: str
    results: tuple[Published, ...]


HRNET = "Sun et al., High-Resolution Representations for Labeling Pixels and Regions, 2019; their repository"
FARL = "Zheng et al., General Facial Representation Learning in a Visual-Linguistic Manner, CVPR 2022"
MMPOSE = "model zoo of MMPose"
LAB = "Wu et al., Look at Boundary, CVPR 2018; as listed by HRNet"
SYNERGY = "Wu et al., Synergy between 3DMM and 3D Landmarks, 3DV 2021; their repository"

BENCHMARKS: dict[str, Benchmark] = {
    "300w": Benchmark(
        task="landmarks",
        split="full",
        faces=689,
        note="NME by the outer corners of the eyes, in %: all, common, challenging",
        results=(
            Published(method="HRNetV2-W18, ImageNet", scores={"nme": "3.34 / 2.91 / 5.11"}, source=HRNET),
            Published(method="LAB", scores={"nme": "3.49"}, source=LAB),
            Published(method="FaRL ViT-B, 64 epochs", scores={"nme": "2.88 / 2.50 / 4.42"}, source=FARL),
        ),
    ),
    "wflw": Benchmark(
        task="landmarks",
        faces=2500,
        note="NME by the outer corners of the eyes, in %; failures in % and area under the curve, both at 10 %",
        results=(
            Published(method="ResNet-50, fully connected, smooth L1", scores={"nme": "4.85"}, source=MMPOSE),
            Published(method="ResNet-50, fully connected, Wing", scores={"nme": "4.64"}, source=MMPOSE),
            Published(method="HRNetV2-W18, ImageNet", scores={"nme": "4.60"}, source=HRNET),
            Published(method="FaRL ViT-B", scores={"nme": "3.96", "fr10": "1.76", "auc10": ".6116"}, source=FARL),
        ),
    ),
    "cofw": Benchmark(
        task="landmarks",
        faces=507,
        note="NME by the outer corners of the eyes, and failures at 10 %, in %",
        results=(
            Published(method="HRNetV2-W18, ImageNet", scores={"nme": "3.45", "fr10": ".20"}, source=HRNET),
            Published(method="LAB", scores={"nme": "3.92", "fr10": ".39"}, source=LAB),
        ),
    ),
    "aflw19": Benchmark(
        task="landmarks",
        faces=4386,
        note="NME by the square root of the box's area, in %; area under the curve up to 7 %",
        results=(
            Published(method="HRNetV2-W18, ImageNet", scores={"nme": "1.57"}, source=HRNET),
            Published(method="FaRL ViT-B", scores={"nme": "1.334", "auc7": ".813"}, source=FARL),
        ),
    ),
    "aflw2000": Benchmark(
        task="face3d",
        faces=2000,
        note="NME in %: yaw up to 30, 60, 90 degrees, and their mean. Two annotations differ by 3.40 from each other",
        results=(Published(method="SynergyNet", scores={"nme": "2.66 / 3.32 / 4.27 -> 3.41"}, source=SYNERGY),),
    ),
    "rafdb": Benchmark(
        task="expression",
        faces=3068,
        note="accuracy in %, of frozen networks trained without labels, with a linear head",
        results=tuple(
            Published(method=method, scores={"accuracy": accuracy}, source="repository of FaceCycle")
            for method, accuracy in (("FaceCycle", "71.01"), ("FAb-Net", "66.72"), ("TCAE", "65.32"),
                                     ("one of BMVC 2020, as FaceCycle lists it", "58.86"))
        ),
    ),
    "fer2013": Benchmark(
        task="expression",
        faces=3589,
        note="accuracy in %, of frozen networks trained without labels, with a linear head",
        results=tuple(
            Published(method=method, scores={"accuracy": accuracy}, source="repository of FaceCycle")
            for method, accuracy in (("FaceCycle", "48.76"), ("FAb-Net", "46.98"), ("TCAE", "45.05"),
                                     ("one of BMVC 2020, as FaceCycle lists it", "47.61"))
        ),
    ),
}  # fmt: skip
"""By name."""

KINDS = {"ibug300w": "300w", **{name: name for name in ("wflw", "cofw", "aflw19", "aflw2000", "rafdb", "fer2013")}}
"""Which benchmark a source of ``frl write`` is, by its kind."""


SOLE_SPLITS = {"aflw2000": "test"}
"""Which split a source is that names none, where a benchmark may lie there with that one alone."""


def benchmark_of(sources: Mapping[str, str], task: str, faces: int) -> str | None:
    """Which benchmark a test file is, by source, split and number of faces; None if that is not sure.

    Args:
        sources: of the file's manifest: as each was given to ``frl write``, such as ``wflw:/data/WFLW@test``.
        task: which task is judged.
        faces: of the test file.
    """
    if len(sources) != 1:
        return None
    (given,) = sources.values()
    name = KINDS.get(str(given).partition(":")[0], "")
    known = BENCHMARKS.get(name)
    _, named, split = str(given).rpartition("@")
    found = task, split if named else SOLE_SPLITS.get(name), faces
    return name if known is not None and found == (known.task, known.split, known.faces) else None


def published_text(name: str, faces: int) -> str:
    """The figures on a benchmark, for people, beside those on so many ``faces``."""
    benchmark = BENCHMARKS[name]
    other = "" if faces == benchmark.faces else f", which are not the {faces:,} here"
    lines = [f"published on {name}, {benchmark.faces:,} faces{other}. {benchmark.note}:"]
    for result in benchmark.results:
        scores = ", ".join(f"{score} {value}" for score, value in result.scores.items())
        lines.append(f"  {result.method}: {scores} ({result.source})")
    return "\n".join(lines)
