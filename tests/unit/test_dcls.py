"""DCLS: kernels against the dcls package, conversion against what it replaces, and the package's traps."""

import copy
import logging
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from DCLS.construct.modules import ConstructKernel2d, Dcls2d
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from timm.models.metaformer import MetaFormer, SepConv
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.build import parameter_count
from camstudy.models.variants import dcls

torch.set_num_threads(1)

RANDOM = {"replace": "depthwise", "kernel_size": 9, "kernel_count": 5, "version": "v1", "init": "random"}


def resnet() -> nn.Module:
    # timm's stem is 64 wide whatever the stages are; output_stride 16 dilates the last stage.
    return ResNet(BasicBlock, (1, 2, 1, 1), num_classes=5, channels=(64, 66, 68, 70), output_stride=16)


def convnext() -> nn.Module:
    return ConvNeXt(num_classes=5, depths=(1, 1, 2, 1), dims=(8, 12, 16, 20), ls_init_value=None)


def metaformer() -> nn.Module:
    return MetaFormer(num_classes=5, depths=(1, 2, 1), dims=(8, 12, 16), token_mixers=SepConv)


def fastvit() -> nn.Module:
    return FastVit(
        num_classes=5,
        layers=(1, 1, 2),
        token_mixers=("repmixer",) * 3,
        embed_dims=(8, 16, 32),
        mlp_ratios=(2, 2, 2),
        downsamples=(False, True, True),
    )


FAMILIES = {
    "resnet": (resnet, "conv3x3"),
    "convnext": (convnext, "depthwise"),
    "metaformer": (metaformer, "depthwise"),
    "fastvit": (fastvit, "depthwise_7x7"),
}


