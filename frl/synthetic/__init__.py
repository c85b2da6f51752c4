"""Synthetic faces with ground truth: parametric heads, drawn by our own code, deterministic from a seed."""

from frl.synthetic.drawing import Face, draw_face, make_model, render
from frl.synthetic.folder import write_folder
from frl.synthetic.identity import Identity, draw_identity
from frl.synthetic.scene import STYLES, Scene, Style, draw_scene
from frl.synthetic.sheet import contact_sheet

__all__ = [
    "Face",
    "Identity",
    "STYLES",
    "Scene",
    "Style",
    "contact_sheet",
    "draw_face",
    "draw_identity",
    "draw_scene",
    "make_model",
    "render",
    "write_folder",
]
