"""CA-Stream: parameters and cost as published, blocks against the formula, what the network keeps and what it gains."""

import copy
import math

import pytest
import timm
import torch
import torchvision
from test_dcls import convnext, fastvit, metaformer, resnet
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from camstudy.core.errors import CamstudyError
from camstudy.models.build import apply_variants, build_model, fold_variants, parameter_count
from camstudy.models.cost import multiply_adds
from camstudy.models.variants.castream import CrossAttention, convert, through

torch.set_num_threads(1)

NETWORKS = {
    "resnet18": (lambda: timm.create_model("resnet18"), torchvision.models.resnet18),
    "resnet50": (lambda: timm.create_model("resnet50"), torchvision.models.resnet50),
    "convnext_small": (lambda: timm.create_model("convnext_small"), torchvision.models.convnext_small),
    "convnext_base": (lambda: timm.create_model("convnext_base"), torchvision.models.convnext_base),
}
# Parameters without and of the stream, and the stream's multiply-adds: sums over blocks of c c' + 2 c h w by hand.
PUBLISHED = {
    "resnet18": (11_689_512, 439_808, [(64, 56), (64, 56), (128, 28), (256, 14), (512, 7)]),
    "resnet50": (25_557_032, 6_969_152, [(64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7)]),
    "convnext_small": (50_223_688, 979_104, [(96, 56), (192, 28), (384, 14), (768, 7)]),
    "convnext_base": (88_591_464, 1_739_648, [(128, 56), (256, 28), (512, 14), (1024, 7)]),
}


