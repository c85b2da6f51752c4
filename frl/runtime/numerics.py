"""How exactly a process computes, and whether twice alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from frl.errors import ConfigError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FIXED_WORKSPACES = (":4096:8", ":16:8")  # of a fixed size for each stream: what makes cuBLAS add up in one order


def exact_products() -> None:
    """Products of float32 matrices are of float32, and those of half-precision matrices are summed in it.

    Similarities of features are divided by temperatures as small as 0.01: with the 11 bits of TF32 their logits would
    be off by up to 0.05. So TF32 is left to convolutions, and what is meant to be fast is bf16, by autocast. The
    containers of NVIDIA allow TF32 by an environment variable; this takes precedence. On a CPU it changes nothing.
    """
    torch.set_float32_matmul_precision("highest")
    products = torch.backends.cuda.matmul
    products.allow_fp16_reduced_precision_reduction = False
    products.allow_bf16_reduced_precision_reduction = False


@contextmanager
def numerics(device: torch.device, *, deterministic: bool = False) -> Iterator[None]:
    """How a run computes, within the context; to be entered before the first operation on ``device``.

    Args:
        device: of this process.
        deterministic: only operations whose result depends on their input alone; memory that nobody has written yet
            reads as NaN.

    Raises:
        ConfigError: if the environment asks cuBLAS for what is not deterministic.
    """
    with ExitStack() as undo:
        if device.type == "cuda":
            exact_products()
            # The shapes are few and static. What is fastest may be another algorithm the next time.
            _set(undo, torch.backends.cudnn, "benchmark", not deterministic)
        if deterministic:
            _fix_workspace()
            _set(undo, torch.backends.cudnn, "deterministic", True)
            undo.callback(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled())
            torch.use_deterministic_algorithms(True)
        yield


def _set(undo: ExitStack, owner: Any, name: str, value: bool) -> None:
    restore: Callable[..., None] = setattr
    undo.callback(restore, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _fix_workspace() -> None:
    if (wanted := os.environ.setdefault(WORKSPACE, FIXED_WORKSPACES[0])) not in FIXED_WORKSPACES:
        cause = f"{WORKSPACE} is {wanted!r} in the environment, with which cuBLAS may add up in another order each time"
        raise ConfigError("--deterministic", cause, f"Unset it, or use one of {', '.join(FIXED_WORKSPACES)}.")
