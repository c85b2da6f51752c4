"""The FFCV engine: libffcv's JPEG decoder for the threads, and our crops for ffcv's own loader.

The only file here that touches ffcv to read. It loads ffcv's compiled library and not its Python package, whose import
takes seconds and whose loader ignores the decoder's verdict, overwrites the buffers it gave, and hangs on an exception.
Who wants that loader all the same finds our crops for it in ``stock_crops``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frl.config import AugmentConfig
from frl.errors import LoaderError
from pipelines.augment.plan import draw
from pipelines.engines.broken import Undecodable
from pipelines.engines.decoders import Decoder
from pipelines.engines.engine import Request
from pipelines.engines.threaded import ThreadedImages

INSTALL = "Run bash scripts/setup.sh (it builds ffcv 1.0.2), or use --engine threads, whose pixels are the same."


def libffcv_decoder() -> Decoder:
    """libjpeg-turbo with the fast DCT as ffcv calls it: the pixels of ``ffcv.loader.Loader``; warnings are errors.

    libffcv keeps one decompressor for each thread and never frees it.

    Raises:
        LoaderError: if ffcv is not installed or its library does not load.
    """
    imdecode = load_imdecode()

    def decode(encoded: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> None:
        source, target = encoded.ctypes.data, out.ctypes.data
        if imdecode(source, encoded.size, height, width, target, height, width, 0, 0, 1, 1, False, False) != 0:
            raise Undecodable("its JPEG data is damaged or cut off")

    return decode


def load_imdecode() -> ctypes._NamedFuncPointer:
    """libffcv's ``imdecode``: returns 0, or -1 if libjpeg-turbo fails or warns; runs without Python's lock.

    Its arguments: JPEG, bytes; source height, width; output; crop height, width, x, y; scale numerator, denominator;
    whether to crop; whether to mirror.

    Raises:
        LoaderError: if the library is missing or does not load.
    """
    spec = importlib.util.find_spec("ffcv")
    folders = spec.submodule_search_locations if spec is not None else None
    libraries = [path for folder in folders or [] for path in Path(folder).glob("_libffcv*.so")]
    if not libraries:
        raise LoaderError("ffcv", "it is not installed", INSTALL)
    try:
        imdecode = ctypes.CDLL(str(libraries[0])).imdecode
    except (OSError, AttributeError) as error:
        raise LoaderError(libraries[0], f"it does not load ({error})", INSTALL) from error
    imdecode.restype = ctypes.c_int
    imdecode.argtypes = [
        ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
        *[ctypes.c_uint32] * 6, ctypes.c_bool, ctypes.c_bool,
    ]  # fmt: skip
    return imdecode


def stock_crops(
    engine: ThreadedImages, augment: AugmentConfig, seed: int
) -> tuple[dict[str, Any], Callable[[int], None]]:
    """An engine's crops within a stock ``ffcv.loader.Loader``: one decode an image, one output per crop size.

    ::

        engine = ThreadedImages(Beton(path), libffcv_decoder(), workers=8)
        pipelines, set_epoch = stock_crops(engine, AugmentConfig(), seed=0)
        loader = Loader(path, batch_size=256, order=OrderOption.RANDOM, drop_last=True, pipelines=pipelines)
        for epoch in range(epochs):
            set_epoch(epoch)
            for *labels, crops_224, crops_96 in loader:  # (count * B, size, size, 3) uint8, crop-major

    The crops are those of ``engine.crops``, bit for bit, whatever the order. The stock loader keeps its own ways: an
    image that does not decode ends its thread, and the caller waits; so let the engine replace broken samples.

    Args:
        engine: over the same file; it must stay open.
        augment: what is done to make the crops.
        seed: seed of every crop.

    Returns:
        the loader's ``pipelines``, to which others may be added, and a function to call before each epoch.
    """
    from ffcv.pipeline.operation import Operation
    from ffcv.pipeline.pipeline_spec import PipelineSpec
    from ffcv.pipeline.state import State

    epoch = [0]

    class Samples(Operation):
        """In the place of a decoder, whose output ffcv compiles: only which samples the batch is made of."""

        def generate_code(self) -> Callable:
            return lambda indices, memory, metadata, storage: indices

        def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, None]:
            return replace(previous_state, shape=(), dtype=np.dtype("u8")), None

    class OutsideOfTheCompiler(Operation):
        """A function of the operation before it, called as Python."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            super().__init__()
            self.function = function

        def generate_code(self) -> Callable:
            return lambda value, memory: self.function(value)

        def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, None]:
            return State(jit_mode=False, device=previous_state.device, shape=(), dtype=np.dtype("u1")), None

    def make(indices: NDArray[np.uint64]) -> list[torch.Tensor]:
        request = Request(samples=indices.astype(np.int64), share=slice(0, len(indices)))
        return engine.assembler.crops(request, augment.crops, partial(draw, augment, seed, epoch[0])).crops

    crops = OutsideOfTheCompiler(make)
    pipelines: dict[str, Any] = {"image": None}
    for place, spec in enumerate(augment.crops):
        pick = OutsideOfTheCompiler(operator.itemgetter(place))
        name = f"crops_{place}_{spec.size}"
        if place == 0:
            pipelines[name] = PipelineSpec("image", decoder=Samples(), transforms=[crops, pick])
        else:
            pipelines[name] = PipelineSpec(crops, transforms=[pick])

    def set_epoch(number: int) -> None:
        epoch[0] = number

    return pipelines, set_epoch
