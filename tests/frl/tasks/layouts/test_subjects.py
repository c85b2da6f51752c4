"""People of the test data are told from those of the training data, whatever split their names begin with."""

from pathlib import Path

import pytest
from benchmark_folders import REPLICAS

from frl.beton.manifest import Manifest
from frl.cli import main
from frl.errors import ConfigError
from frl.evaluate.splits import require_no_shared_subject
from frl.tasks.layouts.subjects import across_splits
from writers.config import WriteConfig
from writers.to_beton import write


def test_the_split_is_no_part_of_who_it_is() -> None:
    assert across_splits("DISFA@fold1-train,every=10/SN001") == across_splits("DISFA@fold1-test/SN001") == "DISFA/SN001"
    assert across_splits("vgg/n000001") == "vgg/n000001"
    assert across_splits("me@home") == "me@home"


def test_folds_that_are_written_share_nobody_and_others_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    REPLICAS["disfa"](tmp_path / "DISFA")
    people = {}
    for split in ("fold1-train", "fold1-test", "fold2-train"):
        out = tmp_path / f"{split}.beton"
        write(WriteConfig(sources=(f"disfa:{tmp_path}/DISFA@{split}",), out=out, workers=1))
        manifest = Manifest.load(out)
        assert manifest and manifest.identities
        people[split] = manifest.identities
    require_no_shared_subject(people["fold1-train"], people["fold1-test"])
    with pytest.raises(ConfigError, match=r"--test: 2 subjects are in both files, such as 'DISFA/SN001'\. Split"):
        require_no_shared_subject(people["fold2-train"], people["fold1-test"])
    sides = ["--train", str(tmp_path / "fold2-train.beton"), "--test", str(tmp_path / "fold1-test.beton")]
    assert main(["evaluate", "action-units", *sides, "--arch", "resnet18-w16", "--size", "32"]) == 1
    assert "such as 'DISFA/SN001'" in capsys.readouterr().err
