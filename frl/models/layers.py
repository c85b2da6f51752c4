"""The inside of a backbone: the feature maps before the pooling, and which parameters lie how deep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from frl.errors import ConfigError
from frl.models.resnet import ResNet

RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
RESNET_LAYERS = (("conv1", "bn1"), *((stage,) for stage in RESNET_STAGES))


def feature_maps(backbone: nn.Module, images: Tensor) -> Tensor:
    """What a backbone gives before it pools: ``(B, 3, H, W)`` to ``(B, C, h, w)``; a transformer's tokens as a map.

    Raises:
        ConfigError: if it is a network whose last features have no place in the image.
    """
    if isinstance(backbone, UpToStage):
        return backbone.maps(images)
    if isinstance(backbone, ResNet):
        return _maps_of_resnet(backbone, images, len(RESNET_STAGES))
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


class UpToStage(nn.Module):
    """A backbone that ends with one of its stages: its features are the mean of that stage's map.

    Args:
        backbone: the whole network.
        stage: 1 is the one next to the image. A ResNet has four, ``layer1`` to ``layer4``; a network of timm as many as
            its ``feature_info`` has entries, a transformer's being its blocks.
        option: that gave the stage, for the error.

    Raises:
        ConfigError: if it has no such stage.
    """

    def __init__(self, backbone: nn.Module, stage: int, option: str = "--stage") -> None:
        super().__init__()
        self.backbone, self.stage = backbone, stage
        count = len(RESNET_STAGES) if isinstance(backbone, ResNet) else _stages_of_timm(backbone)
        if not 1 <= stage <= count:
            known = f"Give 1 to {count}" if count else "Its last features alone can be had"
            cause = f"{stage} is no stage of this network"
            raise ConfigError(option, cause, f"{known}, or leave it out.")

    def prune(self) -> None:
        """Let go of the layers that follow the stage: they do not learn, and would be copied and kept."""
        if isinstance(self.backbone, ResNet):
            for later in RESNET_STAGES[self.stage :]:
                setattr(self.backbone, later, nn.Identity())
        else:
            cast(Any, self.backbone).prune_intermediate_layers([self.stage - 1], prune_norm=True, prune_head=True)

    def maps(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to the stage's map ``(B, C, h, w)``."""
        if isinstance(self.backbone, ResNet):
            return _maps_of_resnet(self.backbone, images, self.stage)
        found = cast(Any, self.backbone).forward_intermediates(
            images, indices=[self.stage - 1], output_fmt="NCHW", intermediates_only=True, stop_early=True
        )
        return found[0]

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, C)``."""
        return self.maps(images).mean((2, 3))


def up_to(backbone: nn.Module, stage: int | None, option: str = "--stage") -> nn.Module:
    """The backbone itself, or what it is up to a stage; arguments and errors are those of ``UpToStage``."""
    return backbone if stage is None else UpToStage(backbone, stage, option)


def stage_of(backbone: nn.Module) -> int | None:
    """The stage with which a backbone ends; None: it is whole."""
    return backbone.stage if isinstance(backbone, UpToStage) else None


def _maps_of_resnet(backbone: ResNet, images: Tensor, stages: int) -> Tensor:
    x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(images))))
    for stage in RESNET_STAGES[:stages]:
        x = getattr(backbone, stage)(x)
    return x


def _stages_of_timm(backbone: nn.Module) -> int:
    """How many stages its maps can be had of."""
    return len(cast(Any, backbone).feature_info) if hasattr(backbone, "forward_intermediates") else 0


def _patch(network: Any) -> Sequence[int]:
    return getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))


def layers_of(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """All parameters of a backbone by depth, the layer next to the image first.

    A ResNet has five layers: its stem and its four stages. What layers a network of timm has timm says itself. Of a
    network up to a stage they are those that are left.
    """
    if isinstance(backbone, UpToStage):
        return layers_of(backbone.backbone)
    if isinstance(backbone, ResNet):
        modules = [[getattr(backbone, name) for name in names] for names in RESNET_LAYERS]
        layers = [[parameter for module in layer for parameter in module.parameters()] for layer in modules]
        return [layer for layer in layers if layer]
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
