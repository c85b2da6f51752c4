"""What code asks of the host and of the network, counted from outside while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose result, or its shape, the host must wait for.
WAITING_OPS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::unique2", "aten::equal"}
WAITING_METHODS = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist}
COLLECTIVE_NAMESPACES = ("c10d::", "_c10d_functional::")
NOT_COLLECTIVE = ("wait_tensor", "barrier", "_wrap_tensor_autograd")


class Traffic:
    """Counts what runs in a ``with`` block on this process, DDP's backward pass included.

    Works on any device, with or without a process group. On a CPU a tensor is already where the host can read it, so
    the wish to read it is counted. Backward passes on a GPU run on threads of their own and are not seen: there,
    ``torch.cuda.set_sync_debug_mode`` tells about the host.

    Attributes:
        waits: times the host wanted a value from the device, per operation.
        collectives: collective operations, per operation.
        payload: bytes that this process hands to them, per operation.
    """

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.collectives: Counter[str] = Counter()
        self.payload: Counter[str] = Counter()
        self._modes = (_Methods(self), _Operations(self))

    def __enter__(self) -> Traffic:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)


class _Methods(TorchFunctionMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(
        self, function: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function in WAITING_METHODS:
            self.traffic.waits[function.__name__] += 1
        return function(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = operation.name().partition(".")[0]
        if name in WAITING_OPS or (name == "aten::index" and _has_mask(args[1])):
            self.traffic.waits[name] += 1
        if name.startswith(COLLECTIVE_NAMESPACES) and not name.endswith(NOT_COLLECTIVE):
            short = name.partition("::")[2].strip("_")
            self.traffic.collectives[short] += 1
            self.traffic.payload[short] += _bytes(args[0])
        return operation(*args, **(kwargs or {}))


def _has_mask(indices: Iterable[torch.Tensor | None]) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in indices)


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return 0