def depthwise(kernel: int = 7, channels: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(
        channels, channels, kernel, padding=options.pop("padding", kernel // 2), groups=channels, **options
    )


def seeded(build):
    torch.manual_seed(0)
    return build()


def settled(build) -> nn.Module:
    """Return a model in evaluation mode whose norms have statistics of their own."""
    model = seeded(build).train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
    return model.eval()


def package_kernel(layer: Dcls2d) -> torch.Tensor:
    """Build the dense kernel with the dcls package itself."""
    size = layer.dilated_kernel_size
    build = ConstructKernel2d(
        layer.out_channels, layer.in_channels, layer.groups, layer.kernel_count, size, layer.version
    )
    return build(layer.weight, layer.P, layer.SIG)


def embedded(conv: nn.Conv2d, size: int) -> torch.Tensor:
    """Return a convolution's kernel with its dilation written out, in the middle of a square of zeros."""
    d = conv.dilation[0]
    extent = (conv.kernel_size[0] - 1) * d + 1
    start = (size - extent) // 2
    dense = torch.zeros(*conv.weight.shape[:2], size, size)
    dense[..., start : start + extent : d, start : start + extent : d] = conv.weight.detach()
    return dense


# ---- kernels


@pytest.mark.parametrize("version", dcls.VERSIONS)
@pytest.mark.parametrize("positions", ["inside", "integer", "outside"])
def test_kernel_and_gradients_equal_those_of_the_package(version, positions):
    torch.manual_seed(1)
    (layer,) = dcls.convert(nn.Sequential(depthwise()), **(RANDOM | {"version": version}))
    with torch.no_grad():
        layer.P.copy_(torch.randn_like(layer.P) * (6 if positions == "outside" else 2))
        if positions == "integer":
            layer.P.round_()
        if layer.SIG is not None:
            layer.SIG.copy_(torch.randn_like(layer.SIG))
    cotangent = torch.randn(3, 1, 9, 9)
    parameters = [p for p in (layer.weight, layer.P, layer.SIG) if p is not None]
    ours, theirs = layer.DCK(layer.weight, layer.P, layer.SIG), package_kernel(layer)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for mine, other in zip(
        torch.autograd.grad(ours, parameters, cotangent),
        torch.autograd.grad(theirs, parameters, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("version", "position"), [("v0", (2, -1)), ("v1", (-1, 2)), ("gauss", (-1, 2))])
def test_axis_order_of_each_version(version, position):
    """An element two rows down and one column left: (row, column) for v0, (column, row) otherwise."""
    (layer,) = dcls.convert(nn.Sequential(depthwise()), **(RANDOM | {"version": version, "kernel_count": 1}))
    with torch.no_grad():
        layer.P.copy_(torch.tensor(position, dtype=torch.float32).reshape(2, 1, 1, 1).expand_as(layer.P))
        layer.weight.fill_(1)
    folded = dcls.fold(nn.Sequential(layer))[0]
    for kernel in (folded.weight[0, 0], package_kernel(layer)[0, 0]):
        assert divmod(int(kernel.argmax()), 9) == (4 + 2, 4 - 1)


def test_kernel_stays_float32_under_autocast():
    (layer,) = dcls.convert(nn.Sequential(depthwise()), **RANDOM)
    expected = package_kernel(layer)
    with torch.autocast("cpu", torch.bfloat16):
        kernel = layer.DCK(layer.weight, layer.P, layer.SIG)
    assert kernel.dtype == torch.float32
    torch.testing.assert_close(kernel, expected, atol=1e-7, rtol=1e-5)


# ---- which layers, which sharing


@pytest.mark.parametrize(
    ("name", "replace", "version", "size", "count", "baseline", "converted", "layers", "positions"),
    [
        ("resnet50", "conv3x3", "v0", 7, 5, 25.557, 24.009, 16, 4),
        ("convnext_tiny", "depthwise", "v0", 17, 34, 28.589, 28.588, 18, 4),
        ("caformer_s18", "depthwise", "v1", 17, 34, 26.342, 26.350, 6, 2),
        ("convformer_s18", "depthwise", "v1", 17, 40, 26.774, 26.848, 18, 4),
        ("fastvit_sa24", "depthwise_7x7", "v1", 17, 34, 21.554, 21.523, 25, 4),
    ],
)
def test_parameter_counts_of_the_published_models(
    name, replace, version, size, count, baseline, converted, layers, positions
):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert round(parameter_count(model) / 1e6, 3) == baseline
    dcls.convert(model, replace=replace, kernel_size=size, kernel_count=count, version=version, init="random")
    assert round(parameter_count(model) / 1e6, 3) == converted
    assert len(list(dcls.dcls_layers(model))) == layers
    assert len(dcls.position_parameters(model)) == positions


def test_layers_of_a_stage_share_by_shape_and_dilation():
    model = dcls.convert(seeded(resnet), **(RANDOM | {"replace": "conv3x3", "version": "gauss"}))
    sharing = {}
    for name, module in model.named_modules():
        if isinstance(module, Dcls2d):
            sharing.setdefault((id(module.P), id(module.SIG)), []).append(name)
    # The convolution that widens a stage has a shape of its own; in the dilated stage 4 as well.
    assert sorted(sharing.values()) == [
        ["layer1.0.conv1", "layer1.0.conv2"],
        ["layer2.0.conv1"],
        ["layer2.0.conv2", "layer2.1.conv1", "layer2.1.conv2"],
        ["layer3.0.conv1"],
        ["layer3.0.conv2"],
        ["layer4.0.conv1"],
        ["layer4.0.conv2"],
    ]
    assert len(dcls.position_parameters(model)) == 2 * 7


def test_dilations_do_not_share():
    """`preserve` puts positions on the taps, which dilation moves apart."""
    model = nn.Sequential(depthwise(3), depthwise(3, dilation=2, padding=2), depthwise(3))
    first, dilated, last = dcls.convert(model, **RANDOM)
    assert first.P is last.P
    assert first.P is not dilated.P


def test_fastvit_converts_what_its_study_converted():
    model = dcls.convert(seeded(fastvit), **(RANDOM | {"replace": "depthwise_7x7"}))
    converted = [name for name, module in model.named_modules() if isinstance(module, Dcls2d)]
    assert converted == [f"stages.{s}.blocks.{b}.mlp.conv.conv" for s, b in [(0, 0), (1, 0), (2, 0), (2, 1)]]


def test_a_module_registered_twice_is_replaced_twice():
    conv = depthwise()
    model = dcls.convert(nn.ModuleDict({"a": conv, "b": nn.Sequential(conv)}), **RANDOM)
    assert isinstance(model["a"], Dcls2d)
    assert model["b"][0] is model["a"]


# ---- initial values


def test_random_initialisation_is_that_of_the_released_code_and_repeatable():
    def build(seed=0):
        model = nn.Sequential(depthwise(channels=500), nn.BatchNorm2d(500), depthwise(channels=500))
        state = torch.get_rng_state()
        dcls.convert(model, **(RANDOM | {"seed": seed}))
        assert torch.equal(torch.get_rng_state(), state)
        return model

    first, _, second = build()
    assert first.P is second.P
    assert first.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert second.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not first.bias.any()
    assert first.P.std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(build()[0].P, first.P)
    assert torch.equal(build()[2].weight, second.weight)
    assert not torch.equal(build(seed=1)[0].P, first.P)


def test_random_positions_are_clamped():
    (layer,) = dcls.convert(
        nn.Sequential(nn.Conv2d(60, 60, 3, padding=1)), **(RANDOM | {"replace": "conv3x3", "kernel_size": 3})
    )
    assert layer.P.abs().max() == 1


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("family", FAMILIES)
def test_preserve_with_enough_elements_is_the_same_function(family, version):
    build, replace = FAMILIES[family]
    model = settled(build)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        count = 9 if replace == "conv3x3" else 50
        dcls.convert(model, replace=replace, kernel_size=9, kernel_count=count, version=version, init="preserve")
        found = model(images)
    assert any(dcls.dcls_layers(model))
    # v1 spills 2^-16 of the weights between the taps of the dilated stage.
    tolerance = 1e-3 if (family, version) == ("resnet", "v1") else 1e-5
    torch.testing.assert_close(found, expected, atol=tolerance * float(expected.std()), rtol=0)


@pytest.mark.parametrize(
    "conv",
    [
        depthwise(7),
        depthwise(3, dilation=4, padding=4),
        depthwise(5, padding="same", bias=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Conv2d(6, 6, (1, 9), padding=(0, 4), groups=6, padding_mode="circular"),
    ],
    ids=["7x7", "dilated", "same", "strided", "1x9"],
)
@pytest.mark.parametrize(("version", "tolerance"), [("v0", 0), ("v1", 0), ("gauss", 0.01)])
def test_preserved_layer_equals_its_convolution(conv, version, tolerance):
    torch.manual_seed(2)
    conv.reset_parameters()
    replace = "conv3x3" if conv.groups == 1 else "depthwise"
    options = {"kernel_size": 11, "kernel_count": 60, "version": version, "init": "preserve"}
    (layer,) = dcls.convert(nn.Sequential(copy.deepcopy(conv)), replace=replace, **options)
    images = torch.randn(2, conv.in_channels, 17, 17)
    if version == "v1" and (conv.dilation != (1, 1) or 1 in conv.kernel_size):
        tolerance = 2e-4  # 2^-16 of each weight falls beside the taps
    with torch.no_grad():
        assert (layer(images) - conv(images)).abs().max() <= tolerance + 1e-6
    if conv.kernel_size == (7, 7) and version == "v0":
        assert torch.equal(package_kernel(layer), embedded(conv, 11))
    assert (layer.bias is None) == (conv.bias is None)


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_preserve_with_fewer_elements_keeps_the_strongest_taps_of_all_sharing_layers(version):
    torch.manual_seed(3)
    convs = [depthwise(5, channels=4, dilation=2, padding=4) for _ in range(3)]
    model = nn.Sequential(*copy.deepcopy(convs))
    dcls.convert(model, **(RANDOM | {"kernel_size": 11, "kernel_count": 6, "version": version, "init": "preserve"}))
    assert len(dcls.position_parameters(model)) == 1
    kernels = np.stack([embedded(conv, 11).numpy() for conv in convs])
    for channel in range(4):
        energy = (kernels[:, channel, 0] ** 2).sum(0)
        strongest = np.argsort(energy.ravel())[::-1][:6]
        mask = np.zeros(121, bool)
        mask[strongest] = True
        for layer, kernel in zip(model, kernels, strict=True):
            expected = np.where(mask.reshape(11, 11), kernel[channel, 0], 0)
            found = package_kernel(layer)[channel, 0].detach().numpy()
            np.testing.assert_allclose(found, expected, atol=1e-5)
    for layer, conv in zip(model, convs, strict=True):
        assert torch.equal(layer.bias, conv.bias)


@pytest.mark.parametrize("count", [4, 9])
def test_preserve_gauss_is_the_least_squares_fit(count):
    """Against numpy's lstsq on Gaussians written out pixel by pixel."""
    torch.manual_seed(4)
    conv = depthwise(3, channels=2)
    options = RANDOM | {
        "version": "gauss",
        "kernel_count": count,
        "init": "preserve",
        "kernel_size": 5,
        "width": 0.6,
    }
    (layer,) = dcls.convert(nn.Sequential(copy.deepcopy(conv)), **options)
    torch.testing.assert_close(layer.SIG, torch.full_like(layer.SIG, 0.6 - 0.27))
    target = embedded(conv, 5).numpy()
    rows, columns = np.mgrid[-2:3, -2:3]
    for channel in range(2):
        basis = []
        for x, y in layer.P[:, channel, 0].detach().numpy().T:
            gaussian = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 0.6**2))
            basis.append(gaussian.ravel() / gaussian.sum())
        best, *_ = np.linalg.lstsq(np.stack(basis, 1), target[channel].ravel(), rcond=None)
        np.testing.assert_allclose(layer.weight[channel, 0].detach().numpy(), best, atol=1e-4)


@pytest.mark.parametrize("version", dcls.VERSIONS)
@pytest.mark.parametrize("count", [10, 25])
def test_preserved_positions_can_learn(version, count):
    (layer,) = dcls.convert(
        nn.Sequential(seeded(lambda: depthwise(5))),
        **(RANDOM | {"version": version, "kernel_count": count, "init": "preserve"}),
    )
    layer(torch.randn(2, 3, 16, 16)).square().sum().backward()
    for parameter in dcls.position_parameters(layer):
        assert parameter.grad.abs().min() > 0
    assert layer.weight.grad.abs().min() > 0


def test_elements_left_over_have_no_weight_and_random_positions():
    (layer,) = dcls.convert(nn.Sequential(depthwise(3)), **(RANDOM | {"kernel_count": 20, "init": "preserve"}))
    assert torch.count_nonzero(layer.weight[..., 9:]) == 0
    left_over = layer.P[..., 9:]
    assert left_over.std().item() == pytest.approx(0.5, rel=0.3)
    layer(torch.randn(1, 3, 16, 16)).square().sum().backward()
    assert layer.weight.grad[..., 9:].abs().min() > 0


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 8}, r"dcls.kernel_size: found 8; .* use 9"),
        ({"kernel_size": [9, 7]}, r"dcls.kernel_size: found \[9, 7\]; kernels are square"),
        ({"kernel_size": 5}, r"dcls.kernel_size: 5 is smaller than layer `0`, .* 7x7 pixels; use 7 or more"),
        ({"kernel_size": -3}, r"dcls.kernel_size: found -3"),
        ({"kernel_count": 0}, r"dcls.kernel_count: found 0; use 1 to 81"),
        ({"kernel_count": 82}, r"dcls.kernel_count: found 82; use 1 to 81"),
        ({"kernel_count": 4.5}, r"dcls.kernel_count: found 4.5"),
        ({"version": "max"}, r"`max` is not offered: .* gradient is zero.* use v1"),
        ({"version": "gaus"}, r"unknown dcls.version `gaus`, did you mean `gauss`"),
        ({"init": "preserved"}, r"unknown dcls.init `preserved`, did you mean `preserve`"),
        ({"replace": "depthwize"}, r"unknown dcls.replace `depthwize`, did you mean `depthwise`"),
        ({"replace": "conv3x3"}, r"`conv3x3` matches no layer; .* 1 of 7x7 depthwise, 1 of 1x1 groups 1"),
        ({"version": "gauss", "width": 0.2}, r"dcls.width: found 0.2; use more than 0.27"),
    ],
)
def test_impossible_options_are_refused(options, message):
    model = nn.Sequential(depthwise(), nn.Conv2d(3, 3, 1))
    with pytest.raises(CamstudyError, match=message):
        dcls.convert(model, **(RANDOM | options))


