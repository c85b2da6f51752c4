"""Split a ``.beton`` into people to train on and people to probe with: nobody is in both."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frl.beton.manifest import Manifest
from frl.beton.reader import Beton
from frl.beton.samples import identity_name, stored_samples
from frl.beton.writer import BetonWriter
from frl.errors import BetonError, ConfigError


@dataclass(frozen=True, kw_only=True)
class Half:
    """One of the two files.

    Attributes:
        path: where it goes.
        labels: in the original, of its people, ascending; their place here is their label in the new file.
        unknown: whether it takes the images without identity.
        samples: how many images it gets.
    """

    path: Path
    labels: np.ndarray
    unknown: bool
    samples: int


def split_identities(
    beton: Beton,
    train: str | os.PathLike[str],
    probe: str | os.PathLike[str],
    *,
    share: float,
    seed: int = 0,
    overwrite: bool = False,
) -> tuple[Half, Half]:
    """Write two files without an identity in common, and without changing an image.

    Which identities are held out depends on the seed and their names alone. Images without identity are for training.
    A file that is there already from the same split, because a run was killed before the second, is kept.

    Args:
        beton: the file to split.
        train, probe: the files to write.
        share: of the identities to hold out for the probe; at least one, and not all.
        seed: draws them.
        overwrite: whether existing files are replaced.

    Raises:
        BetonError: an image is not what was written.
        ConfigError: fewer than two identities, a share outside (0, 1), or one file twice.
        WriteError: a file exists or cannot be written.
    """
    train, probe = Path(train), Path(probe)
    if not 0 < share < 1:
        raise ConfigError("--share", f"{share:g} is not between 0 and 1", "Use e.g. 0.1.")
    if train.resolve() == probe.resolve():
        raise ConfigError("--out-probe", f"{probe} is also --out-train", "Give two files.")
    for path, option in ((train, "--out-train"), (probe, "--out-probe")):
        if path.resolve() == beton.path.resolve():
            raise ConfigError(option, f"{path} is the file that is to be split", "Give another name.")
    known, counts = np.unique(beton.labels[beton.labels >= 0], return_counts=True)
    if len(known) < 2:
        raise ConfigError(beton.path, f"holds {len(known)} identities", "Only a file of two or more can be split.")
    held = hold_out([identity_name(beton, label) or "" for label in known.tolist()], share, seed)
    unknown = len(beton) - int(counts.sum())
    halves = (
        Half(path=train, labels=known[~held], unknown=True, samples=int(counts[~held].sum()) + unknown),
        Half(path=probe, labels=known[held], unknown=False, samples=int(counts[held].sum())),
    )
    with ExitStack() as stack:
        writers = []
        for half, role in zip(halves, ("train", "probe"), strict=True):
            settings = _settings(beton, role, share, seed)
            there = half.path.exists() and not overwrite and Manifest.load(half.path)
            if not (there and there.settings == settings):
                writers.append((half, stack.enter_context(_writer(beton, half, settings, overwrite))))
        _copy(beton, writers)
    return halves


def hold_out(names: list[str], share: float, seed: int) -> np.ndarray:
    """(N,) bool: the ``share`` of the names, rounded, whose hashes are lowest; at least one, and not all."""
    count = min(max(1, round(share * len(names))), len(names) - 1)
    keys = [
        hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names
    ]
    lowest = sorted(range(len(names)), key=lambda i: (keys[i], names[i]))[:count]
    held = np.zeros(len(names), bool)
    held[lowest] = True
    return held


def _settings(beton: Beton, role: str, share: float, seed: int) -> dict[str, object]:
    """How the file was made, and from what."""
    made = beton.manifest.settings if beton.manifest is not None else {}
    return {**made, "split": {"role": role, "share": share, "seed": seed, "of": beton.fingerprint}}


def _writer(beton: Beton, half: Half, settings: dict[str, object], overwrite: bool) -> BetonWriter:
    return BetonWriter(
        half.path,
        capacity=max(1, half.samples),
        page_size=beton.page_size,
        labels=[identity_name(beton, label) or "" for label in half.labels.tolist()],
        settings=settings,
        overwrite=overwrite,
        targets=beton.targets,
    )


def _copy(beton: Beton, writers: list[tuple[Half, BetonWriter]]) -> None:
    """Give each sample to the file it belongs to."""
    places = {int(old): (file, new) for half, file in writers for new, old in enumerate(half.labels)}
    for half, file in writers:
        if half.unknown:
            places[-1] = (file, -1)
    for sample in stored_samples(beton):
        if sample.raw:
            raise BetonError(beton.path, f"{beton.name(sample.index)} is no JPEG but raw", "Write it again as JPEGs.")
        if place := places.get(max(sample.label, -1)):
            file, label = place
            file.append(sample.encoded.data, sample.height, sample.width, label, sample.name, sample.targets)
