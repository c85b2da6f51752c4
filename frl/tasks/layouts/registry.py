"""The benchmarks by name. A new one is a module with its ``Layout``, and one line in ``BENCHMARKS``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from frl.tasks.layouts.affectnet import AffectNet
from frl.tasks.layouts.affectnet2021 import AffectNet2021
from frl.tasks.layouts.aflw19 import Aflw
from frl.tasks.layouts.aflw2000 import Aflw2000
from frl.tasks.layouts.bp4d import Bp4d
from frl.tasks.layouts.ckplus import CKPlus
from frl.tasks.layouts.cofw import COFW
from frl.tasks.layouts.disfa import Disfa
from frl.tasks.layouts.fer2013 import LIST, Fer2013Folders, Fer2013List
from frl.tasks.layouts.hrnet import HRNetLists
from frl.tasks.layouts.ibug300w import Ibug300W
from frl.tasks.layouts.layout import Layout
from frl.tasks.layouts.rafdb import RafDb
from frl.tasks.layouts.w300lp import W300LP
from frl.tasks.layouts.wflw import WFLW


class Benchmark(NamedTuple):
    """A benchmark that can be read.

    Attributes:
        open: makes its layout of an absolute path.
        layout: what it looks like, in a line.
    """

    open: Callable[[str], Layout]
    layout: str


def open_affectnet(location: str) -> Layout:
    """AffectNet in the layout that is there."""
    known = ("train_set", "val_set", "annotations")
    is_new = any(os.path.isdir(os.path.join(location, name)) for name in known)
    return AffectNet2021(location) if is_new else AffectNet(location)


def open_fer2013(location: str) -> Layout:
    """FER2013 as its list, or else as folders."""
    return Fer2013List(location) if os.path.isfile(os.path.join(location, LIST)) else Fer2013Folders(location)


BENCHMARKS = {
    "ibug300w": Benchmark(Ibug300W, "300-W: afw, helen, ibug, lfpw, or any folder of images with a .pts beside each"),
    "hrnet": Benchmark(HRNetLists, "face_landmarks_{300w,wflw,aflw,cofw}_SPLIT.csv, and images/"),
    "wflw": Benchmark(WFLW, "WFLW_images and WFLW_annotations/list_98pt_rect_attr_train_test"),
    "cofw": Benchmark(COFW, "COFW_train_color.mat, COFW_test_color.mat"),
    "aflw19": Benchmark(Aflw, "AFLWinfo_release.mat and data/flickr"),
    "affectnet": Benchmark(open_affectnet, "training.csv, validation.csv and images; or train_set, val_set of 2021"),
    "rafdb": Benchmark(RafDb, "EmoLabel/list_patition_label.txt and Image/aligned"),
    "fer2013": Benchmark(open_fer2013, "fer2013.csv; or train/CLASS, test/CLASS; or CLASS"),
    "disfa": Benchmark(Disfa, "ActionUnit_Labels, and frames in images/SN001/0.png"),
    "bp4d": Benchmark(Bp4d, "AUCoding/AU_OCC, AUCoding/AU_INT, and frames in images/F001/T1/0001.jpg"),
    "ckplus": Benchmark(CKPlus, "cohn-kanade-images, FACS, and Emotion, Landmarks if there"),
    "300wlp": Benchmark(W300LP, "AFW, HELEN, IBUG, LFPW and their _Flip, a .mat beside each image"),
    "aflw2000": Benchmark(Aflw2000, "image00002.jpg with its .mat; AFLW2000-3D-Reannotated.pts68.npy if there"),
}
