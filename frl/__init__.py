"""frl: pre-train face representations without labels.

Bulat et al., "Pre-training strategies and datasets for facial representation learning", ECCV 2022.

    import frl

    frl.write("photos/", out="faces.beton")
    frl.pretrain("cpu", data="faces.beton", out="runs/x")
    network = frl.load("runs/x")
    features = network(network.preprocess(["ann.jpg", "bob.jpg"]))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frl.api import Network, load, loader, measure, open, pretrain, write

__version__ = "0.1.0"

__all__ = ["Network", "__version__", "load", "loader", "measure", "open", "pretrain", "write"]


def __getattr__(name: str) -> Any:
    """What ``frl.api`` defines, which is imported only now: ``import frl`` alone takes no time."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("frl.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
