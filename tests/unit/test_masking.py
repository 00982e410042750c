"""Score-CAM and Ablation-CAM against brute force, one channel at a time, and against pytorch-grad-cam."""

import numpy as np
import pytest
import torch
from nets import CLASSES, MEAN, STD, Net, context, net, normalize, pixels, softmax
from pytorch_grad_cam import AblationCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from camstudy.core import geometry
from camstudy.explain.layers import to_nchw
from camstudy.explain.methods import bind
from camstudy.explain.tail import tail

torch.set_num_threads(1)


def min_max(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def score_cam_slowly(model: Net, images: torch.Tensor, weighting: str) -> np.ndarray:
    """Mask pixels, then normalise, one channel of one image at a time."""
    maps = []
    for i, image in enumerate(images):
        with torch.no_grad():
            activations = model.layer(model.stem(normalize(image[None])))[0].numpy()
        scores = np.full(len(activations), -np.inf)
        for k, channel in enumerate(activations):
            if channel.max() > channel.min():
                mask = min_max(geometry.resample(channel, images.shape[-2:]))
                seen = normalize((image * torch.from_numpy(mask))[None])
                logits = model(seen)[0].detach().numpy()
                scores[k] = logits[i] if weighting == "softmax_logit" else softmax(logits)[i]
        weights = softmax(scores) if weighting == "softmax_logit" else np.where(np.isfinite(scores), scores, 0)
        maps.append(np.maximum(np.tensordot(weights, activations, 1), 0))
    return np.stack(maps)


@pytest.mark.parametrize("weighting", ["probability", "softmax_logit"])
def test_score_cam_is_brute_force(weighting):
    model, images = net(), pixels()
    model.layer[0].bias.data[2] = -100  # a channel that is constant
    given = context(model, images)
    maps = bind("score_cam", {"weighting": weighting})(given)
    expected = score_cam_slowly(model, images, weighting)
    assert np.ptp(expected, (1, 2)).min() > 1e-2
    np.testing.assert_allclose(maps, expected, atol=1e-12)


def test_score_cam_skips_constant_channels_and_bounds_what_runs_at_once():
    model, images = net(), pixels(2)
    model.layer[0].bias.data[2] = -100
    given = context(model, images, batch_size=4)
    bind("score_cam", {})(given)
    assert model.sizes == [4, 1, 4, 1]


@pytest.mark.parametrize("weighting", ["probability", "softmax_logit"])
def test_score_cam_without_any_mask_is_zero(weighting):
    model, images = net(), pixels(2)
    model.layer[0].bias.data[:] = -100
    maps = bind("score_cam", {"weighting": weighting})(context(model, images))
    assert maps.shape == (2, 4, 4)
    assert (maps == 0).all()


def test_score_cam_with_masks_on_normalised_images_equals_pytorch_grad_cam():
    model, images = net().float(), pixels().float()
    given = context(model, images)
    maps = bind("score_cam", {"weighting": "softmax_logit", "outside": "mean", "align_corners": True})(given)
    with ScoreCAM(model, [model.layer]) as library:
        expected = library(given.images, [ClassifierOutputTarget(int(label)) for label in given.target])
    for found, peer in zip(maps.numpy(), expected, strict=True):
        found = min_max(geometry.resample(min_max(found), images.shape[-2:]))
        np.testing.assert_allclose(found, peer, atol=1e-5)


def ablation_cam_slowly(model: nn.Module, module: nn.Module, images: torch.Tensor, layout: str, target) -> np.ndarray:
    """Ablate one channel of one image at a time in whole forward passes."""
    maps = []
    for i, image in enumerate(images):
        kept: list[torch.Tensor] = []
        handle = module.register_forward_hook(lambda module, inputs, output: kept.append(output))  # noqa: B023
        logit = model(image[None])[0, target[i]].item()
        handle.remove()
        (output,) = kept
        axis = {"nchw": 1, "nhwc": 3, "tokens": 2}[layout]
        weights = []
        for k in range(output.shape[axis]):
            changed = output.clone()
            changed.movedim(axis, 0)[k] = 0
            handle = module.register_forward_hook(lambda module, inputs, output: changed)  # noqa: B023
            weights.append((logit - model(image[None])[0, target[i]].item()) / max(abs(logit), 1e-6))
            handle.remove()
        activations = to_nchw(output, layout)[0].numpy()
        maps.append(np.maximum(np.tensordot(weights, activations, 1), 0))
    return np.stack(maps)


class Swapped(Net):
    """What replaces modules by what they returned must notice: the stem runs again after the layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.layer(self.stem(x))
        second = self.stem(x + first.mean((1, 2, 3))[:, None, None, None])
        return self.fc(first.mean((2, 3)) + self.layer_of(second))

    def layer_of(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))[:, :6]


def _resnet() -> nn.Module:
    return ResNet(
        BasicBlock, [1, 1, 1, 1], num_classes=CLASSES, channels=(8, 8, 12, 16), stem_width=8, zero_init_last=False
    )


def _convnext() -> nn.Module:
    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 12, 12), num_classes=CLASSES, ls_init_value=1.0)


def _swapped() -> Net:
    model = Swapped()
    model.load_state_dict(net().state_dict())
    return model


def _vit(**options: object) -> nn.Module:
    return VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=CLASSES, **options
    )


def _swin() -> nn.Module:
    return SwinTransformer(
        img_size=16, patch_size=2, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2), num_classes=CLASSES
    )


ABLATIONS = {
    "linear": (lambda: net(), "layer", 16),
    "mixer": (lambda: net("mixer"), "layer", 16),
    "past the layer": (lambda: net("residual"), "layer", 16),
    "run again": (_swapped, "layer", 16),
    "resnet": (_resnet, "layer4", 64),
    "within a residual block": (_resnet, "layer3.0.conv2", 64),
    "convnext": (_convnext, "stages.3", 64),
    "vit": (_vit, "blocks.1.norm1", 16),
    "vit with registers": (lambda: _vit(reg_tokens=2), "blocks.1.norm1", 16),
    "swin": (_swin, "norm", 16),
    "within a swin block": (_swin, "layers.1.blocks.0.norm1", 16),
}


@pytest.mark.parametrize(("build", "layer", "side"), ABLATIONS.values(), ids=ABLATIONS)
def test_ablation_cam_is_brute_force(build, layer, side):
    torch.manual_seed(0)
    model, images = build().eval(), pixels(3, side)
    given = context(model, images, layer=layer, batch_size=5)
    with torch.no_grad():
        maps = bind("ablation_cam", {})(given)
        expected = ablation_cam_slowly(model, given.layer.module, given.images, given.layout, given.target)
    assert np.ptp(expected, (1, 2)).max() > 1e-4
    np.testing.assert_allclose(maps, expected, atol=1e-9)
    assert not any("forward" in vars(module) for module in model.modules())


def test_ablation_cam_weighs_by_the_size_of_a_negative_logit():
    """A linear classifier on pooled channels: w_k = v_k mean(A_k) / |y|, whatever the sign of y."""
    model, images = net(), pixels(4)
    model.fc.bias.data -= 100
    given = context(model, images)
    pooled = given.activations.mean((2, 3))
    weights = model.fc.weight[given.target] * pooled / given.chosen(given.logits)[:, None].abs()
    assert (given.chosen(given.logits) < 0).all()
    expected = torch.einsum("nk,nkhw->nhw", weights, given.activations).relu()
    torch.testing.assert_close(bind("ablation_cam", {})(given), expected)


def test_ablation_cam_equals_pytorch_grad_cam_after_a_relu():
    """Where the layer's smallest activation is 0, the library sets channels to zero as well."""
    model, images = net("mixer", seed=3).float(), pixels().float()
    model.fc.bias.data += 10
    given = context(model, images)
    assert (given.activations.amin((1, 2, 3)) == 0).all()
    assert (given.chosen(given.logits) > 0).all()
    maps = bind("ablation_cam", {})(given)
    assert (maps.amax((1, 2)) > 5e-3).all()
    with AblationCAM(model, [model.layer], batch_size=2) as library:
        expected = library(given.images, [ClassifierOutputTarget(int(label)) for label in given.target])
    for found, peer in zip(maps.numpy(), expected, strict=True):
        found = min_max(geometry.resample(min_max(found), images.shape[-2:]))
        np.testing.assert_allclose(found, peer, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "residual"])
