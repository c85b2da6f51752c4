"""How much light surfaces send back: Lambert's law with a soft edge, and a Blinn-Phong sheen."""

import numpy as np

from frl.synthetic.scene import Light

SKY = np.array([0.97, 1.0, 1.05], np.float32)
"""Linear RGB of the sky."""
WRAP = np.float32(0.15)
"""How far, as a cosine, light creeps into the shade; skin scatters it."""


def irradiance(
    normals: np.ndarray, openness: np.ndarray | float, towards: np.ndarray, light: Light, up: np.ndarray
) -> np.ndarray:
    """Linear RGB (..., 3) float32 on surfaces with unit normals (..., 3).

    ``towards`` (3,) points at the lamp and ``up`` (3,) at the zenith, both in the normals' frame; ``openness`` (...)
    is the share of the sky that the surface sees.
    """
    lamp = np.maximum((normals @ towards.astype(np.float32) + WRAP) / (1 + WRAP), 0) * openness
    sky = light.ambient * (0.75 + 0.25 * (normals @ up.astype(np.float32))) * openness
    return np.stack([lamp, sky], axis=-1) @ np.stack([light.colour(), SKY]).astype(np.float32)


def sheen(normals: np.ndarray, towards: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Strength (...) float32 of the lamp's reflection towards ``eye`` (3,)."""
    half = (towards + eye) / max(float(np.linalg.norm(towards + eye)), 1e-6)
    return (0.09 * np.clip(normals @ half.astype(np.float32), 0, 1) ** 18).astype(np.float32)