def images(n: int = 2, side: int = 64, seed: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def settled(build, **options) -> tuple[nn.Module, nn.Module]:
    """Return a network in evaluation mode whose norms have statistics of their own, and a copy with a stream."""
    torch.manual_seed(0)
    model = build().train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
    model.eval()
    return model, convert(copy.deepcopy(model), **options)


def features_of(model: nn.Module, paths: list[str], inputs: torch.Tensor) -> list[torch.Tensor]:
    """Return what modules of a network give, in their order."""
    found = []
    handles = [
        model.get_submodule(path).register_forward_hook(lambda module, args, output: found.append(output))
        for path in paths
    ]
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return found


def plain_block(
    block: CrossAttention, features: torch.Tensor, token: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return next token and scores of one image by the formula, position by position."""
    channels, height, width = features.shape

    def linear(layer, vector):
        if layer is None:
            return vector
        return layer.weight @ vector + (0 if layer.bias is None else layer.bias)

    places = [features[:, row, column] for row in range(height) for column in range(width)]
    scores = torch.stack([token @ linear(block.key, place) for place in places]) / math.sqrt(channels)
    weights = scores.exp() / scores.exp().sum()
    pooled = sum(weight * linear(block.value, place) for weight, place in zip(weights, places, strict=True))
    return linear(block.out, pooled), scores.reshape(height, width)


# ---- parameters and cost


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("library", [0, 1], ids=["timm", "torchvision"])
def test_parameters_and_added_multiply_adds_of_the_published_networks(name, library):
    plain, added, places = PUBLISHED[name]
    with torch.device("meta"):
        model = NETWORKS[name][library]().eval()
    assert parameter_count(model) == plain
    without = multiply_adds(model, 224)
    model = convert(model)
    assert parameter_count(model) == plain + added
    assert parameter_count(model.stream) == added
    widths = [*(width for width, _ in places), places[-1][0]]
    expected = sum(width * after + 2 * width * side**2 for (width, side), after in zip(places, widths[1:], strict=True))
    found = multiply_adds(model, 224)
    assert (found.dense - without.dense, found.taps - without.taps) == (expected, expected)
    # Published as twice the multiply-adds, in millions.
    assert round(2 * expected / 1e6, 1) == {"resnet18": 3.2, "resnet50": 20.8, "convnext_small": 4.2}.get(name, 6.5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": 0}, 6_969_152),
        ({"start": 1}, 6_952_704),
        ({"start": 2}, 6_821_376),
        ({"start": 3}, 6_296_576),
        ({"start": 4}, 4_198_400),
        ({"start": 0, "bias": False}, 6_963_264),
        ({"start": 1, "bias": False}, 6_947_072),
        ({"start": 2, "bias": False}, 6_816_256),
        ({"start": 3, "bias": False}, 6_292_480),
        ({"start": 4, "bias": False}, 4_196_352),
        ({"block": "projca"}, 18_126_272),
        ({"token": "class_specific"}, 32_590_120 - 25_557_032),
    ],
)
def test_parameters_of_placements_and_designs(options, expected):
    # The head of a class-specific one is checked with numbers, which `meta` has none of.
    with torch.device("cpu" if "token" in options else "meta"):
        model = torchvision.models.resnet50()
    assert parameter_count(convert(model, **options).stream) == expected


@pytest.mark.parametrize("block", ["ca", "projca"])
def test_stated_multiply_adds_are_those_that_torch_counts(block):
    model, with_stream = settled(convnext, block=block)
    counts = []
    for each in (model, with_stream):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            each.requires_grad_(False)(images(1))
        counts.append(counter.get_total_flops() // 2)
    # torch's counter sees the product of query and bias of the keys, which biases are left out of here.
    biases = sum(each.width for each in with_stream.stream.blocks) if block == "projca" else 0
    difference = multiply_adds(with_stream, 64).dense - multiply_adds(model, 64).dense
    assert counts[1] - counts[0] == difference + biases


# ---- a block


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block", ["ca", "projca"])
def test_a_block_is_the_formula_and_torchs_attention(block, bias):
    torch.manual_seed(0)
    layer = CrossAttention(6, 9, block=block, bias=bias).double()
    features, token = torch.randn(3, 6, 4, 5, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    found, scores = layer(features, token)
    assert found.shape == (3, 9)
    assert scores.shape == (3, 4, 5)
    for i in range(3):
        expected = plain_block(layer, features[i], token[i])
        torch.testing.assert_close((found[i], scores[i]), expected, atol=1e-6, rtol=0)
    places = features.flatten(2).mT
    keys, values = (each(places) if each else places for each in (layer.key, layer.value))
    attended = layer.out(F.scaled_dot_product_attention(token[:, None], keys, values)[:, 0])
    torch.testing.assert_close(found, attended, atol=1e-6, rtol=0)


@pytest.mark.parametrize("block", ["ca", "projca"])
def test_gradients_of_a_block(block):
    torch.manual_seed(0)
    layer = CrossAttention(3, 4, block=block).double()
    features = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    token = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    weights = dict(layer.named_parameters())

    def run(features, token, *values):
        return torch.func.functional_call(layer, dict(zip(weights, values, strict=True)), (features, token))

    assert torch.autograd.gradcheck(run, (features, token, *weights.values()))


def test_scores_are_a_class_activation_map_with_the_token_as_weights():
    _, model = settled(resnet)
    scores = []
    last = model.stream.blocks[-1]
    last.register_forward_hook(lambda module, inputs, output: scores.append((*inputs, output[1])))
    with torch.no_grad():
        model(images())
    features, token, found = scores[0]
    weights = token / math.sqrt(features.shape[1])
    for i in range(2):
        expected = sum(weights[i, k] * features[i, k] for k in range(features.shape[1]))
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=1e-5)


# ---- the network


@pytest.mark.parametrize("build", [resnet, convnext, metaformer, fastvit], ids=lambda build: build.__name__)
@pytest.mark.parametrize("token", ["agnostic", "class_specific"])
def test_features_are_those_of_the_network_and_the_last_token_goes_to_its_head(build, token):
    model, changed = settled(build, token=token)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = images()
    pool = next(name for name, module in model.named_modules() if name.endswith("global_pool"))
    with torch.no_grad():
        (expected,), (found,) = (features_of(each, [f"{pool}"], inputs) for each in (model, changed))
        assert not torch.allclose(found, expected)
        kept = []
        handle = changed.get_submodule(pool).register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        logits = changed(inputs)
        handle.remove()
        torch.testing.assert_close(kept[0], model.forward_features(inputs), rtol=0, atol=0)
        torch.testing.assert_close(logits, model.forward_head(kept[0]).new_tensor(logits.tolist()))
        # The head with the last token in the place of the pooled vector.
        handle = model.get_submodule(pool).register_forward_hook(lambda module, args, output: found)
        torch.testing.assert_close(model(inputs), logits)
        handle.remove()
    after = changed.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("build", [resnet, convnext], ids=["resnet", "convnext"])
def test_uniform_attention_with_identity_projections_is_global_average_pooling(build):
    model, changed = settled(build, start=4 if build is resnet else 3)
    (block,) = changed.stream.blocks
    with torch.no_grad():
        # A token of zeros has equal scores everywhere.
        changed.stream.token.zero_()
        block.out.weight.copy_(torch.eye(block.width))
        block.out.bias.zero_()
        torch.testing.assert_close(changed(images()), model(images()), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("resnet", ["maxpool", "layer1", "layer2", "layer3", "layer4"]),
        ("convnext", ["stem", "stages.1.downsample", "stages.2.downsample", "stages.3"]),
        ("tv_resnet", ["maxpool", "layer1", "layer2", "layer3", "layer4"]),
        ("tv_convnext", ["features.0", "features.2", "features.4", "features.7"]),
    ],
)
@pytest.mark.parametrize("start", [0, 2])
def test_blocks_read_the_places_of_the_paper(name, places, start):
    setting = torchvision.models.convnext.CNBlockConfig
    blocks = [setting(8, 12, 1), setting(12, 16, 1), setting(16, 20, 1), setting(20, None, 1)]
    builds = {
        "resnet": resnet,
        "convnext": convnext,
        "tv_resnet": lambda: torchvision.models.resnet18(num_classes=5),
        "tv_convnext": lambda: torchvision.models.ConvNeXt(blocks, num_classes=5),
    }
    model, changed = settled(builds[name], start=start)
    seen = []
    for block in changed.stream.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        changed(images())
    expected = features_of(model, places[start:], images())
    assert len(seen) == len(expected)
    for each, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(each, other, atol=0, rtol=0)


def test_a_network_with_channels_last():
    torch.manual_seed(0)
    swin = timm.models.SwinTransformer(
        img_size=64, patch_size=4, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2), num_classes=5
    ).eval()
    kept = features_of(swin, ["layers.0", "norm"], images())
    assert [tuple(each.shape) for each in kept] == [(2, 16, 16, 8), (2, 8, 8, 16)]
    model = convert(swin)
    token = model.stream.token.expand(2, -1)
    for block, each in zip(model.stream.blocks, kept, strict=True):
        found = [plain_block(block, each[i].permute(2, 0, 1), token[i])[0] for i in range(2)]
        token = torch.stack(found)
    with torch.no_grad():
        torch.testing.assert_close(model(images()), model.head.fc(token), atol=1e-5, rtol=1e-5)


class Untidy(nn.Module):
    """A network of no family, whose stages are channels last, without and with what a stream needs."""

    def __init__(self, tidy: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 8, 3, 2, 1)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)
        if tidy:
            self.feature_info = [{"module": "first"}, {"module": "second"}]

    def forward(self, x):
        return self.fc(self.pool(self.second(self.first(x))).flatten(1) * 2)


def test_what_a_network_lacks_is_told():
    with pytest.raises(
        CamstudyError, match=r"castream: Untidy does not say which modules its stages are.*feature_info"
    ):
        convert(Untidy(tidy=False))
    with pytest.raises(CamstudyError, match=r"castream\.token: .*Untidy.*no chain of modules.*use `agnostic`"):
        convert(Untidy(), token="class_specific")
    with pytest.raises(CamstudyError, match=r"VGG does not end in a module of global average pooling"):
        convert(timm.create_model("vgg11", num_classes=3))
    with pytest.raises(CamstudyError, match=r"castream\.start: found 4, but ConvNeXt has 4 places; use 0 to 3"):
        convert(convnext(), start=4)
    with pytest.raises(CamstudyError, match=r"castream\.block.*`projca`"):
        convert(convnext(), block="projka")
    with pytest.raises(CamstudyError, match=r"has a module `stream` already"):
        convert(convert(convnext()))
    assert convert(Untidy())(images(1)).shape == (1, 4)


def test_no_trace_of_a_failed_pass_is_used():
    _, model = settled(resnet)
    with torch.no_grad():
        expected = model(images())
        with pytest.raises(RuntimeError):
            model(torch.full((2, 4, 64, 64), 1e9))
        model.forward_features(images() * 5)
        torch.testing.assert_close(model(images()), expected, rtol=0, atol=0)
        with pytest.raises(RuntimeError, match="did not run before its pooling"):
            model.global_pool(torch.zeros(1, 70, 2, 2))


def test_copies_are_networks_of_their_own():
    _, model = settled(resnet)
    other = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(images())
        other.stream.blocks[-1].out.bias.add_(1)
        assert not torch.allclose(other(images()), expected)
        torch.testing.assert_close(model(images()), expected, rtol=0, atol=0)


# ---- tokens of classes


def test_class_specific_tokens_are_chosen_by_the_label_in_training_and_by_the_networks_prediction_otherwise():
    model, _ = settled(resnet)
    inputs = images(6)
    with torch.no_grad():
        # So that not all images are of one class.
        model.fc.bias.sub_(model(inputs).mean(0))
    changed = convert(copy.deepcopy(model), token="class_specific")
    predicted = model(inputs).argmax(1)
    labels = (predicted + 1) % 5
    assert len(set(predicted.tolist())) > 1
    places = ["maxpool", "layer1", "layer2", "layer3", "layer4"]
    features = features_of(model, places, inputs)

    def expected(chosen):
        return model.fc(changed.stream(features, changed.stream.token[chosen]))

    with torch.no_grad():
        torch.testing.assert_close(changed(inputs), expected(predicted))
        # In evaluation mode, no label counts, and it is forgotten.
        changed.stream.labels = labels
        torch.testing.assert_close(changed(inputs), expected(predicted))
        changed.stream.train()
        torch.testing.assert_close(changed(inputs), expected(predicted))
        changed.stream.labels = labels
        torch.testing.assert_close(changed(inputs), expected(labels))
        torch.testing.assert_close(through(changed.stream.head, changed.global_pool.pool(features[-1])), model(inputs))


# ---- with other variants


def test_a_stream_beside_dcls_layers_and_the_same_folded():
    entry = {
        "arch": "test_dcls.convnext",
        "variant": {
            "dcls": {"replace": "depthwise", "kernel_size": 9, "kernel_count": 5, "version": "v1", "init": "random"},
            "castream": {"token": "class_specific"},
        },
    }
    model = build_model(entry).eval()
    folded = fold_variants(model, entry)
    assert not any(type(module).__name__ == "Dcls2d" for module in folded.modules())
    with torch.no_grad():
        expected = model(images())
        torch.testing.assert_close(folded(images()), expected, atol=1e-5, rtol=1e-5)
        # A copy in all: the stream of the one does not hear of the other's features.
        folded.stream.blocks[-1].out.bias.add_(1)
        torch.testing.assert_close(model(images()), expected, rtol=0, atol=0)
        assert not torch.allclose(folded(images()), expected)


def test_initial_weights_are_of_the_seed_alone():
    state = torch.get_rng_state()
    first, second, other = (convert(seeded(), seed=seed).stream.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["token"], other["token"])
    assert first["token"].shape == (1, 64)
    torch.set_rng_state(state)
    token = convert(torchvision.models.resnet50(num_classes=7), token="class_specific").stream.token
    assert token.mean().item() == pytest.approx(1, abs=0.15)
    assert token.std().item() == pytest.approx(1, abs=0.15)


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return resnet()


def test_initial_weights_are_those_of_the_family():
    wide, narrow = convert(resnet()).stream.blocks[0], convert(convnext()).stream.blocks
    bound = math.sqrt(6 / (64 + 64))
    assert 0.95 * bound < wide.out.weight.abs().max() <= bound
    assert 0.8 / 8 < wide.out.bias.abs().max() <= 1 / 8
    weights = torch.cat([block.out.weight.flatten() for block in narrow])
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)
    assert all(not block.out.bias.any() for block in narrow)


def test_apply_variants_keeps_the_weights_of_the_network():
    model = seeded()
    before = copy.deepcopy(model.state_dict())
    changed = apply_variants(model, {"variant": {"castream": {"block": "projca"}}})
    assert changed is model
    assert all(torch.equal(changed.state_dict()[name], tensor) for name, tensor in before.items())
