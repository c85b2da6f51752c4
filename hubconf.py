"""What ``torch.hub.load("FOLDER_OF_FRL", "backbone", weights="resnet50.pth", source="local")`` finds."""

dependencies = ["torch", "torchvision", "numpy"]


def backbone(weights: str, arch: str | None = None):
    """A network in evaluation mode, without its classifier: images ``(B, 3, H, W)`` to features ``(B, width)``.

    Args:
        weights: a run's folder, a checkpoint or export of frl, torchvision's or timm's weights, or hub:ORG/NAME.
        arch: whole name of the network, where the weights do not say it.
    """
    from frl.pretrained import load_backbone

    return load_backbone(weights, arch)[0]


def untrained(arch: str = "resnet50", seed: int = 0):
    """The same with random weights drawn from ``seed``, to compare with."""
    from frl.evaluate.baselines import untrained

    return untrained(arch, seed)