class Standardised(nn.Conv2d):
    def forward(self, images):
        return self._conv_forward(images, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (depthwise(padding=0), r"layer `0` .* pads by \(0, 0\)"),
        (depthwise(padding="valid"), r"layer `0` .* pads by valid"),
        (depthwise(4, padding="same"), r"layer `0` extends over 4x4 .* odd extent"),
        (depthwise(5, dilation=3, padding=6), r"13x13 pixels; use 13 or more"),
        (Standardised(3, 3, 3, padding=1, groups=3), r"layer `0` is a Standardised"),
    ],
)
def test_convolutions_that_dcls_cannot_stand_in_for_are_refused(conv, message):
    with pytest.raises(CamstudyError, match=message):
        dcls.convert(nn.Sequential(conv), **RANDOM)


def test_model_without_convolutions_is_refused():
    with pytest.raises(CamstudyError, match="the model has no convolution"):
        dcls.convert(nn.Sequential(nn.Linear(2, 2)), **RANDOM)


# ---- folding


@pytest.mark.parametrize("version", dcls.VERSIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_folded_model_equals_the_unfolded_one(family, version):
    build, replace = FAMILIES[family]
    model = settled(build)
    dcls.convert(model, **(RANDOM | {"replace": replace, "version": version}))
    images = torch.randn(2, 3, 64, 64)
    folded = dcls.fold(model)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(folded(images), expected, atol=1e-6 * max(1, float(expected.abs().max())), rtol=0)
    assert any(dcls.dcls_layers(model))
    assert not any(dcls.dcls_layers(folded))
    assert not dcls.position_parameters(folded)
    assert not folded.training
    before = dcls.fold(model).state_dict()
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in dcls.fold(model).state_dict().items())


