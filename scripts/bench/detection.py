"""How many annotated faces of a folder of photographs a detector finds; the crops go onto a contact sheet.

Beside each photograph PHOTO.jpg lies PHOTO.faces.json: a list of faces, each a list of [x, y] points in pixels. A face
counts as found when a box overlaps the box of its points with an intersection over union of at least 0.4.
"""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from detection_table import Found, in_words
from PIL import Image

from frl import console
from frl.errors import ConfigError
from writers.detect import DetectConfig, Detection, start, validate
from writers.image.crop import CropSpec, FaceCropper
from writers.sources import Box

ENOUGH = 0.4
TILE, COLUMNS = 128, 16


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What to measure."""

    photographs: Annotated[Path, tyro.conf.Positional]
    """Folder of PHOTO.jpg and PHOTO.faces.json."""
    sheet: Path | None = None
    """Where to draw the crops: a PNG; those of boxes that meet no annotated face have a red edge."""
    limit: int | None = None
    """Use only the first so many photographs."""
    detect: Annotated[DetectConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: DetectConfig(detect="dlib"))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    across = max(0.0, min(a.left + a.width, b.left + b.width) - max(a.left, b.left))
    down = max(0.0, min(a.top + a.height, b.top + b.height) - max(a.top, b.top))
    return across * down / (a.width * a.height + b.width * b.height - across * down)


def annotated(photograph: Path) -> list[Box]:
    """The boxes of the points beside a photograph."""
    faces = map(np.asarray, json.loads(photograph.with_suffix(".faces.json").read_text()))
    return [Box(*points.min(0).tolist(), *np.ptp(points, axis=0).tolist()) for points in faces]


def tile(crop: FaceCropper, data: bytes, face: Detection, known: bool) -> np.ndarray:
    """The sample that would be written, small, with a red edge if it is of no annotated face."""
    sample = crop(crop.open(data), face.box)
    with Image.open(io.BytesIO(sample.data)) as image:
        pixels = np.array(image.resize((TILE, TILE), Image.Resampling.BOX))[..., ::-1].copy()
    if not known:
        cv2.rectangle(pixels, (0, 0), (TILE - 1, TILE - 1), (0, 0, 255), 4)
    return pixels


def draw(tiles: list[np.ndarray], sheet: Path) -> None:
    """Lay the crops out in rows."""
    rows = -(-len(tiles) // COLUMNS)
    canvas = np.zeros((rows * TILE, COLUMNS * TILE, 3), np.uint8)
    for i, pixels in enumerate(tiles):
        top, left = divmod(i, COLUMNS)
        canvas[top * TILE : (top + 1) * TILE, left * TILE : (left + 1) * TILE] = pixels
    cv2.imwrite(str(sheet), canvas)


def measure(config: MeasureConfig) -> tuple[Found, list[np.ndarray]]:
    """What the detector finds, and its samples: first those of boxes that meet no annotated face."""
    find = start(config.detect)
    if find is None:
        raise ConfigError("--detect none", "finds nothing", "Use dlib or yunet.")
    crop = FaceCropper(CropSpec(size=256, margin=0.3, quality=90, max_pixels=10**8))
    photographs = sorted(config.photographs.glob("*.jpg"))[: config.limit]
    if not photographs:
        raise ConfigError(config.photographs, "holds no PHOTO.jpg", "Name a folder of photographs.")
    overlaps: list[float] = []
    known: list[np.ndarray] = []
    unknown: list[np.ndarray] = []
    seconds = 0.0
    for photograph in photographs:
        data = photograph.read_bytes()
        pixels = np.asarray(Image.open(photograph).convert("RGB"))
        began = time.process_time()
        boxes = find.detect(pixels)
        seconds += time.process_time() - began
        truth = annotated(photograph)
        overlaps += [max((overlap(face, box.box) for box in boxes), default=0.0) for face in truth]
        for box in boxes:
            is_known = any(overlap(face, box.box) >= ENOUGH for face in truth)
            (known if is_known else unknown).append(tile(crop, data, box, is_known))
    found = Found(
        photographs=len(photographs),
        overlaps=overlaps,
        boxes=len(known) + len(unknown),
        strays=len(unknown),
        seconds=seconds,
    )
    return found, unknown + known


def main() -> None:
    """Measure, print, draw."""
    config = tyro.cli(MeasureConfig, description=__doc__)
    validate(config.detect)
    found, tiles = measure(config)
    print(f"{config.detect.detect}, --min-face {config.detect.min_face}, --min-score {config.detect.min_score}")
    print(in_words(found, ENOUGH))
    if config.sheet:
        draw(tiles, config.sheet)


if __name__ == "__main__":
    sys.exit(console.run("bench detection", main))
