"""The benchmarks by name. A new one is a module with its ``Layout``, and one line in ``BENCHMARKS``."""

from __future__ import annotations

import os
from collections.abc import Callable

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


def open_affectnet(location: str) -> Layout:
    """AffectNet in the layout that is there."""
    known = ("train_set", "val_set", "annotations")
    is_new = any(os.path.isdir(os.path.join(location, name)) for name in known)
    return AffectNet2021(location) if is_new else AffectNet(location)


def open_fer2013(location: str) -> Layout:
    """FER2013 as its list, or else as folders."""
    return Fer2013List(location) if os.path.isfile(os.path.join(location, LIST)) else Fer2013Folders(location)


BENCHMARKS: dict[str, Callable[[str], Layout]] = {
    "ibug300w": Ibug300W,
    "hrnet": HRNetLists,
    "wflw": WFLW,
    "cofw": COFW,
    "aflw19": Aflw,
    "affectnet": open_affectnet,
    "rafdb": RafDb,
    "fer2013": open_fer2013,
    "disfa": Disfa,
    "bp4d": Bp4d,
    "ckplus": CKPlus,
    "300wlp": W300LP,
    "aflw2000": Aflw2000,
}
"""By kind, what makes the layout of an absolute path."""
