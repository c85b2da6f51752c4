"""``frl doctor``: what is here, what is missing, and the command that installs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import tyro

from frl import __version__, console, machine
from frl.printable import printable
from frl.runtime.environment import device_name
from writers.detect.obtain import kept, obtain


@dataclass(frozen=True)
class DoctorConfig:
    """Say what is installed, what is missing and how to get it."""

    get: Literal["yunet"] | None = None
    """Put in place what no package installs. yunet: the network of --detect yunet, out of a package of the registry,
    compared with its checksum."""


@dataclass(frozen=True)
class Part:
    """A package, what it is for, how to install it, whether training does without, and what serves as well."""

    package: str
    purpose: str
    remedy: str
    optional: bool = False
    instead: str | None = None


DALI = "pip install nvidia-dali-cuda130==2.4.0"
PARTS = (
    Part("torch", "training", "pip install torch"),
    Part("torchvision", "the networks", "pip install torchvision"),
    Part("opencv-python", "writing .beton files", "pip install opencv-python", instead="opencv-python-headless"),
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
    Part("huggingface_hub", "model hubs (frl push, hub:ORG/NAME)", "pip install huggingface_hub", optional=True),
    Part("s3fs", "S3 (frl write s3://..., --stage)", "pip install s3fs", optional=True),
    Part("submitit", "jobs of Slurm (frl write --on slurm)", "pip install submitit", optional=True),
    Part("ray", "tasks of Ray (frl write --on ray)", "pip install ray", optional=True),
    Part("onnxruntime", "checks of exports to ONNX", "pip install onnxruntime", optional=True),
)


def main(arguments: list[str]) -> int:
    """Print the findings, or get what is asked for; exit status 1 if something that training needs is missing."""
    config = tyro.cli(DoctorConfig, args=arguments, prog="frl doctor")
    if config.get is not None:
        print(f"{printable(obtain())}\nNext: frl write PHOTOGRAPHS --out faces.beton --detect yunet")
        return 0
    print(f"frl {__version__}, Python {machine.python()}, {machine.cores()} cores of {machine.processor()}")
    missing = [part for part in PARTS if not _report(part)]
    print(_yunet())
    print(_accelerators())
    lacking = any(not part.optional for part in missing)
    if not lacking:
        console.suggest(("frl", "synthesize", "faces"), ("frl", "write", "FOLDER", "--out", "faces.beton"))
    return int(lacking)


def _report(part: Part) -> bool:
    version = machine.version(part.package) or (machine.version(part.instead) if part.instead else None)
    remedy = "" if version else f": {part.remedy}"
    print(f"  {part.package:<20} {version or 'missing':<14} {part.purpose}{remedy}")
    return version is not None


def _yunet() -> str:
    if kept().is_file():
        return f"YuNet's network (frl write --detect yunet): {printable(kept())}"
    return "YuNet's network (frl write --detect yunet) is not there: frl doctor --get yunet"


def _accelerators() -> str:
    if not torch.cuda.is_available():
        return "no GPU: frl pretrain cpu trains a small network; everything else works as it is"
    names = [device_name(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]
    return f"GPUs: {', '.join(names)}"
