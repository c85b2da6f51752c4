"""Installs frl, its pipelines and writers. Pinned versions for a known-good environment: requirements.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "frl" / "__init__.py").read_text()).group(1)

setup(
    name="frl",
    version=VERSION,
    description="Pre-train face representations without labels: SwAV on FFCV, fast and exact",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Said outright, so that an editable install is a folder on the path rather than a finder behind it: a package on
    # the path wins over any mere folder of its name, such as the clone itself in the folder above.
    package_dir={"": "."},
    packages=find_packages(include=["frl*", "pipelines*", "writers*"]),
    package_data={
        "frl": ["py.typed"],
        "pipelines": ["py.typed"],
        "writers": ["py.typed"],
        "frl.report": ["page.css", "page.js"],
        "frl.weights": ["synthetic-faces.safetensors"],
    },
    install_requires=[
        "torch>=2.11",
        "torchvision>=0.26",
        "numpy>=2.0",
        "numba>=0.61",
        "opencv-python>=4.10",
        "simplejpeg>=1.8",
        "tensorboard>=2.18",
        "tqdm>=4.66",
        "tyro>=1.0",
        "matplotlib>=3.9",
        "pillow>=10",
    ],
    extras_require={
        "ffcv": ["ffcv==1.0.2"],
        "dali": ["nvidia-dali-cuda130==2.4.0"],
        "wandb": ["wandb>=0.19"],
        "faces": ["dlib-bin>=19.24"],
        "curate": ["blake3>=1.0", "ImageHash>=4.3"],
        "hdf5": ["h5py>=3.10"],
        "timm": ["timm>=1.0.20"],
        "export": ["safetensors>=0.5", "onnx>=1.17", "onnxscript>=0.3"],
        "dev": [
            *["pre-commit", "ruff", "mypy", "pytest>=8", "pytest-timeout", "pytest-xdist", "hypothesis"],
            *["timm>=1.0.20", "safetensors>=0.5", "onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"],
            *["h5py>=3.10", "dlib-bin>=19.24", "blake3>=1.0", "ImageHash>=4.3"],
            *["albumentationsx>=2.5", "lightly>=1.5", "pytorch-metric-learning>=2.8"],
        ],
    },
    entry_points={"console_scripts": ["frl = frl.cli:main"]},
)
