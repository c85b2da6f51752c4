"""A part of the augmentation as kernels made for it, where they can be compiled."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

from frl.errors import first_line

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Compiled(Generic[Given, Result]):
    """A function that is compiled when it is called, for each shape; it stays as it is where that fails.

    Args:
        function: of tensors, on a device.
        kernels: computes the same, by kernels that its first call compiles; None: torch compiles the function.
    """

    def __init__(self, function: Callable[Given, Result], kernels: Callable[Given, Result] | None = None) -> None:
        self.function = function
        self.graph: Callable[Given, Result] | None = kernels or torch.compile(function, dynamic=False)

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """What the function makes of its arguments."""
        if self.graph is None:
            return self.function(*args, **kwargs)
        try:
            return self.graph(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler here, or one that fails: Triton's errors and inductor's share no base
            made = self.function(*args, **kwargs)  # which raises again what is not the compiler's
            self.graph = None
            if os.environ.get("RANK", "0") == "0":
                print(f"{'augment':>9}  not compiled: {first_line(error)}", flush=True)
            return made
