"""``--out s3://...``: the file is made on this machine, and uploaded when it is finished."""

from __future__ import annotations

import getpass
import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from frl import store
from frl.beton.card import card_path, picture_path
from frl.beton.manifest import manifest_path, rejects_path, samples_path
from frl.errors import ConfigError, WriteError
from frl.printable import printable
from writers.config import WriteConfig
from writers.summary import Summary


def write_to_store(config: WriteConfig, address: str, write: Callable[[WriteConfig], Summary]) -> Summary:
    """Write the file of ``config`` into a folder of this machine, then upload it and the files beside it.

    The ``.beton`` comes last, and is seen when it is complete: who sees it sees all of them. The folder is that of the
    address, so the same command goes on after a kill, with writing or with uploading.

    Args:
        config: the options, whose ``out`` is ``address``.
        address: where to.
        write: writes a file of this machine.

    Raises:
        WriteError: if a file is there already.
        StoreError: if the store does not take it; what was written is kept.
        Whatever ``write`` raises.
    """
    if config.dry_run:
        return replace(write(replace(config, out=Path(store.name_of(address)))), out=config.out)
    if not config.overwrite and store.is_file(address):
        raise WriteError(address, "exists already", "Give another name, or --overwrite.")
    local = scratch(config, address) / store.name_of(address)
    try:
        local.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError("--scratch", f"{local.parent} cannot be made ({error.strerror})", "Name another.") from error
    print(printable(f"{address}: made in {local.parent}, then uploaded"), file=sys.stderr)
    # What is there is of a command like this one, whose upload failed or was killed: begun work is told by its journal.
    summary = write(replace(config, out=local, overwrite=True))
    for path in (samples_path(local), rejects_path(local), picture_path(local), card_path(local), manifest_path(local)):
        beside = address + path.name.removeprefix(local.name)
        if path.is_file():
            store.upload(path, beside)
        else:
            store.remove(beside)
    store.upload(local, address)
    for path in local.parent.iterdir():
        path.unlink()
    local.parent.rmdir()
    return replace(summary, out=address)


def scratch(config: WriteConfig, address: str) -> Path:
    """The folder of this machine in which the file of an address is made."""
    place = hashlib.blake2b(address.encode(), digest_size=6).hexdigest()
    return (config.scratch or Path(tempfile.gettempdir()) / f"frl-{getpass.getuser()}") / place
