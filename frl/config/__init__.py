"""The configuration of a run: frozen dataclasses whose field docstrings become the help text; free of torch."""

from frl.config.codec import as_dict, from_dict, upgraded
from frl.config.data import DataConfig, EngineName
from frl.config.model import ModelConfig
from frl.config.monitor import HealthConfig, KnnConfig
from frl.config.objective import ObjectiveConfig, SwAVConfig
from frl.config.optim import OptimConfig
from frl.config.run import RunConfig, validate, without_measuring
from frl.config.views import AugmentConfig, ColourConfig, CropSpec, Stage

__all__ = [
    "AugmentConfig",
    "ColourConfig",
    "CropSpec",
    "DataConfig",
    "EngineName",
    "HealthConfig",
    "KnnConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "RunConfig",
    "Stage",
    "SwAVConfig",
    "as_dict",
    "from_dict",
    "upgraded",
    "validate",
    "without_measuring",
]