def test_fold_of_a_bare_layer_draws_no_random_numbers():
    layer = dcls.convert(depthwise(bias=False), **RANDOM)
    assert isinstance(layer, Dcls2d)
    state = torch.get_rng_state()
    folded = dcls.fold(layer)
    assert type(folded) is nn.Conv2d
    assert folded.bias is None
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_built_by_the_package_itself_fold_too():
    torch.manual_seed(6)
    model = nn.Sequential(Dcls2d(3, 6, 4, dilated_kernel_size=7, padding=3, version="max", use_implicit_gemm=False))
    images = torch.randn(1, 3, 9, 9)
    expected = model(images)
    torch.testing.assert_close(dcls.fold(model)(images), expected, atol=1e-6, rtol=0)
    assert dcls.fold(model.to("meta"))(images.to("meta")).shape == expected.shape  # its cached grids stay behind


# ---- traps of the package


@pytest.mark.parametrize("version", dcls.VERSIONS)
def test_half_precision(version):
    """The package's v0 fails after `.half()`; ours runs, and folding first keeps positions exact."""
    torch.manual_seed(7)
    model = dcls.convert(nn.Sequential(depthwise()), **(RANDOM | {"version": version}))
    images = torch.randn(1, 3, 12, 12)
    exact = model(images).detach()
    torch.testing.assert_close(dcls.fold(model).half()(images.half()).float(), exact, atol=1e-3, rtol=0)
    halved = copy.deepcopy(model).half()
    found = halved(images.half())
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), exact, atol=5e-3, rtol=0)
    assert dcls.fold(halved)[0].weight.dtype == torch.float16
    torch.testing.assert_close(dcls.fold(halved)(images.half()), found, atol=1e-3, rtol=0)
    if version == "v0":
        halved[0].DCK = ConstructKernel2d(3, 3, 3, 5, (9, 9), "v0")
        with pytest.raises(RuntimeError):
            halved(images.half())


