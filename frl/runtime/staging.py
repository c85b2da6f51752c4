"""A copy of the data file on a fast disk of this machine, made once for all its processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from frl import store
from frl.beton import Beton
from frl.beton.manifest import home_of, manifest_path, rejects_path, samples_path
from frl.beton.samples import stored_samples
from frl.config import DataConfig
from frl.errors import BetonError, ConfigError, StagingError
from frl.files import atomic_write, lock_within

BLOCK = 16 << 20  # bytes copied and hashed at a time


def staged(data: DataConfig) -> DataConfig:
    """``data`` with its files on this machine's fast disk, if it names one; raises like ``stage``."""
    if data.stage is None:
        return data
    return replace(data, data=tuple(stage(path, data.stage, 60 * data.stage_minutes) for path in data.data))


def readable(data: DataConfig) -> DataConfig:
    """``data`` with the copies that are there already in place of their sources; nothing is copied."""
    if data.stage is None:
        return data
    copies = [(path, _target(path, data.stage)) for path in data.data]
    return replace(data, data=tuple(target if _is_copy(path, target) else path for path, target in copies))


def from_stores(data: DataConfig) -> DataConfig:
    """``data`` with the files of object stores copied to this machine, and no others; raises like ``stage``.

    Nothing can be known of such a file before it is here, so this comes before all checks.
    """
    if data.stage is None:
        return data
    limit = 60 * data.stage_minutes
    return replace(
        data, data=tuple(stage(path, data.stage, limit) if store.address(path) else path for path in data.data)
    )


def stage(source: str | os.PathLike[str], folder: str | os.PathLike[str], time_limit: float) -> Path:
    """Copy a ``.beton`` and the files beside it into ``folder``, unless they are there.

    The processes of a machine may all call this: the first copies, the others wait for it. Whatever dies in the
    middle leaves no file under its final name, and the next to come starts over. A copy counts as the source as long
    as the source's size and time of change are the same.

    Args:
        source: the ``.beton``, which may lie in an object store.
        folder: on the fast disk; made if need be. Files of one name from several places do not meet in it.
        time_limit: seconds to wait for another process's copy.

    Returns:
        The path of the copy.

    Raises:
        ConfigError: if ``source`` is missing.
        StagingError: if there is too little space, the copy differs from its source, or another process takes longer
            than ``time_limit``.
        StoreError: if an object store does not give it.
        BetonError: if a copy from there is damaged.
    """
    folder = Path(folder)
    if (address := store.address(source)) is not None:
        return _stage_from_store(address, folder, time_limit)
    source = Path(source)
    if source.is_dir():
        cause = f"copies .beton files, and {source} is a folder"
        raise ConfigError("--stage", cause, "Write it once with frl write, or leave --stage out.")
    if not source.is_file():
        raise ConfigError(source, "no such file", "Check --data.")
    target = _target(source, folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_name(f".{target.name}.lock"), time_limit):
            for beside_of in (samples_path, rejects_path, manifest_path):
                if (beside := beside_of(home_of(source))).is_file():
                    _copy(beside, beside_of(target))
            _copy(source, target)
    except OSError as error:
        raise StagingError(target, f"cannot be written ({error})", "Choose another --stage.") from error
    return target


def _stage_from_store(address: str, folder: Path, time_limit: float) -> Path:
    """As ``stage``: fetched by ranges, in parallel; what a killed one had fetched is kept. Then every checksum is
    compared, for between the store and here is more than a disk."""
    target = _target(Path(address), folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_name(f".{target.name}.lock"), time_limit):
            now = store.state(address)
            if _recorded(_record(target)) == list(now) and target.is_file() and target.stat().st_size == now.size:
                return target
            _record(target).unlink(missing_ok=True)
            copied = fetch(address, target, now)
            with atomic_write(_record(target)) as writer:
                writer.write(json.dumps(copied).encode())
    except OSError as error:
        raise StagingError(target, f"cannot be written ({error})", "Choose another --stage.") from error
    return target


def fetch(address: str, target: Path, now: store.State) -> store.State:
    """Copy a ``.beton`` of an object store, and the files beside it; then compare every sample with its checksum.

    Args:
        address: of the ``.beton``.
        target: what it is to be; its folder is there. What lay beside an older one goes.
        now: what the store says of it.

    Returns:
        the state of the store's file that was copied.

    Raises:
        StoreError: if the store does not give it.
        StagingError: if there is too little space.
        BetonError: if the copy is damaged; it is gone then.
        OSError: if the disk fails.
    """
    _require_space(target, now.size, address)
    for beside_of in (samples_path, rejects_path, manifest_path):
        beside, copy = store.address(beside_of(address)), beside_of(target)
        assert beside is not None
        if store.is_file(beside):
            store.download(beside, copy)
        else:
            copy.unlink(missing_ok=True)
    copied = store.download(address, target, now)
    try:
        _check(target)
    except BetonError:
        target.unlink()
        raise
    return copied


def _check(copy: Path) -> None:
    """Compare every sample with its checksum, where the writer left any."""
    with Beton(copy) as beton:
        for _ in stored_samples(beton):
            pass


def _target(source: Path, folder: Path) -> Path:
    known = store.address(source) or source.absolute()
    place = hashlib.blake2b(os.fsencode(known), digest_size=6).hexdigest()
    return folder / place / source.name


def _require_space(target: Path, nbytes: int, source: object) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < nbytes:
        cause = f"{nbytes / 1e9:.1f} GB are needed to stage {source}, {free / 1e9:.1f} GB are free"
        raise StagingError(target.parent, cause, "Free some, choose another --stage, or do without.")


def _state(source: Path) -> dict[str, int]:
    """By what a source is known to be the one that was copied."""
    return {"size": source.stat().st_size, "mtime_ns": source.stat().st_mtime_ns}


def _record(target: Path) -> Path:
    return target.with_name(f".{target.name}.staged.json")


def _is_copy(source: Path, target: Path) -> bool:
    if not (source.is_file() and target.is_file()):
        return False
    state = _state(source)
    return _recorded(_record(target)) == state and target.stat().st_size == state["size"]


def _copy(source: Path, target: Path) -> None:
    if _is_copy(source, target):
        return
    record, state = _record(target), _state(source)
    record.unlink(missing_ok=True)
    _require_space(target, state["size"], source)
    with open(source, "rb") as reader, atomic_write(target) as writer:
        read = hashlib.blake2b()
        while block := reader.read(BLOCK):
            read.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
        with open(writer.name, "rb") as copy:
            if hashlib.file_digest(copy, hashlib.blake2b).digest() != read.digest():
                raise StagingError(target, f"differs from {source} after copying", "Check the disk (dmesg).")
    with atomic_write(record) as writer:
        writer.write(json.dumps(state).encode())


def _recorded(record: Path) -> object:
    try:
        return json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _lock(path: Path, time_limit: float) -> Iterator[None]:
    """Hold a lock that the system drops when its holder dies."""
    with open(path, "wb") as stream:
        if not lock_within(stream.fileno(), time_limit):
            cause = f"another process holds it for more than {time_limit:.0f} s"
            raise StagingError(path, cause, "Raise --stage-minutes, or look what that one does.")
        yield
