"""The GPU's way on its device: the reference's crops, the right dtype and layout, no wait for the device."""

import contextlib

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from frl.config import AugmentConfig
from pipelines.augment.gpu.blur import batch_blur
from pipelines.augment.gpu.colour import Planes, batch_jitter
from pipelines.augment.gpu.ladder import rung_factors
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack
from pipelines.augment.gpu.resample import batch_resample, columns_first
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import draw
from tests.gpu.conftest import AUGMENT, LEVELS, assert_close_to_crops_of

reference = pytest.importorskip("pipelines.augment.reference", exc_type=ImportError)


READS_BACK = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class ReadsBack(TorchDispatchMode):
    """Refuses the operations for which the host would wait for a GPU, on any device."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        indices = arguments[1] if function is torch.ops.aten.index.Tensor else ()
        masked = any(index is not None and index.dtype == torch.bool for index in indices)
        if function in READS_BACK or masked:
            raise RuntimeError(f"synchronizing: {function}")
        return function(*arguments, **(options or {}))


@contextlib.contextmanager
def no_synchronisation(device: torch.device):
    """Any wait of the host for the device is an error within; on a CPU, any that would be one on a GPU."""
    if device.type == "cpu":
        with ReadsBack():
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def compiled(augment: MultiCrop, device: torch.device) -> MultiCrop:
    """Compiled for the GPU; on the CPU only captured as one graph, which a break would refuse."""
    if device.type == "cpu":
        augment.masked = torch.compile(augment.forward_masked, backend="eager", fullgraph=True, dynamic=False)
        return augment
    return MultiCrop(augment.augment, dtype=augment.normalise.dtype, compile=True).to(device)


def test_crops_equal_the_reference_s(device, images, plan):
    views = MultiCrop(LEVELS).to(device)(images.to(device), plan)
    assert_close_to_crops_of(reference.crops_of, views, images, plan)


def test_the_device_agrees_with_the_cpu(device, images, plan):
    """Half-precision products against float32: a third of a level each, stretched by the jitter."""
    ours, cpu = MultiCrop(LEVELS).to(device)(images.to(device), plan), MultiCrop(LEVELS)(images, plan)
    for a, b in zip(ours, cpu, strict=True):
        difference = (a.cpu() - b).abs()
        assert difference.mean() < 0.1 and difference.max() < 3


class TestOperations:
    """Each operation on its device against the same in float64 on the CPU, in grey levels."""

    def test_resampling(self, device, images, plan):
        boxes, flip = torch.from_numpy(plan.boxes[:, :2]).float(), torch.from_numpy(plan.flip[:, :2])
        exact = batch_resample(columns_first(images).double(), boxes.double(), flip, 40)
        ours = batch_resample(columns_first(images.to(device)), boxes.to(device), flip.to(device), 40)
        assert (ours.cpu().double() - exact).abs().max() < 0.4

    def test_jitter(self, device, images, plan):
        planes = Planes(*(images.double() / 255).unbind(dim=3))
        factors = torch.from_numpy(rung_factors(plan)[:, 0])
        exact = batch_jitter(planes, factors.double())
        ours = batch_jitter(Planes(*(plane.float().to(device) for plane in planes)), factors.to(device))
        for a, b in zip(ours, exact, strict=True):
            assert (a.cpu().double() - b).abs().max() * 255 < 0.01

    def test_blur(self, device, images):
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        planes, sigma = Planes(*(images.double() / 255).unbind(dim=3)), torch.linspace(0, 2, len(images))
        exact = batch_blur(planes, sigma.double(), torch.float64)
        ours = batch_blur(Planes(*(plane.float().to(device) for plane in planes)), sigma.to(device), dtype)
        for a, b in zip(ours, exact, strict=True):
            assert (a.cpu().double() - b).abs().max() * 255 < 0.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_have_the_training_s_dtype_and_layout(device, images, plan, dtype):
    views = MultiCrop(AUGMENT, dtype=dtype).to(device)(images.to(device), plan)
    views += NormaliseCrops(AUGMENT, dtype=dtype).to(device)([images.to(device)])
    assert [tuple(view.shape) for view in views] == [(16, 3, 40, 40), (24, 3, 24, 24), (8, 3, 64, 64)]
    for view in views:
        assert view.dtype == dtype and view.device.type == device.type
        assert view.is_contiguous(memory_format=torch.channels_last)


def test_no_synchronisation_with_the_host(device, images, plan):
    on_device = images.to(device)
    augment = MultiCrop(AUGMENT, dtype=torch.bfloat16, compile=device.type == "cuda").to(device)
    normalise = NormaliseCrops(AUGMENT, dtype=torch.bfloat16).to(device)
    augment(on_device, plan)  # compiles
    with no_synchronisation(device):
        views = augment(on_device, plan)
        views += normalise([on_device])
    assert all(torch.isfinite(view).all() for view in views)


@pytest.mark.parametrize("wait", [lambda x: x.item(), lambda x: x.nonzero(), lambda x: x[x > 0]])
def test_the_guard_notices_a_synchronisation(device, wait):
    with pytest.raises(RuntimeError, match="synchronizing"), no_synchronisation(device):
        wait(torch.ones(1, device=device))


def test_the_compiled_graph_gives_the_eager_one_s_views(device, images, plan):
    eager = MultiCrop(LEVELS).to(device)
    for a, b in zip(
        compiled(MultiCrop(LEVELS), device)(images.to(device), plan), eager(images.to(device), plan), strict=True
    ):
        assert (a - b).abs().max() < (1 if device.type == "cuda" else 1e-3)


def test_other_plans_do_not_compile_again(device, images, plan):
    augment = compiled(MultiCrop(AUGMENT), device)
    torch._dynamo.utils.counters.clear()
    augment(images.to(device), plan)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    augment(images.flip(0).to(device), plan)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs > 0


def test_the_paper_s_crops_fit_the_device(device):
    """The full augmentation, once, at its own sizes."""
    augment, batch = AugmentConfig(), 2 if device.type == "cpu" else 64
    images = torch.randint(0, 256, (batch, 256, 256, 3), dtype=torch.uint8, device=device)
    packed = torch.from_numpy(pack(draw(augment, 0, 0, np.arange(batch), np.full((batch, 2), 256)))).to(device)
    views = MultiCrop(augment, dtype=torch.bfloat16).to(device).forward_masked(images, packed)
    assert [tuple(view.shape) for view in views] == [(2 * batch, 3, 224, 224), (6 * batch, 3, 96, 96)]
    assert all(torch.isfinite(view).all() for view in views)
