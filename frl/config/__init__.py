"""The configuration of a run: frozen dataclasses whose field docstrings become the help text; free of torch."""

from frl.config.codec import as_dict, from_dict, upgraded
from frl.config.contrastive import BYOLConfig, MoCoConfig, MoCoV3Config, SimCLRConfig, SimSiamConfig
from frl.config.data import DataConfig, EngineName
from frl.config.decorrelation import BarlowTwinsConfig, VICRegConfig
from frl.config.distillation import DINOConfig
from frl.config.model import ModelConfig
from frl.config.monitor import HealthConfig, KnnConfig
from frl.config.objective import ObjectiveConfig, SwAVConfig
from frl.config.optim import OptimConfig
from frl.config.probe import ProbeConfig
from frl.config.run import RunConfig, too_late, validate, without_measuring
from frl.config.supervised import SupervisedConfig
from frl.config.views import AugmentConfig, ColourConfig, CropSpec, Stage

__all__ = [
    "AugmentConfig",
    "BarlowTwinsConfig",
    "BYOLConfig",
    "ColourConfig",
    "CropSpec",
    "DINOConfig",
    "DataConfig",
    "EngineName",
    "HealthConfig",
    "KnnConfig",
    "MoCoConfig",
    "MoCoV3Config",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "ProbeConfig",
    "RunConfig",
    "SimCLRConfig",
    "SimSiamConfig",
    "Stage",
    "SupervisedConfig",
    "SwAVConfig",
    "VICRegConfig",
    "as_dict",
    "from_dict",
    "too_late",
    "upgraded",
    "validate",
    "without_measuring",
]
