"""People of the test data are told from those of the training data, whatever split their names begin with."""

from pathlib import Path

import pytest
from benchmark_folders import REPLICAS

from frl.beton.manifest import Manifest
from frl.errors import SourceError
from frl.tasks.layouts.subjects import across_splits, require_apart
from writers.config import WriteConfig
from writers.to_beton import write


def test_the_split_is_no_part_of_who_it_is() -> None:
    assert across_splits("DISFA@fold1-train,every=10/SN001") == across_splits("DISFA@fold1-test/SN001") == "DISFA/SN001"
    assert across_splits("vgg/n000001") == "vgg/n000001"
    assert across_splits("me@home") == "me@home"


def test_folds_that_are_written_share_nobody_and_others_are_refused(tmp_path: Path) -> None:
    REPLICAS["disfa"](tmp_path / "DISFA")
    people = {}
    for split in ("fold1-train", "fold1-test", "fold2-train"):
        out = tmp_path / f"{split}.beton"
        write(WriteConfig(sources=(f"disfa:{tmp_path}/DISFA@{split}",), out=out, workers=1))
        manifest = Manifest.load(out)
        assert manifest and manifest.identities
        people[split] = manifest.identities
    require_apart(people["fold1-train"], people["fold1-test"], "fold 1")
    with pytest.raises(SourceError, match=r"fold 1 and 2: 2 of the test data .* too: DISFA/SN001, DISFA/SN002\. Write"):
        require_apart(people["fold2-train"], people["fold1-test"], "fold 1 and 2")
