"""Feature maps are what the pooling averages, and layers are all parameters by depth."""

import pytest
import torch

from frl.errors import ConfigError
from frl.models.backbone import build_backbone
from frl.models.layers import UpToStage, feature_maps, freeze_statistics, layers_of

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


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_stage_is_torchvisions(stage):
    from torchvision.models import resnet18

    theirs, seen = resnet18().eval(), []
    getattr(theirs, f"layer{stage}").register_forward_hook(lambda module, inputs, output: seen.append(output))
    backbone, _ = build_backbone("resnet18")
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    backbone.load_state_dict(state)
    cut = UpToStage(backbone.eval(), stage)
    with torch.no_grad():
        theirs(IMAGES)
        torch.testing.assert_close(feature_maps(cut, IMAGES), seen[0])
        torch.testing.assert_close(cut(IMAGES), seen[0].mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "stages", "module"),
    [
        ("timm/resnet18", 5, "layer2"),
        ("timm/convnext_atto", 4, "stages.2"),
        ("timm/vit_tiny_patch16_224", 12, "blocks.2"),
        ("timm/mobilenetv3_small_050", 5, None),
    ],
)
def test_a_stage_of_timm_is_what_its_list_of_features_names(name, stages, module):
    pytest.importorskip("timm")
    backbone, _ = build_backbone(name)
    assert len(backbone.feature_info) == stages
    cut = UpToStage(backbone.eval(), 3)
    seen = []
    if module is not None:
        backbone.get_submodule(module).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        maps = cut.maps(IMAGES)
    assert maps.shape[1] == backbone.feature_info[2]["num_chs"]
    if name.startswith("timm/vit"):
        torch.testing.assert_close(maps[:, :, 1, 2], seen[0][:, 1 + 1 * 4 + 2])
    elif module is not None:
        torch.testing.assert_close(maps, seen[0])


@pytest.mark.parametrize(
    "name", ["resnet18-w8", "timm/resnet18", "timm/convnext_atto", "timm/vit_tiny_patch16_224", "timm/efficientnet_b0"]
)
def test_pruned_it_gives_the_same_and_all_that_is_left_learns(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    backbone, _ = build_backbone(name)
    cut = UpToStage(backbone.eval(), 2)
    before, whole = cut(IMAGES), sum(1 for _ in cut.parameters())
    cut.prune()
    assert torch.equal(cut(IMAGES), before)
    cut(IMAGES).square().sum().backward()
    left = dict(cut.named_parameters())
    assert len(left) < whole and [name for name, parameter in left.items() if parameter.grad is None] == []
    layers = [id(parameter) for layer in layers_of(cut) for parameter in layer]
    assert len(layers) == len(set(layers)) and set(layers) == {id(parameter) for parameter in left.values()}


def test_a_stage_that_is_not_there_is_refused():
    backbone, _ = build_backbone("resnet18-w8")
    for stage in (0, 5):
        with pytest.raises(ConfigError, match=f"stage: {stage} is no stage of this network. Give 1 to 4"):
            UpToStage(backbone, stage)
    with pytest.raises(ConfigError, match="Its last features alone can be had"):
        UpToStage(torch.nn.Flatten(), 1)


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