def test_a_tail_does_not_run_what_comes_before_the_layer(kind):
    model = net(kind)
    given = context(model, pixels(3))
    run = tail(given)
    calls = {"stem": 0, "fc": 0}
    run(1, given.output[1:2].clone())
    for name, module in (("stem", model.stem[0]), ("fc", model.fc)):
        module.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    for scale in (0.5, 2.0):
        outputs = given.output[[1, 1]] * scale
        logits = run(1, outputs.clone())
        assert logits.shape == (2, CLASSES)
        stem = given.model.stem(given.images[1:2])
        if kind == "linear":
            expected = model.fc(outputs.mean((2, 3)))
        else:
            expected = model.fc((model.mixer(outputs) + model.side(stem)).mean((2, 3)))
        torch.testing.assert_close(logits, expected)
    # Those of the expectation alone.
    assert calls == {"stem": 2, "fc": 4}
    model.stem[0]._forward_hooks.clear()


def test_score_cam_masks_pixels_not_normalised_values():
    """Where a mask is 0, the model is shown black."""
    model = net()
    images = pixels(1)
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    given = context(model, images, batch_size=64)
    seen.clear()
    bind("score_cam", {})(given)
    mean, std = (torch.tensor(values, dtype=images.dtype)[:, None, None] for values in (MEAN, STD))
    ratio = (seen[0] * std + mean) / images
    torch.testing.assert_close(ratio[:, 0], ratio[:, 2])
    assert ratio.amin((1, 2, 3)).abs().max() < 1e-12
    torch.testing.assert_close(ratio.amax((1, 2, 3)), torch.ones(len(ratio), dtype=ratio.dtype))
