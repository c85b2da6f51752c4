"""What others report on face verification, with where it was read."""

from __future__ import annotations

from frl.evaluate.published import Published

ONNX = "ONNX model zoo, README of ArcFace"
ZOO = "Wu et al., What is a Goldilocks Face Verification Test Set?, 2024; their model zoo"
USYNTH = "Boutros et al., Unsupervised Face Recognition using Unlabeled Synthetic Data, 2022"
INSIGHTFACE = "insightface, arcface_torch"
LAFS = "Sun et al., LAFS, CVPR 2024"

VERIFICATION: dict[str, tuple[Published, ...]] = {
    "lfw": (
        Published(method="ArcFace ResNet-100, MS1MV2", scores={"accuracy": "99.80"}, source=ZOO),
        Published(method="USynthFace, no labels, synthetic faces", scores={"accuracy": "92.23"}, source=USYNTH),
    ),
    "cfp-ff": (Published(method="ArcFace LResNet100E-IR", scores={"accuracy": "99.83"}, source=ONNX),),
    "cfp-fp": (
        Published(method="ArcFace ResNet-100, MS1MV2", scores={"accuracy": "98.49"}, source=ZOO),
        Published(method="USynthFace, no labels, synthetic faces", scores={"accuracy": "78.56"}, source=USYNTH),
    ),
    "ijb": (
        Published(method="ArcFace r50, MS1MV3, IJB-C", scores={"TAR at FAR 1e-4": "96.37"}, source=INSIGHTFACE),
        Published(method="ArcFace r50, Glint360K, IJB-C", scores={"TAR at FAR 1e-4": "97.16"}, source=INSIGHTFACE),
        Published(method="LAFS, then supervised, IJB-B", scores={"TAR at FAR 1e-4": "96.28"}, source=LAFS),
        Published(method="LAFS, then supervised, IJB-C", scores={"TAR at FAR 1e-4": "97.58"}, source=LAFS),
    ),
}
"""By protocol. All were aligned by five points, and but for USynthFace trained with identities."""


def verification_text(protocol: str) -> str:
    """The figures on a protocol, for people; empty if none are known."""
    lines = [
        f"  {found.method}: {', '.join(f'{score} {value} %' for score, value in found.scores.items())} ({found.source})"
        for found in VERIFICATION.get(protocol, ())
    ]
    return "\n".join([f"published on all of {protocol}, faces aligned by five points:", *lines]) if lines else ""
