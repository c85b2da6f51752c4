"""The inside of a backbone: the feature maps before the pooling, and which parameters lie how deep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from frl.errors import ConfigError
from frl.models.resnet import ResNet

RESNET_LAYERS = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


def feature_maps(backbone: nn.Module, images: Tensor) -> Tensor:
    """What a backbone gives before it pools: ``(B, 3, H, W)`` to ``(B, C, h, w)``; a transformer's tokens as a map.

    Raises:
        ConfigError: if it is a network whose last features have no place in the image.
    """
    if isinstance(backbone, ResNet):
        x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(images))))
        return backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(x))))
    network = cast(Any, backbone)
    features: Tensor = network.forward_features(images)
    width = int(network.num_features)
    if features.dim() == 3:  # tokens, of which some stand for the whole image
        tokens = features[:, int(getattr(network, "num_prefix_tokens", 0)) :]
        patch = _patch(network)
        height, across = images.shape[2] // patch[0], images.shape[3] // patch[1]
        if tokens.shape[1] == height * across:
            return tokens.transpose(1, 2).unflatten(2, (height, across))
    elif features.dim() == 4 and width in (features.shape[1], features.shape[3]):
        return features if features.shape[1] == width else features.permute(0, 3, 1, 2)
    cause = f"the features of {type(backbone).__name__}, {tuple(features.shape[1:])} an image, are no map"
    raise ConfigError("--finetune.head", cause, "Use --finetune.head linear.")


def _patch(network: Any) -> Sequence[int]:
    return getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))


def layers_of(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """All parameters of a backbone by depth, the layer next to the image first.

    A ResNet has five layers: its stem and its four stages. What layers a network of timm has timm says itself.
    """
    if isinstance(backbone, ResNet):
        modules = [[getattr(backbone, name) for name in names] for names in RESNET_LAYERS]
        return [[parameter for module in layer for parameter in module.parameters()] for layer in modules]
    from timm.models import group_parameters

    names = group_parameters(backbone, cast(Any, backbone).group_matcher(coarse=False))
    of_name = dict(backbone.named_parameters())
    layers = [[of_name[name] for name in names[key] if name in of_name] for key in sorted(names)]
    return [layer for layer in layers if layer]


def freeze_statistics(network: nn.Module) -> None:
    """Let BatchNorm normalise by the statistics that it has; to call after every ``train()``."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
