"""Target layers: the families' rules, the rule for other models, overrides and layouts."""

import pytest
import timm
import torch
import torchvision
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.fastvit import FastVit
from timm.models.metaformer import MetaFormer, SepConv
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vgg import VGG
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import (
    TargetLayer,
    channel_axis,
    check_output,
    frozen,
    resolve_target_layer,
    to_nchw,
)

torch.set_num_threads(1)


def _resnet() -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5, channels=(8, 8, 16, 16), stem_width=8)


def _fastvit() -> FastVit:
    return FastVit(
        layers=(1, 1),
        embed_dims=(8, 16),
        mlp_ratios=(2, 2),
        token_mixers=("repmixer", "repmixer"),
        downsamples=(False, True),
        num_classes=5,
    )


def _swin() -> SwinTransformer:
    return SwinTransformer(
        img_size=32, patch_size=2, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2), num_classes=5
    )


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (_resnet, "layer4"),
        (lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5), "stages.3"),
        (lambda: MetaFormer(depths=(1, 1), dims=(8, 16), token_mixers=SepConv, num_classes=5), "stages.1"),
        (_fastvit, "final_conv"),
        (lambda: VGG([8, "M", 8, 16, "M"], num_classes=5), "features.6"),
        (lambda: VGG([8, "M", 8, 16, "M"], num_classes=5, norm_layer=nn.BatchNorm2d), "features.9"),
        (
            lambda: torchvision.models.VGG(torchvision.models.vgg11().features, init_weights=False),
            "features.19",
        ),
        (lambda: timm.create_model("vit_tiny_patch16_224", depth=3), "blocks.2.norm1"),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224", depth=3), "blocks.2.norm1"),
    ],
    ids=["resnet", "convnext", "metaformer", "fastvit", "vgg", "vgg_bn", "torchvision_vgg", "vit", "deit"],
)
def test_families(build, path):
    with torch.device("meta"):
        model = build()
    layer = resolve_target_layer(model)
    assert layer.path == path
    assert layer.module is model.get_submodule(path)


def test_vgg_layer_is_the_activation_before_the_last_pooling():
    model = VGG([8, "M", 8, 16, "M"], num_classes=5)
    layer = resolve_target_layer(model)
    assert isinstance(layer.module, nn.ReLU)
    assert isinstance(model.features[7], nn.MaxPool2d)


def _entering_pooling(model: nn.Module, pooling: nn.Module, images: torch.Tensor) -> torch.Tensor:
    seen = []
    handle = pooling.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return seen[0]


def test_other_models_take_what_enters_the_pooling():
    """The rule's layer yields the very tensor that the pooling receives, whatever its layout."""
    torch.manual_seed(0)
    blocks = [["ds_r1_k3_s1_e1_c8"], ["ir_r1_k3_s2_e2_c16_se0.25"]]
    efficientnet = EfficientNet(decode_arch_def(blocks), num_classes=5, num_features=24, stem_size=8)
    resnet = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    swin = _swin()
    cases = [
        (efficientnet, efficientnet.global_pool, 32, "nchw", "bn2"),
        (resnet, resnet.avgpool, 64, "nchw", "layer4"),
        (swin, swin.head.global_pool, 32, "nhwc", "norm"),
    ]
    for model, pooling, size, layout, path in cases:
        images = torch.randn(2, 3, size, size)
        layer = resolve_target_layer(model, size=size)
        outputs = []
        handle = layer.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))  # noqa: B023
        entering = _entering_pooling(model, pooling, images)
        handle.remove()
        assert layer.path == path
        torch.testing.assert_close(outputs[0], entering, rtol=0, atol=0)
        assert check_output(outputs[0], layer, 2) == layout


