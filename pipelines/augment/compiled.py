"""A part of the augmentation as one graph, where torch can compile it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

from frl.errors import first_line

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Compiled(Generic[Given, Result]):
    """A function that torch compiles when it is called, for each shape; it stays as it is where that fails.

    Args:
        function: of tensors, on a device.
    """

    def __init__(self, function: Callable[Given, Result]) -> None:
        self.function = function
        self.graph: Callable[Given, Result] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """What the function makes of its arguments."""
        if self.graph is None:
            return self.function(*args, **kwargs)
        try:
            return self.graph(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # no compiler here, or one that fails: dynamo's and inductor's errors are these
            made = self.function(*args, **kwargs)  # which raises again what is not the compiler's
            self.graph = None
            if os.environ.get("RANK", "0") == "0":
                print(f"{'augment':>9}  not compiled: {first_line(error)}", flush=True)
            return made
