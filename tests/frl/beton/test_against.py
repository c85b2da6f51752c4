"""frl verify --against: the content of another manifest, whatever the layout."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from beton_samples import Sample, draw_sample

from frl.beton import Beton, BetonWriter, verify
from frl.beton.manifest import ContentHash, Manifest, samples_path
from frl.cli import main
from frl.errors import BetonError


def write(path: Path, samples: list[Sample], labels: list[str] | None = None, **options: int) -> Path:
    names = labels if labels is not None else ["a", "b", "c"]
    with BetonWriter(path, capacity=options.get("capacity", len(samples)), page_size=1 << 21, labels=names) as writer:
        for sample in samples:
            writer.append(*sample.arguments)
    return path


def test_the_hash_is_that_of_its_definition(beton_path: Path, samples: list[Sample]) -> None:
    expected = hashlib.sha256(json.dumps(["a", "b", "c"]).encode())
    for sample, line in zip(samples, samples_path(beton_path).read_bytes().splitlines(keepends=True), strict=True):
        expected.update(hashlib.sha256(sample.encoded).digest() + line)
    manifest = Manifest.load(beton_path)
    assert manifest is not None and manifest.content_sha256 == expected.hexdigest()
    assert ContentHash(None).hexdigest() == hashlib.sha256(b"null").hexdigest()


@pytest.mark.parametrize("deep", [False, True])
def test_another_layout_of_the_same_content_passes(beton_path: Path, samples: list[Sample], deep: bool) -> None:
    other = write(beton_path.parent / "roomy.beton", samples, capacity=100_000)
    assert Beton(other).fingerprint != Beton(beton_path).fingerprint
    assert verify(other, deep=deep, against=beton_path.parent / "faces.beton.json").ok


CHANGES: dict[str, tuple[Callable[[list[Sample]], list[Sample]], list[str] | None, str]] = {
    "fewer": (lambda s: s[:-1], None, "holds 6 samples, 7 were expected"),
    "order": (lambda s: s[::-1], None, "its content is"),
    "label": (lambda s: [Sample(s[0].encoded, s[0].height, s[0].width, 1, s[0].name), *s[1:]], None, "its content is"),
    "name": (lambda s: [Sample(*s[0].arguments[:4], "x.jpg"), *s[1:]], None, "its content is"),
    "image": (lambda s: [draw_sample(99, s[0].height, s[0].width, s[0].label), *s[1:]], None, "its content is"),
    "people": (lambda s: s, ["a", "b", "d"], "its identities are not those expected"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("deep", [False, True])
def test_other_content_is_told(beton_path: Path, samples: list[Sample], change: str, deep: bool) -> None:
    changed, labels, cause = CHANGES[change]
    other = write(beton_path.parent / "other.beton", changed(samples), labels)
    assert verify(other, deep=deep).ok
    report = verify(other, deep=deep, against=beton_path.parent / "faces.beton.json")
    assert report.fault_count == 1 and cause in report.faults[0]


def test_a_deep_check_trusts_no_manifest(beton_path: Path, samples: list[Sample]) -> None:
    """Another file with the right manifest's hash copied into its own."""
    other = write(beton_path.parent / "other.beton", [draw_sample(50, 9, 9, 0), *samples[1:]])
    own, right = Path(f"{other}.json"), json.loads(Path(f"{beton_path}.json").read_text())
    own.write_text(json.dumps(json.loads(own.read_text()) | {"content_sha256": right["content_sha256"]}))
    assert verify(other).ok
    report = verify(other, deep=True)
    assert report.faults == ("other.beton.json: states another content hash than the images have",)
    assert verify(other, deep=True, against=Path(f"{beton_path}.json")).fault_count == 2


def test_a_label_that_the_sidecar_does_not_know_is_named(beton_path: Path) -> None:
    line = samples_path(beton_path)
    text = line.read_bytes()
    crc, label, rest = text.split(b"\t", 2)
    line.write_bytes(b"\t".join([crc, b"2" if label != b"2" else b"1", rest]))
    faults = verify(beton_path, deep=True).faults
    assert any("sample 0" in fault and "its label is" in fault for fault in faults)


def test_without_hashes_the_structure_is_compared(beton_path: Path, samples: list[Sample]) -> None:
    published = beton_path.parent / "published.json"
    shutil.copy(f"{beton_path}.json", published)
    for sidecar in beton_path.parent.glob("faces.beton.*"):
        sidecar.unlink()
    assert verify(beton_path, deep=True, against=published).ok
    place = int(Beton(beton_path).pointers[0]) + 40  # in an image: the metadata stay the same
    data = bytearray(beton_path.read_bytes())
    data[place] ^= 16
    beton_path.write_bytes(data)
    assert "changed bytes" in verify(beton_path, deep=True, against=published).unchecked[1]
    other = write(beton_path.parent / "other.beton", samples, capacity=100_000)
    Path(f"{other}.json").unlink()
    assert "do not say" in verify(other, against=published).faults[0]


def test_what_is_no_manifest_is_refused(beton_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BetonError, match=r"faces.beton: is not a readable manifest"):
        verify(beton_path, against=beton_path)
    with pytest.raises(BetonError, match="nowhere.json"):
        verify(beton_path, against=Path("nowhere.json"))
    assert main(["verify", str(beton_path), "--against", f"{beton_path}.json"]) == 0
    assert "content against" in capsys.readouterr().out
    assert main(["verify", str(beton_path), "--against", "nowhere.json"]) == 1


def test_a_beton_in_the_place_of_a_manifest_is_recognised(beton_path: Path, tmp_path: Path) -> None:
    words = r"is not a readable manifest but a \.beton\. Name .*\.beton\.json"
    with pytest.raises(BetonError, match=words):
        verify(beton_path, against=beton_path)
    other = tmp_path / "manifest.json"
    other.write_bytes(beton_path.read_bytes()[:4096])
    with pytest.raises(BetonError, match="is not a readable manifest") as caught:
        verify(beton_path, against=other)
    assert "utf-16" not in str(caught.value)
