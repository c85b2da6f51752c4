"""A folder of synthetic faces in the layout of VGGFace2, with the truth beside it."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from frl.children import sheltered
from frl.errors import WriteError
from frl.files import require_room_for_folder
from frl.machine import cores
from frl.synthetic.drawing import make_model, render
from frl.synthetic.identity import draw_identity
from frl.synthetic.scene import STYLES, Style, draw_scene
from frl.synthetic.truth import TARGETS, truth_of

TRUTH = "truth.jsonl"
DESCRIPTION = "truth.targets.json"
Truths = list[dict[str, Any]]
"""The lines of the truth that belong to one identity."""
QUALITY = (75, 96)
"""Range of the JPEG quality."""


def write_folder(
    out: str | os.PathLike[str],
    identities: int,
    images_per_identity: int,
    size: int = 128,
    seed: int = 0,
    workers: int = 0,
    style: Style = STYLES["wild"],
) -> None:
    """Draw faces into ``out/train/n000001/0001_01.jpg`` and so on, and their truth into ``out/truth.jsonl``.

    The bytes depend on the numbers, the seed and the style, not on ``workers`` (0: one for each core). A line of the
    truth is an object with ``path`` (relative to ``out``), ``identity`` (from 1, as in the folder's name) and the
    targets of ``frl.synthetic.truth``, which ``out/truth.targets.json`` describes. The folder appears under its name
    when it is complete.

    Raises:
        WriteError: ``out`` exists and is no empty folder that can be replaced, a number makes no sense, or a worker
            died.
    """
    out = Path(out)
    _check(out, identities=identities, images_per_identity=images_per_identity, size=size)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        # Named within the private folder, so that it gets the permissions of any other new folder.
        draft = Path(temporary) / out.name
        (draft / "train").mkdir(parents=True)
        task = partial(_write_identity, draft, images=images_per_identity, size=size, seed=seed, style=style)
        with (draft / TRUTH).open("w", encoding="utf-8") as file:
            for lines in _map(task, identities, workers or cores()):
                file.writelines(json.dumps(line) + "\n" for line in lines)
        (draft / DESCRIPTION).write_text(
            json.dumps([asdict(spec) for spec in TARGETS], indent=1) + "\n", encoding="utf-8"
        )
        draft.rename(out)


def _check(out: Path, **numbers: int) -> None:
    for name, number in numbers.items():
        least = 32 if name == "size" else 1
        if number < least:
            raise WriteError(out, f"{name} is {number}", f"Ask for at least {least}.")
    require_room_for_folder(out)


def _map(task: Callable[[int], Truths], count: int, workers: int) -> Iterator[Truths]:
    workers = min(workers, count)
    if workers == 1:
        yield from map(task, range(count))
        return
    # Forked children of a process with threads (torch, OpenCV) may deadlock: start them afresh.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        with sheltered():
            results = pool.map(task, range(count))
        try:
            yield from results
        except BrokenProcessPool as error:
            raise WriteError("a worker", "died while drawing faces", "Free memory, or ask for workers=1.") from error


def _write_identity(out: Path, index: int, images: int, size: int, seed: int, style: Style) -> Truths:
    cv2.setNumThreads(1)
    name = f"n{index + 1:06d}"
    folder = out / "train" / name
    folder.mkdir()
    model = make_model(draw_identity(seed, index), size)
    truth = []
    for image in range(images):
        scene = draw_scene(seed, index, image, style)
        face = render(model, scene)
        path = folder / f"{image + 1:04d}_01.jpg"
        path.write_bytes(_jpeg(face.image, scene.noise_seed))
        truth.append({"path": path.relative_to(out).as_posix(), "identity": index + 1, **truth_of(face, scene)})
    return truth


def _jpeg(image: np.ndarray, noise_seed: int) -> bytes:
    quality = int(np.random.default_rng([noise_seed, 3]).integers(*QUALITY))
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
