"""How the split of a benchmark is named on the command line, and which benchmarks there are: nothing here reads one."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from frl import store
from frl.errors import SourceError

if TYPE_CHECKING:
    from writers.sources.benchmark import BenchmarkSplit

LAYOUTS = {
    "ibug300w": "300-W: afw, helen, ibug, lfpw, or any folder of images with a .pts beside each",
    "hrnet": "HRNet's lists face_landmarks_{300w,wflw,aflw,cofw}_SPLIT.csv, and images/",
    "wflw": "WFLW_images and WFLW_annotations/list_98pt_rect_attr_train_test",
    "cofw": "COFW_train_color.mat and COFW_test_color.mat",
    "aflw19": "AFLWinfo_release.mat and data/flickr",
    "affectnet": "training.csv, validation.csv and images; or train_set and val_set of 2021",
    "rafdb": "EmoLabel/list_patition_label.txt and Image/aligned",
    "fer2013": "fer2013.csv; or train/CLASS, test/CLASS; or CLASS",
    "disfa": "ActionUnit_Labels, and frames in images/SN001/0.png",
    "bp4d": "AUCoding/AU_OCC, AUCoding/AU_INT, and frames in images/F001/T1/0001.jpg",
    "ckplus": "cohn-kanade-images, FACS, and Emotion, Landmarks if there",
    "300wlp": "AFW, HELEN, IBUG, LFPW and their _Flip, a .mat beside each image",
    "aflw2000": "image00002.jpg with its .mat; AFLW2000-3D-Reannotated.pts68.npy if there",
}
"""What each benchmark looks like, in a line."""

ADDRESS = re.compile(r"(?P<location>.+)@(?P<split>[\w.-]*)(?:,every=(?P<every>[1-9]\d*))?", re.DOTALL)


class Address(NamedTuple):
    """``FOLDER@SPLIT,every=K``.

    Attributes:
        location: the folder.
        split: the split; empty where none is named.
        every: K: of the faces in each folder, the first and then each K-th.
    """

    location: str
    split: str = ""
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address meant by a text; a folder that is there wins over what its name would say."""
        match = None if os.path.exists(text) else ADDRESS.fullmatch(text)
        return cls(match["location"], match["split"], int(match["every"] or 1)) if match else cls(text)

    def absolute(self, given: str) -> str:
        """The same as text, with an absolute path.

        Args:
            given: what to call it in messages.

        Raises:
            SourceError: the folder is not there.
        """
        if where := store.address(self.location):
            cause = f"{where} lies in an object store, and benchmarks are read from a disk"
            raise SourceError(given, cause, "Copy its folder to this machine first.")
        if not os.path.isdir(self.location):
            remedy = "Give KIND:FOLDER@SPLIT, or KIND:FOLDER@SPLIT,every=K for each K-th face of each folder."
            raise SourceError(given, f"there is no folder {self.location}", remedy)
        split = f"@{self.split}" if self.split else ""
        every = f",every={self.every}" if self.every > 1 else ""
        return os.path.abspath(self.location) + (split or "@" * bool(every)) + every


def open_split(kind: str, text: str) -> BenchmarkSplit:
    """The source of a benchmark, whose modules are only loaded now.

    Raises:
        SourceError: it is not there, or has no such split.
    """
    from writers.sources.benchmark import open_benchmark

    return open_benchmark(kind, text)
