"""``--out s3://...``: the file is made on this machine, and uploaded when it is finished."""

from __future__ import annotations

import getpass
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from frl import store
from frl.beton import verify
from frl.beton.card import card_path, leave_card, picture_path
from frl.beton.manifest import Manifest, manifest_path, rejects_path, samples_path
from frl.beton.writer import WRITER
from frl.errors import BetonError, ConfigError, WriteError
from frl.printable import printable
from writers.config import WriteConfig, settings
from writers.reject import Reason
from writers.sources import open_sources, versions
from writers.summary import Summary, summary_of


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
    made = replace(config, out=local, overwrite=True)
    # What is there is of a command like this one, whose upload failed or was killed: begun work is told by its journal.
    summary = _finished(made, address) or write(made)
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


def _finished(config: WriteConfig, address: str) -> Summary | None:
    """What there is to say of the file of a command like this one that finished it and could not upload it; None if
    there is none. Whether the sources hold other images by now is not looked at: the user is told when it was made.
    """
    start = time.monotonic()
    try:
        if not config.out.is_file() or not verify(config.out).ok:
            return None
    except BetonError:
        return None
    manifest, sources = Manifest.load(config.out), open_sources(config.sources, config.boxes)
    kept = json.loads(json.dumps(settings(config, sources, versions(sources))))
    if manifest is None or (manifest.settings, manifest.writer) != (kept, WRITER):
        return None
    if config.max_rejects is not None and manifest.counts.get(Reason.UNUSABLE, 0) > config.max_rejects:
        return None
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(config.out.stat().st_mtime))
    told = f"{address}: finished at {when} but not uploaded; uploading it. To write it anew, delete {config.out.parent}"
    print(printable(told), file=sys.stderr)
    if not card_path(config.out).is_file():
        leave_card(config.out)
    summary = summary_of(manifest, config, time.monotonic() - start)
    return replace(summary, begun=summary.read)


def scratch(config: WriteConfig, address: str) -> Path:
    """The folder of this machine in which the file of an address is made."""
    place = hashlib.blake2b(address.encode(), digest_size=6).hexdigest()
    return (config.scratch or Path(tempfile.gettempdir()) / f"frl-{getpass.getuser()}") / place
