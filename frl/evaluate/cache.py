"""Features on the disk, so that a second task or another share of labels need not compute them again."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from frl.files import atomic_write


class FeatureCache:
    """One file a network and data set, named by the hash of all that its features depend on.

    Args:
        folder: where they lie; it is made. None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str, count: int, compute: Callable[[], Tensor]) -> Tensor:
        """Features ``(count, D)`` float32: those that are kept under ``key``, or what ``compute`` gives, which is kept.

        A file that is damaged, or holds another number of faces, is computed again and replaced.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{key}.npz"
        kept = _load(path)
        if kept is not None and len(kept) == count:
            return torch.from_numpy(kept)
        features = compute().cpu()
        with atomic_write(path) as stream:
            np.savez(stream, features=features.numpy())
        return features


def feature_key(network: nn.Module, data: str, view: str) -> str:
    """The hash of a network's weights and settings, of the data's content, and of how the images are shown.

    Args:
        network: its class, its numbers and texts, and its ``state_dict`` count.
        data: the hash of the data set's content.
        view: size, normalisation and the like, in words.
    """
    digest = hashlib.sha256(f"{data}\0{view}\0".encode())
    for name, module in network.named_modules():
        settings = {key: value for key, value in vars(module).items() if isinstance(value, (int, float, str, tuple))}
        settings.pop("training", None)
        digest.update(f"{name} {type(module).__name__} {sorted(settings.items())}\0".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load(path: Path) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["features"]
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
