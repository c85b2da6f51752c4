"""What the two scripts for a GPU share: files of faces to work on, and the tests of tests/gpu."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from bench_report import ROOT
from smooth_images import smooth_image

from frl.beton import BetonWriter
from frl.machine import cores

LIMIT = 300  # seconds for the tests, most of which compile something
AT_ONCE = 6  # tests; each process takes half a gigabyte of the GPU for its context


def faces(count: int, side: int) -> Iterator[np.ndarray]:
    """Images ``(side, side, 3)`` uint8."""
    random = np.random.default_rng(0)
    for _ in range(count):
        yield smooth_image(random, side)


def write_faces(path: Path, images: int, side: int, distinct: int = 64, broken: int | None = None) -> None:
    """A ``.beton`` of JPEGs, few of which differ; of image ``broken`` only the first half is there."""
    encoded = [cv2.imencode(".jpg", face)[1].tobytes() for face in faces(min(images, distinct), side)]
    write_repeated(path, encoded, images, side, broken)


def write_repeated(path: Path, encoded: Sequence[bytes], images: int, side: int, broken: int | None = None) -> None:
    """A ``.beton`` of so many images, these JPEGs in turn; of image ``broken`` only the first half is there."""
    with BetonWriter(path, capacity=images) as writer:
        for i in range(images):
            jpeg = encoded[i % len(encoded)]
            writer.append(jpeg[: len(jpeg) // 2] if i == broken else jpeg, side, side, i, f"{i}.jpg")


def run_tests() -> dict[str, Any]:
    """The tests of tests/gpu: how many passed, failed and were skipped, and the names of those that failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "tests/gpu", f"--junitxml={report}", "-p", "no:cacheprovider"]
        if importlib.util.find_spec("xdist") is not None:  # what takes long is compiled on the processor
            command += ["-n", str(min(cores(), AT_ONCE))]
        said = limited(command, LIMIT)
        if not report.exists():
            return {"skipped": last_line(said)}
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = [
        case.get("name") for case in suite.iter("testcase") if {child.tag for child in case} & {"failure", "error"}
    ]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return {"passed": passed, "skipped": counts["skipped"], "failed": failed}


def limited(command: list[str], seconds: float) -> str:
    """Run a command with an end; what it said."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {seconds:g} s"
    return done.stdout + done.stderr


def last_line(text: str) -> str:
    """Of what a command said."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