def test_search_leaves_no_trace():
    model = _swin()
    model.train()
    model.layers.eval()
    model.norm.weight.requires_grad_(False)
    modes = {name: module.training for name, module in model.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    resolve_target_layer(model, size=32)
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert flags == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert not any(module._forward_hooks for module in model.modules())


def _mixer() -> MlpMixer:
    return MlpMixer(img_size=32, patch_size=8, embed_dim=16, num_blocks=1, num_classes=5)


class _ClassToken(nn.Module):
    """A transformer that timm does not have, and that reads its class token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.first = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, norm_first=True)
        self.before = nn.LayerNorm(12)
        self.qkv = nn.Linear(12, 36)
        self.after = nn.LayerNorm(12)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).mT
        x = self.first(torch.cat([x.mean(1, keepdim=True), x], 1))
        q, k, v = self.qkv(self.before(x)).chunk(3, 2)
        return self.fc(self.after(x + (q @ k.mT).softmax(-1) @ v)[:, 0])


@pytest.mark.parametrize(
    ("build", "path"),
    # A classifier of zeros, with which timm's mixer starts, hides no layer.
    [(_mixer, "norm"), (_ClassToken, "before"), (lambda: timm.create_model("pvt_v2_b0"), "stages")],
    ids=["all tokens are read", "the class token is read", "feature maps between tokens"],
)
def test_the_last_tokens_that_are_heard(build, path):
    torch.manual_seed(0)
    model = build()
    layer = resolve_target_layer(model, size=32 if path != "stages" else 64)
    assert layer.path == path
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_module_that_runs_twice_is_no_default():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.relu, self.fc = nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))

    assert resolve_target_layer(Twice(), size=32).path == "second"


class _Branches(nn.Module):
    """A block whose branches have positions, while what it returns has one."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 4))
        self.other = nn.Conv2d(8, 8, 4)

    def forward(self, x):
        return self.one(x) + self.other(x)


class _Residual(nn.Module):
    """A network that adds up by itself, so that no module returns the sum."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.fc((x + self.block(x)).mean((2, 3)))


def test_feature_maps_of_one_branch_are_no_default():
    torch.manual_seed(0)
    trunk = [nn.Conv2d(3, 8, 4, 4), nn.ReLU()]
    model = nn.Sequential(*trunk, _Branches(), nn.Flatten(), nn.Linear(8, 5))
    assert resolve_target_layer(model, size=16).path == "1"
    # On larger images the block itself has positions; and where there is no block, its last part is as good as any.
    model = nn.Sequential(*model[:3], nn.AdaptiveAvgPool2d(1), *model[3:])
    assert resolve_target_layer(model, size=32).path == "2"
    assert resolve_target_layer(_Residual(), size=16).path == "block"


class _Forked(nn.Module):
    """A network with feature maps that finish last and are not what is explained."""

    def __init__(self, kind):
        super().__init__()
        self.body, self.fc, self.kind = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5), kind
        self.aside = nn.Conv2d(3 if kind == "branch" else 8, 1 if kind == "gate" else 8, 3, 1, 1)

    def forward(self, x):
        body = self.body(x)
        aside = self.aside(x if self.kind == "branch" else body)
        if self.kind == "gate":
            body = body * aside.sigmoid()
        pooled = body.mean((2, 3))
        return self.fc(pooled + aside.mean((2, 3)) if self.kind == "branch" else pooled)


@pytest.mark.parametrize("kind", ["gate", "unused"])
def test_gates_and_what_is_aside_are_no_default(kind):
    assert resolve_target_layer(_Forked(kind), size=16).path == "body"


def test_branches_without_a_common_layer_have_no_default():
    with pytest.raises(
        CamstudyError, match=r"its last feature maps, of `aside`, are of one of several branches .*; name"
    ):
        resolve_target_layer(_Forked("branch"), size=16)
    assert resolve_target_layer(_Forked("branch"), "aside", size=16).path == "aside"


def test_networks_without_positions_have_no_default():
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Linear(32, 7)
            self.fc = nn.Linear(42, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rows(x.reshape(len(x), 6, 32)).flatten(1))

    with pytest.raises(CamstudyError, match=r"Flat has no default; .* `rows`, has shape \(1, 6, 7\), not that of sq"):
        resolve_target_layer(Flat(), size=8)


@pytest.mark.parametrize(
    ("name", "registers", "prefix"),
    [("vit_tiny_patch16_224", 0, 1), ("deit_tiny_distilled_patch16_224", 0, 2), ("vit_tiny_patch16_224", 4, 5)],
)
def test_tokens_of_positions_are_the_patches(name, registers, prefix):
    """The grid holds each patch in its place: a change of one patch of the image changes that place first."""
    torch.manual_seed(0)
    model = timm.create_model(name, depth=1, reg_tokens=registers).eval()
    assert model.num_prefix_tokens == prefix
    size = model.patch_embed.img_size[0]
    layer, outputs = resolve_target_layer(model), []
    layer.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    images = torch.randn(2, 3, size, size)
    images[1] = images[0]
    images[1, :, 32:48, 80:96] += 1
    with torch.no_grad():
        model(images)
    grid = to_nchw(outputs[0], check_output(outputs[0], layer, 2))
    assert grid.shape == (2, model.embed_dim, size // 16, size // 16)
    changed = (grid[0] != grid[1]).any(0).nonzero().tolist()
    assert changed == [[2, 5]]


def test_overrides():
    model = _resnet()
    assert resolve_target_layer(model, "layer3.0.conv2") == TargetLayer("layer3.0.conv2", model.layer3[0].conv2, None)
    stated = resolve_target_layer(model, {"path": "layer3", "layout": "nchw"})
    assert stated == TargetLayer("layer3", model.layer3, "nchw")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("layer5", r"ResNet has no module `layer5`; .*`layer[1-4]`"),
        ("qqqq", r"no module `qqqq`; .*`conv1`.*`layer4`"),
        ("", r"no module ``"),
        ({"layout": "nhwc"}, r"no module `None`"),
        ({"path": "layer4", "layuot": "nchw"}, r"`layuot`, did you mean `layout`\?"),
        ({"path": "layer4", "layout": "nchv"}, r"`nchv`, did you mean `nchw`\?"),
    ],
)
def test_wrong_overrides(override, message):
    with pytest.raises(CamstudyError, match=message):
        resolve_target_layer(_resnet(), override)


@pytest.mark.parametrize(
    ("shape", "stated", "layout"),
    [
        ((2, 16, 7, 7), None, "nchw"),
        ((2, 7, 7, 16), None, "nhwc"),
        ((2, 7, 7, 7), "nhwc", "nhwc"),
        ((2, 7, 7, 7), "nchw", "nchw"),
        ((2, 16, 1, 1), None, "nchw"),
        ((2, 50, 16), None, "tokens"),
        ((2, 50, 16), "tokens", "tokens"),
    ],
)
def test_layout_of_an_output(shape, stated, layout):
    assert check_output(torch.zeros(shape), TargetLayer("a.b", nn.Identity(), stated), 2) == layout


@pytest.mark.parametrize(
    ("output", "stated", "message"),
    [
        (torch.zeros(2, 7, 7, 7), None, r"`a.b`: layout not stated.*fits nchw and nhwc"),
        (torch.zeros(2, 7, 7, 16), "nchw", r"layout nchw, but .*\(2, 7, 7, 16\) fits nhwc"),
        (torch.zeros(2, 16, 7, 7), "nhwc", r"layout nhwc, but .* fits nchw"),
        (torch.zeros(2, 5, 6, 7), None, r"fits none"),
        (torch.zeros(2, 49, 16), "nchw", r"layout nchw, but .*\(2, 49, 16\) fits tokens"),
        (torch.zeros(2, 16, 7, 7), "tokens", r"layout tokens, but .* fits nchw"),
        (torch.zeros(2, 47, 16), None, r"\(2, 47, 16\) fits none"),
        (torch.zeros(2, 16), None, r"must be 4-D.*shape \(2, 16\)"),
        (torch.zeros(8, 16, 7, 7), None, r"one per image \(n = 2\)"),
        ((torch.zeros(2, 16, 7, 7),), None, r"is a tuple"),
    ],
)
def test_outputs_that_cannot_be_explained(output, stated, message):
    with pytest.raises(CamstudyError, match=message):
        check_output(output, TargetLayer("a.b", nn.Identity(), stated), 2)


def test_to_nchw_moves_the_channels():
    tensor = torch.arange(2 * 3 * 3 * 5.0).reshape(2, 3, 3, 5)
    moved = to_nchw(tensor, "nhwc")
    assert moved.shape == (2, 5, 3, 3)
    assert moved[1, 4, 0, 2] == tensor[1, 0, 2, 4]
    assert to_nchw(tensor, "nchw") is tensor


def test_to_nchw_drops_the_tokens_that_are_no_positions():
    tensor = torch.arange(2 * 11 * 5.0).reshape(2, 11, 5)  # two class tokens and 3x3 positions
    grid = to_nchw(tensor, "tokens")
    assert grid.shape == (2, 5, 3, 3)
    assert grid[1, 4, 0, 2] == tensor[1, 4, 4]
    assert grid[0, 1, 2, 0] == tensor[0, 8, 1]


@pytest.mark.parametrize(("layout", "shape"), [("nchw", (2, 5, 3, 3)), ("nhwc", (2, 3, 3, 5)), ("tokens", (2, 10, 5))])
def test_axis_of_the_channels(layout, shape):
    assert shape[channel_axis(layout)] == 5


def test_frozen_restores_after_an_exception():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[2].eval()
    model[0].bias.requires_grad_(False)

    def work():
        with frozen(model):
            assert not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        work()
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


@pytest.mark.parametrize(
    ("build", "paths"),
    [
        (_resnet, ["layer1", "layer2", "layer3", "layer4"]),
        (
            lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5),
            [f"stages.{index}" for index in range(4)],
        ),
        (
            lambda: MetaFormer(depths=(1, 1, 1), dims=(8, 16, 24), token_mixers=SepConv, num_classes=5),
            [f"stages.{index}" for index in range(3)],
        ),
        (_fastvit, ["stages.0", "stages.1"]),
    ],
    ids=["resnet", "convnext", "metaformer", "fastvit"],
)
def test_stages_halve_the_image_and_count_from_either_end(build, paths):
    with torch.device("meta"):
        model = build().eval()
    seen = {}
    for stage, path in enumerate(paths, 1):
        layer = resolve_target_layer(model, "stem", stage=stage)  # whatever the override
        assert layer == TargetLayer(path, model.get_submodule(path), "nchw")
        assert resolve_target_layer(model, stage=stage - 1 - len(paths)) == layer
        layer.module.register_forward_hook(lambda _, __, output, stage=stage: seen.update({stage: output}))
    with torch.no_grad():
        model(torch.zeros(1, 3, 128, 128, device="meta"))
    for stage, path in enumerate(paths, 1):
        assert check_output(seen[stage], TargetLayer(path, model, "nchw"), 1) == "nchw"
        assert seen[stage].shape[2:] == (32 >> (stage - 1),) * 2


@pytest.mark.parametrize(
    ("build", "stage", "message"),
    [
        (_fastvit, 3, "found 3, but FastVit has the stages 1 to 2, or -2 to -1 counted from the last"),
        (_resnet, -5, "found -5, but ResNet has the stages 1 to 4"),
        (_resnet, 0, "found 0, but"),
        (_swin, 1, "of SwinTransformer it is not known what its stages are"),
    ],
)
def test_stages_that_are_not_there(build, stage, message):
    with pytest.raises(CamstudyError, match=message):
        resolve_target_layer(build(), stage=stage)
