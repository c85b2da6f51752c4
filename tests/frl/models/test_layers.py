"""Feature maps are what the pooling averages, and layers are all parameters by depth."""

import pytest
import torch

from frl.errors import ConfigError
from frl.models.backbone import build_backbone
from frl.models.layers import feature_maps, freeze_statistics, layers_of

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet18-w16-nopool", "resnet50-w8", "timm/mobilenetv3_small_050"])
def test_pooled_maps_are_the_features(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    backbone, width = build_backbone(name)
    backbone.eval()
    with torch.no_grad():
        maps = feature_maps(backbone, IMAGES)
        assert maps.dim() == 4
        if name.startswith("resnet"):
            torch.testing.assert_close(maps.mean((2, 3)), backbone(IMAGES))
            assert maps.shape[1] == width


def test_tokens_become_a_map_in_their_order():
    pytest.importorskip("timm")
    backbone, width = build_backbone("timm/vit_tiny_patch16_224")
    backbone.eval()
    with torch.no_grad():
        maps = feature_maps(backbone, IMAGES)
        tokens = backbone.forward_features(IMAGES)
    assert maps.shape == (2, width, 4, 4)
    torch.testing.assert_close(maps[:, :, 1, 2], tokens[:, 1 + 1 * 4 + 2])


@pytest.mark.parametrize("name", ["resnet18-w8", "timm/vit_tiny_patch16_224", "timm/convnext_atto"])
def test_every_parameter_is_in_one_layer(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    backbone, _ = build_backbone(name)
    layers = layers_of(backbone)
    given = [id(parameter) for layer in layers for parameter in layer]
    assert len(given) == len(set(given)) and set(given) == {id(parameter) for parameter in backbone.parameters()}


def test_layers_of_a_resnet_are_its_stem_and_stages():
    backbone, _ = build_backbone("resnet18-w8")
    layers = layers_of(backbone)
    assert len(layers) == 5
    assert layers[0][0] is backbone.conv1.weight and layers[4][0] is backbone.layer4[0].conv1.weight


def test_layers_of_a_transformer_begin_with_the_patches():
    pytest.importorskip("timm")
    backbone, _ = build_backbone("timm/vit_tiny_patch16_224")
    layers = layers_of(backbone)
    assert any(parameter is backbone.patch_embed.proj.weight for parameter in layers[0])
    block = {id(parameter) for parameter in backbone.blocks[3].parameters()}
    assert any(block <= {id(parameter) for parameter in layer} for layer in layers)
    assert len(layers) >= 13


def test_frozen_statistics_do_not_move():
    backbone, _ = build_backbone("resnet18-w8")
    backbone.train()
    freeze_statistics(backbone)
    before = backbone.bn1.running_mean.clone()
    backbone(IMAGES)
    assert torch.equal(backbone.bn1.running_mean, before) and backbone.training


def test_features_without_a_place_are_refused():
    class Bag(torch.nn.Module):
        num_features = 8

        def forward_features(self, images):
            return torch.zeros(len(images), 8)

    with pytest.raises(ConfigError, match="are no map"):
        feature_maps(Bag(), IMAGES)
