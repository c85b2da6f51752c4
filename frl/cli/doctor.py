"""``frl doctor``: what is here, what is missing, and the command that installs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import tyro

from frl import __version__, console, machine
from frl.runtime.environment import device_name


@dataclass(frozen=True)
class DoctorConfig:
    """Say what is installed, what is missing and how to get it."""


@dataclass(frozen=True)
class Part:
    """A package, what it is for, how to install it, and whether training does without."""

    package: str
    purpose: str
    remedy: str
    optional: bool = False


DALI = "pip install nvidia-dali-cuda130==2.4.0"
PARTS = (
    Part("torch", "training", "pip install torch"),
    Part("torchvision", "the networks", "pip install torchvision"),
    Part("opencv-python", "writing .beton files", "pip install opencv-python"),
    Part("simplejpeg", "the loader's decoder (--engine torch works without)", "pip install simplejpeg"),
    Part("ffcv", "the same decoder in ffcv's library (--engine ffcv)", "bash scripts/setup.sh", optional=True),
    Part("nvidia-dali-cuda130", "the DALI loader (--engine dali)", DALI, optional=True),
    Part("tensorboard", "the logs", "pip install tensorboard"),
    Part("safetensors", "exports of that format", "pip install safetensors", optional=True),
    Part("onnxscript", "exports to ONNX", "pip install onnx onnxscript", optional=True),
    Part("timm", "checks of the optimiser", "pip install timm", optional=True),
    Part("dlib-bin", "faces in whole photographs (frl write --detect dlib)", "pip install dlib-bin", optional=True),
    Part("h5py", "HDF5 as a source (frl write FILE.h5)", "pip install h5py", optional=True),
    Part("ImageHash", "near copies (frl write --dedupe near)", "pip install ImageHash", optional=True),
    Part("blake3", "exact copies, a little quicker than without", "pip install blake3", optional=True),
    Part("onnxruntime", "checks of exports to ONNX", "pip install onnxruntime", optional=True),
)


def main(arguments: list[str]) -> int:
    """Print the findings; exit status 1 if something that training needs is missing."""
    tyro.cli(DoctorConfig, args=arguments, prog="frl doctor")
    print(f"frl {__version__}, Python {machine.python()}, {machine.cores()} cores of {machine.processor()}")
    missing = [part for part in PARTS if not _report(part)]
    print(_accelerators())
    lacking = any(not part.optional for part in missing)
    if not lacking:
        console.suggest(("frl", "synthesize", "faces"), ("frl", "write", "FOLDER", "--out", "faces.beton"))
    return int(lacking)


def _report(part: Part) -> bool:
    version = machine.version(part.package)
    remedy = "" if version else f": {part.remedy}"
    print(f"  {part.package:<20} {version or 'missing':<14} {part.purpose}{remedy}")
    return version is not None


def _accelerators() -> str:
    if not torch.cuda.is_available():
        return "no GPU: frl pretrain cpu trains a small network; everything else works as it is"
    names = [device_name(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]
    return f"GPUs: {', '.join(names)}"
