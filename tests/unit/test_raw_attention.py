"""Explaining models with a CA-Stream: the attention itself, and maps that differentiate through it."""

import numpy as np
import pytest
import torch
from nets import MEAN, STD, net, normalize, pixels
from test_castream import features_of, settled
from test_dcls import convnext, resnet

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.models.load import draw_fan_in

torch.set_num_threads(1)

PLACES = {
    "resnet": ["maxpool", "layer1", "layer2", "layer3", "layer4"],
    "convnext": ["stem", "stages.1.downsample", "stages.2.downsample", "stages.3"],
}
BUILDS = {"resnet": resnet, "convnext": convnext}
LABELS = np.array([1, 0, 4])


def lively(name: str, **options):
    """Return a network with a stream, in float64, whose tokens prefer some positions to others."""
    _, model = settled(BUILDS[name], **options)
    draw_fan_in(model)
    with torch.no_grad():
        model.stream.token.mul_(3)
    return model.double()


def inputs() -> torch.Tensor:
    return normalize(pixels(3, 64))


def run(model, method: str, labels=LABELS, layer: str | None = None, **parameters) -> np.ndarray:
    target, bound = resolve_target_layer(model, layer, size=64), {"map": bind(method, parameters)}
    return explain(model, target, inputs(), labels, bound, mean=MEAN, std=STD, batch_size=2).maps["map"]


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("values", ["softmax", "scores"])
def test_it_is_what_the_tokens_say_of_the_features(name, values):
    model = lively(name)
    token = model.stream.token.expand(3, -1)
    spread = []
    for number, features in enumerate(features_of(model, PLACES[name], inputs())):
        scores = np.einsum("nc,nchw->nhw", token.detach().numpy(), features.numpy()) / features.shape[1] ** 0.5
        weights = np.exp(scores) / np.exp(scores).sum((1, 2), keepdims=True)
        found = run(model, "raw_attention", block=number, values=values)
        np.testing.assert_allclose(found, scores if values == "scores" else weights, atol=1e-10)
        spread.append(np.ptp(weights))
        pooled = torch.from_numpy(np.einsum("nhw,nchw->nc", weights, features.numpy()))
        token = model.stream.blocks[number].out(pooled)
    assert max(spread) > 0.01
    np.testing.assert_array_equal(run(model, "raw_attention", values=values), found)


def test_no_class_and_no_gradient_plays_a_part(monkeypatch):
    model = lively("resnet")
    expected = run(model, "raw_attention")

    def refuse(*_arguments, **_options):
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    np.testing.assert_array_equal(run(model, "raw_attention", labels=np.array([0, 3, 2])), expected)
    assert not any(block._forward_hooks for block in model.stream.blocks)


@pytest.mark.parametrize(("block", "side"), [(0, 16), (1, 16), (2, 8), (3, 4), (4, 4), (-1, 4), (-5, 16)])
def test_its_maps_are_as_large_as_what_the_block_looks_at(block, side):
    model = lively("resnet").float()
    bound = bind("raw_attention", {"block": block})
    assert map_shape(model, resolve_target_layer(model), 64, bound) == (side, side)
    assert bound.side(64) is None


def test_what_cannot_be_is_refused():
    model, images = net().float(), normalize(pixels(2)).float()
    layer, bound = resolve_target_layer(model, "layer"), {"map": bind("raw_attention", {})}
    with pytest.raises(CamstudyError, match=r"`raw_attention`: Net has no attention that can be read"):
        explain(model, layer, images, LABELS[:2], bound)
    with pytest.raises(CamstudyError, match=r"`block` must be from -2 to 1, found 2"):
        run(lively("resnet", start=3), "raw_attention", block=2)
    with pytest.raises(CamstudyError, match=r"`values` of method `raw_attention`"):
        run(lively("resnet"), "raw_attention", values="logits")
    with pytest.raises(CamstudyError, match=r"`values` must be `softmax` where the model has no CA-Stream"):
        explain(model, layer, images, LABELS[:2], {"map": bind("raw_attention", {"values": "scores"})})
    assert METHODS["raw_attention"].variant == "castream"


# ---- methods that differentiate or ask the model


def logits_with(model, layer: str, change) -> torch.Tensor:
    """Return the logits with a layer's output changed before anything else reads it."""
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, output: change(output), prepend=True)
    with torch.no_grad():
        found = model(inputs())
    handle.remove()
    return found


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet", "layer4"),
        ("resnet", "layer2"),
        ("resnet", "layer3.0"),
        ("convnext", "stages.3"),
        ("convnext", "stem"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"block": "projca", "token": "class_specific"}], ids=["ca", "projca"])
def test_gradients_pass_through_values_and_scores(name, layer, options):
    model = lively(name, **options)
    seen = {}

    def keep(activations, gradients):
        seen.setdefault("gradients", []).append(gradients.clone())
        return activations[:, 0]

    explain(model, resolve_target_layer(model, layer, size=64), inputs(), LABELS, {"keep": keep})
    gradients = torch.cat(seen["gradients"])
    rng = np.random.default_rng(0)
    scale = gradients.abs().max().item()
    assert scale > 0
    step = 1e-5
    for _ in range(6):
        place = tuple(int(rng.integers(0, size)) for size in gradients.shape)

        def moved(by: float, place=place) -> float:
            def change(output):
                output = output.clone()
                output[place] += by
                return output

            return logits_with(model, layer, change)[place[0], LABELS[place[0]]].item()

        found = (moved(step) - moved(-step)) / (2 * step)
        assert gradients[place].item() == pytest.approx(found, abs=1e-5 * scale, rel=1e-4)


@pytest.mark.parametrize("name", PLACES)
def test_channels_are_ablated_before_the_stream_reads_them(name):
    model = lively(name)
    layer = PLACES[name][-1]
    (activations,) = features_of(model, [layer], inputs())
    rows = torch.arange(3)
    with torch.no_grad():
        before = model(inputs())[rows, LABELS]
    expected = torch.zeros(3, *activations.shape[2:], dtype=torch.float64)
    for channel in range(activations.shape[1]):

        def change(output, channel=channel):
            output = output.clone()
            output[:, channel] = 0
            return output

        drop = before - logits_with(model, layer, change)[rows, LABELS]
        expected += (drop / before.abs())[:, None, None] * activations[:, channel]
    np.testing.assert_allclose(run(model, "ablation_cam"), expected.relu().numpy(), atol=1e-8)


def test_every_method_of_the_table_runs_on_a_model_with_a_stream_and_leaves_it():
    model = lively("convnext")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("gradcam", "gradcam_plusplus", "score_cam", "raw_attention"):
        maps = run(model, name)
        assert maps.shape == (3, 2, 2)
        assert np.isfinite(maps).all()
        assert np.ptp(maps) > 0
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