@pytest.mark.parametrize("version", dcls.VERSIONS)
def test_moving_after_a_forward_pass(version):
    model = dcls.convert(nn.Sequential(depthwise()), **(RANDOM | {"version": version}))
    images = torch.randn(1, 3, 12, 12)
    expected = model(images)
    torch.testing.assert_close(model.double()(images.double()).float(), expected, atol=1e-6, rtol=1e-5)
    assert not [value for part in model.modules() for value in vars(part).values() if torch.is_tensor(value)]
    if torch.cuda.is_available():
        moved = model.to("cuda", torch.float32)(images.cuda()).cpu()
        torch.testing.assert_close(moved, expected, atol=1e-3, rtol=1e-3)  # cuDNN may use TF32

    raw = Dcls2d(3, 3, 4, dilated_kernel_size=7, padding=3, version=version, use_implicit_gemm=False)
    raw(images)
    raw.to("meta")
    with pytest.raises(RuntimeError):
        raw(images.to("meta"))
    dcls.reset_caches(raw)
    assert raw(images.to("meta")).shape == images.shape


def test_nothing_is_logged_or_printed_and_other_logs_pass(caplog, capfd):
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        dcls.fold(dcls.convert(nn.Sequential(depthwise()), **RANDOM))
        assert not caplog.records
        logging.warning("another's record")
    assert [record.message for record in caplog.records] == ["another's record"]
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_import_and_conversion_are_silent_in_a_fresh_process():
    code = (
        "import logging; from torch import nn; from camstudy.models.variants import dcls\n"
        "dcls.convert(nn.Conv2d(2, 2, 3, padding=1, groups=2), replace='depthwise', kernel_size=5,"
        " kernel_count=2, version='v1', init='random')\n"
        "assert not logging.getLogger().handlers"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_sharing_survives_deepcopy_and_state_dict():
    def build(seed):
        return dcls.convert(seeded(convnext), **(RANDOM | {"version": "gauss", "seed": seed}))

    source, target = build(1), build(2)
    pointers = [(id(layer.P), id(layer.SIG)) for layer in dcls.dcls_layers(target)]
    target.load_state_dict(source.state_dict())
    assert [(id(layer.P), id(layer.SIG)) for layer in dcls.dcls_layers(target)] == pointers
    for mine, other in zip(target.parameters(), source.parameters(), strict=True):
        assert torch.equal(mine, other)
    twin = copy.deepcopy(target)
    assert parameter_count(twin) == parameter_count(target)
    a, b = [layer for layer in dcls.dcls_layers(twin) if layer.in_channels == 16]
    assert a.P is b.P
    assert a.SIG is b.SIG
    assert a.P is not next(layer for layer in dcls.dcls_layers(target) if layer.in_channels == 16).P


# ---- positions


def test_clamp_moves_outsiders_to_the_border_only():
    (layer, _) = model = dcls.convert(nn.Sequential(depthwise(), depthwise()), **RANDOM)
    with torch.no_grad():
        layer.P.copy_(torch.randn_like(layer.P) * 5)
    expected = np.clip(layer.P.detach().numpy(), -4, 4)
    dcls.clamp_positions(model)
    np.testing.assert_array_equal(layer.P.detach().numpy(), expected)
    assert layer.P.requires_grad


@pytest.mark.parametrize("count", [1, 2, 6])
def test_repulsive_loss_equals_plain_loops(count):
    torch.manual_seed(8)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1))
    dcls.convert(model, **(RANDOM | {"replace": "conv3x3", "kernel_count": count}))
    tensors = [layer.P.detach().numpy() for layer in model][:2]  # the last two layers share
    assert model[1].P is model[2].P
    overlaps = []
    for P in tensors:
        _, out, into, k = P.shape
        total = 0.0
        for o in range(out):
            for i in range(into):
                for a in range(k):
                    for b in range(a + 1, k):
                        total += max(0, 1 - np.hypot(*(P[:, o, i, a] - P[:, o, i, b])))
        overlaps.append(2 * total / (k * (k - 1) * out * into) if k > 1 else 0)
    loss = dcls.repulsive_loss(model)
    assert loss.item() == pytest.approx(np.mean(overlaps) ** 2, rel=1e-5)
    assert (loss.item() > 0) == (count > 1)


def test_repulsive_loss_has_finite_gradients_where_elements_coincide():
    (layer,) = model = dcls.convert(nn.Sequential(depthwise()), **RANDOM)
    with torch.no_grad():
        layer.P.zero_()
    loss = dcls.repulsive_loss(model)
    assert loss.item() == 1
    loss.backward()
    assert torch.isfinite(layer.P.grad).all()


def test_models_without_dcls_have_no_positions_and_no_repulsion():
    model = nn.Sequential(depthwise())
    dcls.clamp_positions(model)
    assert dcls.position_parameters(model) == []
    assert dcls.repulsive_loss(model).item() == 0
