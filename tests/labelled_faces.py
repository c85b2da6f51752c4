"""Small ``.beton`` files of synthetic faces with their landmarks, for tests of what learns from labels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from frl.beton import BetonWriter
from frl.beton.targets import Kind, TargetSpec
from frl.synthetic.drawing import make_model, render
from frl.synthetic.identity import draw_identity
from frl.synthetic.scene import STYLES, draw_scene

LANDMARKS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(68, 2))
AFFECT = TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal"))


def write_faces(path: Path, identities: int, images: int = 2, side: int = 48, seed: int = 0) -> Path:
    """Some images of each identity, one identity after the other; the last image of all has no landmarks."""
    total = identities * images
    names = [f"n{index:03}" for index in range(identities)]
    with BetonWriter(path, capacity=total, page_size=1 << 21, labels=names, targets=(LANDMARKS, AFFECT)) as writer:
        for identity in range(identities):
            model = make_model(draw_identity(seed, identity), side)
            for image in range(images):
                scene = draw_scene(seed, identity, image, STYLES["studio"])
                face = render(model, scene)
                stream = io.BytesIO()
                Image.fromarray(face.image).save(stream, "JPEG", quality=95)
                smile = 2 * scene.expression.smile - 1
                known = {"landmarks": face.landmarks, "affect": np.array([smile, scene.expression.mouth_open])}
                if identity * images + image == total - 1:
                    del known["landmarks"]
                writer.append(stream.getvalue(), side, side, identity, f"{identity}/{image}.jpg", known)
    return path
