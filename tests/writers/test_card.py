"""What a file says about itself: frl info, and the card beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from beton_samples import draw_sample
from pictures import damaged, encode, picture
from PIL import Image

from frl.beton import Beton, BetonWriter, card
from frl.beton.facts import gather, reason_kind
from frl.cli import main as frl
from frl.cli.info import main as info
from writers.to_beton import main


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three people with 1, 2 and 3 images and two bad ones; and two images of nobody known."""
    people, found = tmp_path / "people", tmp_path / "found"
    for i in range(3):
        (people / f"n{i}").mkdir(parents=True)
        for j in range(i + 1):
            (people / f"n{i}" / f"{j}.jpg").write_bytes(encode(picture(40 + 10 * i, 40 + 10 * i)))
    (people / "n1" / "empty.jpg").write_bytes(damaged("empty"))
    (people / "n1" / "page.jpg").write_bytes(damaged("html"))
    found.mkdir()
    for j in range(2):
        (found / f"{j}.jpg").write_bytes(encode(picture(64 + j, 64 + j)))
    return people, found


def test_info_and_card_state_what_is_there(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people, found = folders
    out = tmp_path / "faces.beton"
    licences = ["--licence", f"flickr:{found}=CC BY 2.0 | see <page>"]
    assert (
        main([str(people), f"flickr:{found}", "--out", str(out), "--workers", "1", "--dedupe", "none", *licences]) == 0
    )
    with Beton(out) as beton:
        facts = gather(beton)
    assert sorted(facts.per_identity.tolist()) == [1, 2, 3]
    assert (facts.samples, facts.unknown, facts.rejected) == (8, 2, 2)
    assert facts.per_source == {"people": 6, "found": 2}
    assert facts.rejects == {"empty file": 1, "not an image": 1}
    assert (facts.sides.min(), facts.sides.max()) == (40, 65)
    assert facts.image_bytes == sum(file.stat().st_size for file in [*people.rglob("[0-9].jpg"), *found.iterdir()])
    capsys.readouterr()
    info([str(out)])
    shown = capsys.readouterr().out
    parts = ["8 images", "3 with 1 to 3 images each", "2 images of nobody known", "40 to 65 pixels", "1: empty file"]
    for part in [*parts, f"found: 2 images from flickr:{found}", "passed 8", "quality 90"]:
        assert part in shown
    assert facts.manifest is not None and facts.manifest.content_sha256 in shown
    text = Path(f"{out}.md").read_text()
    assert f"| found | flickr:{found} | 2 | CC BY 2.0 \\| see &lt;page> |" in text
    assert f"| people | {people} | 6 | **not stated** |" in text
    assert "| empty file | 1 |" in text and facts.manifest.content_sha256 in text
    drawn = np.asarray(Image.open(f"{out}.png").convert("RGB"))
    blue, orange = (31, 119, 180), (255, 127, 14)  # tab:blue and tab:orange: both histograms have bars
    assert all((np.abs(drawn.astype(int) - colour).sum(-1) < 9).sum() > 500 for colour in (blue, orange))


def test_a_beton_that_is_the_only_source_is_counted(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.beton", tmp_path / "second.beton"
    as_they_are = ["--workers", "1", "--dedupe", "none"]
    assert main([str(folders[0]), "--out", str(first), *as_they_are]) == 0
    assert main([str(first), "--out", str(second), *as_they_are]) == 0
    with Beton(first) as one, Beton(second) as two:
        assert gather(two).per_source == {"": len(one)}
    info([str(second)])
    assert f"{first}: 6 images from {first}" in capsys.readouterr().out


def test_a_file_of_another_program_has_facts_and_a_card_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BetonWriter(tmp_path / "a.beton", capacity=2) as writer:
        writer.append(*draw_sample(0).arguments)
    for sidecar in tmp_path.glob("a.beton.*"):
        sidecar.unlink()
    info([str(tmp_path / "a.beton"), "--card"])
    assert "none: written by another program" in capsys.readouterr().out
    assert "No image has an identity" in (tmp_path / "a.beton.md").read_text()


def test_a_card_that_cannot_be_written_leaves_the_file(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(facts: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card, "_draw", full)
    assert main([str(folders[0]), "--out", str(tmp_path / "faces.beton"), "--workers", "1"]) == 0
    assert "the data card could not be written" in capsys.readouterr().err
    assert (tmp_path / "faces.beton").exists() and not list(tmp_path.glob("*.md"))


def test_both_halves_of_a_split_get_cards_of_their_own(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole.beton", (tmp_path / "train.beton", tmp_path / "probe.beton")
    with BetonWriter(whole, capacity=3, page_size=1 << 21, labels=["a", "b"]) as writer:
        for number, label in enumerate((0, 1, -1)):
            writer.append(draw_sample(number).encoded, 24, 32, label, f"{number}.jpg")
    Path(f"{halves[0]}.md").write_text("10 face images")  # of the file that is replaced
    command = ["split", str(whole), "--out-train", str(halves[0]), "--out-probe", str(halves[1]), "--share", "0.5"]
    assert frl([*command, "--overwrite"]) == 0
    for half, count in zip(halves, (2, 1), strict=True):
        assert f"\n{count} face images" in Path(f"{half}.md").read_text() and Path(f"{half}.png").exists()


@pytest.mark.parametrize(
    ("licences", "complaint"),
    [(["nowhere=CC0"], "'nowhere' is none"), (["CC0", "CC BY 2.0"], "two are stated")],
)
def test_licences_of_nothing_are_refused(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], licences: list[str], complaint: str
) -> None:
    options = [option for licence in licences for option in ("--licence", licence)]
    assert main([str(folders[0]), "--out", str(tmp_path / "faces.beton"), *options]) == 1
    assert complaint in capsys.readouterr().err


def test_kinds_of_reasons() -> None:
    assert reason_kind("12000 x 12,000 pixels, more than 1.5 megapixels") == "N x N pixels, more than N megapixels"
    assert reason_kind("sharpness 1.5e-05, less than 0.02") == "sharpness N, less than N"
    assert reason_kind("the same bytes as one/7.jpg") == "the same bytes as another"
    assert reason_kind("contradicts the copy one/7.jpg: another person") == "contradicts the copy another"
    assert reason_kind("damaged JPEG: premature end of data at 17") == "damaged JPEG"


SBATCH = """#!/usr/bin/env bash
# A scheduler that runs every job at once, shards last to first.
echo "$@" >>"$JOBS"
while [ $# -gt 0 ]; do
    case $1 in
        --array) last=${2#1-}; shift ;;
        --wrap) job=$2; shift ;;
    esac
    shift
done
if [ -n "${last:-}" ]; then
    for i in $(seq "$last" -1 1); do SLURM_ARRAY_TASK_ID=$i SLURM_CPUS_PER_TASK=1 bash -c "$job" >&2 || exit 1; done
else
    bash -c "$job" >&2 || exit 1
fi
echo "77;cluster"
"""


def test_the_slurm_script_writes_the_file_of_one_run(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """With a scheduler of our own: there is no cluster here."""
    people, _ = folders
    spaced = people.rename(tmp_path / "the people")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    script = Path(__file__).parents[2] / "scripts" / "write_slurm.sh"
    out = tmp_path / "out" / "all.beton"
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "JOBS": str(tmp_path / "jobs")}
    command = ["bash", str(script), "2", str(out), str(spaced), "--quality", "80"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "jobs 77 (shards 1 to 2) and 77 (merge)" in done.stdout
    assert "--dependency afterok:77 " in (tmp_path / "jobs").read_text()
    assert main([str(spaced), "--out", str(tmp_path / "one.beton"), "--quality", "80", "--workers", "1"]) == 0
    with Beton(out) as joined, Beton(tmp_path / "one.beton") as one:
        assert joined.manifest is not None and one.manifest is not None
        assert joined.manifest.content_sha256 == one.manifest.content_sha256
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 1 and "exists already" in again.stderr
