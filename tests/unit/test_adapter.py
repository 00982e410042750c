"""The adapter of pytorch-grad-cam: its maps are the library's, its harm is not."""

import copy
import inspect

import numpy as np
import pytest
import pytorch_grad_cam as library
import torch
from nets import CLASSES, MEAN, STD, Net, context, net, normalize, pixels
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import adapter, bind

torch.set_num_threads(1)


CLASSES_OF_THE_LIBRARY = sorted(name for name, value in vars(library).items() if inspect.isclass(value))
REFUSED_ALWAYS = {
    "AblationLayer": "part of AblationCAM",
    "AblationLayerFasterRCNN": "part of AblationCAM",
    "AblationLayerVit": "part of AblationCAM",
    "ActivationsAndGradients": "makes no map",
    "DeepFeatureFactorization": "concepts, not of a class",
    "GuidedBackpropReLUModel": "take the method `guided_backprop`",
    "RefineCAM": "several layers",
}
REFUSED = {
    ("FullGrad", "transformer"): r"FullGrad adds up the biases.*VisionTransformer has some of LayerNorm",
    ("ShapleyCAM", "transformer"): r"ShapleyCAM .* outputs \(n, C, h, w\) alone, and those of .* are tokens",
}


def _cnn() -> nn.Module:
    return net("mixer").float()


def _transformer() -> nn.Module:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=CLASSES, reg_tokens=2
    )
    model.head.weight.data.normal_()
    return model.eval()


def _to_grid(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 3:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)


def _of_the_library(name: str, model: nn.Module, layer: nn.Module, images: torch.Tensor, targets: list[int], seeds):
    """Call a class of the library as its documentation has it, each image on a model of its own."""
    maps = []
    for image, target, seed in zip(images, targets, seeds, strict=True):
        np.random.seed(np.random.SeedSequence([0, seed]).generate_state(4))
        with_layer = copy.deepcopy((model, layer))
        own, layers = with_layer[0].requires_grad_(), [with_layer[1]]
        transform = {} if isinstance(model, Net) else {"reshape_transform": _to_grid}
        if name == "AblationCAM" and transform:
            transform["ablation_layer"] = AblationLayerVit()
        cam = getattr(library, name)(own, layers, **transform)
        chosen = {"target_idx": target} if name == "FinerCAM" else {"targets": [ClassifierOutputTarget(target)]}
        maps.append(cam(image[None], **chosen)[0])
    return np.stack(maps)


@pytest.mark.parametrize("name", CLASSES_OF_THE_LIBRARY)
@pytest.mark.parametrize("kind", ["cnn", "transformer"])
def test_every_class_gives_the_librarys_maps_or_is_refused_with_its_reason(kind, name):
    model = {"cnn": _cnn, "transformer": _transformer}[kind]()
    if name == "FullGrad" and kind == "cnn":
        # The class wants a gradient at every convolution.
        model.side = nn.Identity()
    given = context(model, pixels(3).float(), layer="layer" if kind == "cnn" else None)
    reason = REFUSED.get((name, kind), REFUSED_ALWAYS.get(name))
    if reason:
        with pytest.raises(CamstudyError, match=reason):
            bind("pytorch_grad_cam", {"class_name": name})(given)
        return
    maps = bind("pytorch_grad_cam", {"class_name": name})(given)
    expected = _of_the_library(name, model, given.layer.module, given.images, given.target.tolist(), given.numbers)
    assert maps.shape == (3, 16, 16)
    assert (np.ptp(expected, (1, 2)) > 0.9).sum() >= 1
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_what_is_refused_is_in_the_library():
    assert set(REFUSED_ALWAYS) == set(adapter.REFUSED) <= set(CLASSES_OF_THE_LIBRARY)
    assert set(adapter.usable()) == set(CLASSES_OF_THE_LIBRARY) - set(REFUSED_ALWAYS)
    # Read from its text, without importing it.
    assert set(adapter.exported()) == set(CLASSES_OF_THE_LIBRARY)


def test_finer_cam_is_grad_cam_of_a_difference_to_the_nearest_classes():
    """Its definition: sum_j p_j (y - y_j) / sum_j p_j over the three classes j whose logits are nearest to y."""
    model = _cnn()
    given = context(model, pixels(2).float())
    maps = bind("pytorch_grad_cam", {"class_name": "FinerCAM"})(given)
    for i in range(2):
        with torch.enable_grad():
            leaf = given.output[i : i + 1].clone().requires_grad_()
            logits = model.fc(model.mixer(leaf).mean((2, 3)))[0]
            target = int(given.target[i])
            near = (logits - logits[target]).abs().argsort()[1:4]
            share = logits.softmax(0)[near]
            score = (share * (logits[target] - logits[near])).sum() / (share.sum() + 1e-9)
            gradient = torch.autograd.grad(score, leaf)[0]
        cam = (gradient.mean((2, 3), keepdim=True) * leaf).sum(1).relu()[0].detach().numpy()
        expected = resample((cam / cam.max())[None], (16, 16))[0] if cam.max() > 0 else np.zeros((16, 16))
        expected = (expected - expected.min()) / max(np.ptp(expected), 1e-7)
        np.testing.assert_allclose(maps[i], expected, atol=1e-2)


@pytest.mark.parametrize("name", ["RandomCAM", "AblationCAM"])
def test_draws_depend_on_the_image_alone_and_numpys_own_are_left_alone(name):
    model = net("mixer").float()
    layer = resolve_target_layer(model, "layer")
    images = normalize(pixels(3)).float()
    settings = {"mean": MEAN, "std": STD}
    methods = {"m": bind("pytorch_grad_cam", {"class_name": name})}
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    maps = explain(model, layer, images, np.arange(3), methods, **settings).maps["m"]
    alone = explain(model, layer, images[1:2], np.arange(1, 2), methods, numbers=[1], **settings).maps["m"]
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(maps[1], alone[0])
    assert isinstance(model.layer, torch.nn.Sequential)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GradCam", r"unknown `class_name` of method `pytorch_grad_cam`: `GradCam`, did you mean `GradCAM`\?"),
        ("RefineCAM", r"`RefineCAM` of pytorch-grad-cam cannot be taken: it multiplies .*those that can be are: Abl"),
        ("FullGrad", r"FullGrad fails with Net and the layer `layer` \(AssertionError"),
    ],
)
def test_classes_that_cannot_be_taken(name, message):
    with pytest.raises(CamstudyError, match=message):
        bind("pytorch_grad_cam", {"class_name": name})(context(net().float(), pixels(1).float()))
