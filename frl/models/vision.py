"""torchvision, imported without torch's compiler.

torchvision takes one function of ``torch._dynamo``, which ``roi_align`` alone calls, and so imports the whole compiler.
That takes half as long as torch itself, and most commands compile nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class _Later(ModuleType):
    """Stands for a module of the compiler: the first thing that is asked of it imports the compiler after all."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        _withdraw()
        return getattr(importlib.import_module(self.__name__), name)


def _is_compile_supported(device_type: Any) -> Any:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


def _withdraw() -> None:
    for name, module in list(sys.modules.items()):
        if isinstance(module, _Later):
            del sys.modules[name]


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, ``from torch._dynamo.utils import is_compile_supported`` gives a function that imports when called."""
    if COMPILER in sys.modules:
        yield
        return
    package, utils = _Later(COMPILER), _Later(f"{COMPILER}.utils")
    package.__path__ = []
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules.update({COMPILER: package, utils.__name__: utils})
    try:
        yield
    finally:
        _withdraw()


with without_compiler():
    import torchvision
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock, Bottleneck

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "torchvision"]
