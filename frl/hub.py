"""Networks of a model hub: ``hub:ORG/NAME`` is a file of weights like any other.

What was fetched once lies in huggingface_hub's cache and is used from there without asking anybody; ``frl pull`` asks
for what is new. Where the hub is, who one is there and where the cache lies are huggingface_hub's settings:
``HF_ENDPOINT``, ``HF_TOKEN`` (or ``hf auth login``), ``HF_HOME``, ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from frl.errors import HubError

SCHEME = "hub:"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
FILES = (WEIGHTS, CONFIG, CARD)
"""What a repository of ours holds; of others' the same files are fetched, and only the weights are needed."""

LOG_IN = "Log in with hf auth login, or set HF_TOKEN to a token that may do this."


class Address(NamedTuple):
    """A repository, and which of its states: a branch, a tag or a commit."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.revision}" if self.revision else "")


def is_address(path: object) -> bool:
    """Whether a path means a network of the hub."""
    return str(path).startswith(SCHEME)


def parse(text: str) -> Address:
    """The repository that ``ORG/NAME`` means, with or without ``hub:`` before it and ``@REVISION`` behind it.

    Raises:
        HubError: if that is no name of a repository.
    """
    name, at, revision = text.removeprefix(SCHEME).partition("@")
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII) or (at and not revision):
        raise HubError(text, "is no name of a repository", "Give ORG/NAME, or ORG/NAME@REVISION.")
    return Address(name, revision or None)


def fetch(name: str, *, refresh: bool = False) -> Path:
    """The file of weights of a repository, in the cache; its ``config.json`` and card lie beside it.

    Args:
        name: ``ORG/NAME``, ``ORG/NAME@REVISION``, either with ``hub:`` before it.
        refresh: ask the hub even if a copy is there, and use that of today.

    Raises:
        HubError: if there is no such repository or it has no weights, the hub cannot be reached and no copy is there,
            or the copy differs from the checksum that the hub states.
    """
    address = parse(name)
    hub = _huggingface_hub()
    folder = None if refresh else _cached(hub, address)
    if folder is None:
        with _explained(address):
            folder = Path(hub.snapshot_download(address.name, revision=address.revision, allow_patterns=FILES))
    weights = folder / WEIGHTS
    if not weights.is_file():
        remedy = "Name a repository that has this file; of others fetch the weights yourself and name their file."
        raise HubError(address, f"holds no {WEIGHTS}", remedy)
    _check(address, weights)
    return weights


def _cached(hub: ModuleType, address: Address) -> Path | None:
    """The copy in the cache, None unless all of it is there. Nobody is asked."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with _explained(address):
            return Path(
                hub.snapshot_download(
                    address.name, revision=address.revision, allow_patterns=FILES, local_files_only=True
                )
            )
    except HubError as error:
        if isinstance(error.__cause__, LocalEntryNotFoundError):
            return None
        raise


def _check(address: Address, weights: Path) -> None:
    """Compare large files with the SHA-256 by which the cache calls them: of a download only the size was looked at.

    Raises:
        HubError: if they differ; the copy is gone then.
    """
    blob = weights.resolve()
    if not re.fullmatch("[0-9a-f]{64}", blob.name):
        return
    with open(blob, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != blob.name:
        blob.unlink()
        weights.unlink(missing_ok=True)
        raise HubError(
            address, f"{WEIGHTS} differs from the checksum that the hub states", "It was removed: fetch it again."
        )


def push(
    folder: Path, name: str, *, private: bool = False, message: str = "Add weights, configuration and card"
) -> str:
    """Make a folder's files the newest state of a repository, in one commit; the repository is made if need be.

    Args:
        folder: holds ``FILES``.
        name: ``ORG/NAME``.
        private: whether a repository that is made is for oneself alone; one that is there stays as it is.
        message: of the commit.

    Returns:
        the address of the commit.

    Raises:
        HubError: if one may not, or the hub does not take it; the repository is as it was then.
    """
    address = parse(name)
    if address.revision:
        raise HubError(name, "names a state of a repository", "Push to ORG/NAME.")
    hub = _huggingface_hub()
    files = [hub.CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in FILES]
    with _explained(address):
        hub.HfApi().create_repo(address.name, private=private or None, exist_ok=True)
        commit = hub.HfApi().create_commit(address.name, files, commit_message=message)
    return str(commit.commit_url)


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError("hub:", "huggingface_hub is not installed", "Run pip install huggingface_hub.") from error
    return huggingface_hub


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Say of what goes wrong with the hub whose fault it is and what to do."""
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT

    try:
        yield
    except errors.GatedRepoError as error:
        remedy = f"Ask for access on {ENDPOINT}/{address.name}. {LOG_IN}"
        raise HubError(address, "is given to those alone who asked for access", remedy) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(address, f"has no revision {address.revision}", "Name a branch, a tag or a commit.") from error
    except errors.RepositoryNotFoundError as error:
        cause = f"is no repository of {ENDPOINT}, or not one that you may see"
        raise HubError(address, cause, f"Check the name. {LOG_IN}") from error
    except errors.HfHubHTTPError as error:
        raise HubError(address, *_status(error.response.status_code, ENDPOINT, _message(error))) from error
    except errors.LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            answer = error.__cause__
            raise HubError(address, *_status(answer.response.status_code, ENDPOINT, _message(answer))) from error
        cause = f"{ENDPOINT} cannot be reached, and no whole copy is in the cache"
        raise HubError(address, cause, "Fetch it while you are online: frl pull keeps a copy.") from error
    except errors.HFValidationError as error:
        raise HubError(address, f"is no name of a repository ({error})", "Give ORG/NAME.") from error
    except (errors.OfflineModeIsEnabled, OSError, RuntimeError, ValueError) as error:
        cause = f"could not be exchanged with {ENDPOINT} ({_root(error)})"
        raise HubError(address, cause, "Check the network and the disk, then run the command again.") from error
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):  # its errors of transport have no common base of Python's
            raise
        cause = f"{ENDPOINT} cannot be reached ({error})"
        raise HubError(address, cause, "Check the network; HF_ENDPOINT says where the hub is.") from error


def _status(status: int, endpoint: str, message: str) -> tuple[str, str]:
    """Cause and remedy of an answer."""
    said = f"{endpoint} answers {status}{f' ({message})' if message else ''}"
    if status in (401, 403):
        return said, LOG_IN
    if status == 429:
        return f"{said}: too many requests", "Wait some minutes; who is logged in may ask more often."
    if status >= 500:
        return f"{said}: it has trouble of its own", "Run the command again later; nothing was changed."
    return said, "Mend what it says."


def _message(error: Exception) -> str:
    return str(getattr(error, "server_message", None) or "").strip().rstrip(".")


def _root(error: BaseException) -> str:
    """The innermost cause, in a line: those around it only say which file was underway."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
