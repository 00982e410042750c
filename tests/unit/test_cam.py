"""Class activation maps against pytorch-grad-cam or plain numpy, on the families of the demo."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from sklearn.decomposition import PCA
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from timm.models.metaformer import MetaFormer, SepConv
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from camstudy.core import geometry
from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind

torch.set_num_threads(1)

CLASSES = 6
SIZE = 128
BUILDERS = {
    "resnet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES, channels=(8, 16, 24, 32), stem_width=8),
    "convnext": lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=CLASSES, ls_init_value=None),
    "metaformer": lambda: MetaFormer(depths=(1, 1, 1), dims=(8, 16, 32), token_mixers=SepConv, num_classes=CLASSES),
    "fastvit": lambda: FastVit(
        layers=(1, 1, 1),
        embed_dims=(8, 16, 32),
        mlp_ratios=(2, 2, 2),
        token_mixers=("repmixer",) * 3,
        downsamples=(False, True, True),
        num_classes=CLASSES,
    ),
}


def _capture(model: nn.Module, module: nn.Module, images: torch.Tensor, label: int):
    """Return activations and gradients as numpy, by a retained gradient in an ordinary backward pass."""
    outputs = []
    handle = module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits = model(images)
    handle.remove()
    outputs[0].retain_grad()
    logits[:, label].sum().backward()
    model.zero_grad()
    return outputs[0].detach().numpy(), outputs[0].grad.numpy()


def _gradcam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    alpha = gradients.mean(axis=(2, 3))
    return np.maximum(np.einsum("nk,nkhw->nhw", alpha, activations) / activations.shape[1], 0)


def _threshold_gradcam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    n, channels, h, w = activations.shape
    maps = np.zeros((n, h, w))
    for i in range(n):
        for k in range(channels):
            maps[i] += np.maximum(gradients[i, k].mean() * activations[i, k], 0)
    return maps / channels


@pytest.fixture(scope="module", params=BUILDERS)
def case(request):
    """A model with lively weights, images, and for each image a class whose Grad-CAM is not degenerate."""
    torch.manual_seed(3)
    model = BUILDERS[request.param]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.weight.data.uniform_(0.5, 1.5)
        if isinstance(module, nn.Linear) and module.out_features == CLASSES:
            # Logits of a trained network's size; pytorch-grad-cam adds 1e-7 to the maximum of a map.
            module.weight.data.normal_(0, 100)
    model.eval()
    images = torch.randn(4, 3, SIZE, SIZE)
    layer = resolve_target_layer(model)
    captured = [_capture(model, layer.module, images, label) for label in range(CLASSES)]
    peaks = np.stack([_gradcam(*pair).max((1, 2)) for pair in captured])
    labels = peaks.argmax(0)
    activations, gradients = (np.stack([captured[label][part][i] for i, label in enumerate(labels)]) for part in (0, 1))
    return model, layer, images, labels, activations, gradients


def _min_max(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def _explain(case, name: str, **parameters: object) -> np.ndarray:
    model, layer, images, labels, *_ = case
    maps = explain(model, layer, images, labels, {"x": bind(name, parameters)}).maps["x"]
    assert maps.shape[1] >= 4
    assert (maps.max((1, 2)) > maps.min((1, 2)) + 1e-3).all(), "degenerate: the comparison would be empty"
    return maps


@pytest.mark.parametrize(
    ("name", "parameters", "peer"),
    [
        ("gradcam", {}, GradCAM),
        ("xgrad_cam", {}, XGradCAM),
        ("layer_cam", {}, LayerCAM),
        ("hires_cam", {}, HiResCAM),
    ],
)
def test_equal_to_pytorch_grad_cam(case, name, parameters, peer):
    model, layer, images, labels, *_ = case
    maps = _explain(case, name, **parameters)
    with peer(model, [layer.module]) as library:
        expected = library(images, [ClassifierOutputTarget(int(label)) for label in labels])
    ours = _min_max(geometry.resample(_min_max(maps), (SIZE, SIZE)))
    np.testing.assert_allclose(ours, expected, atol=2e-5)


@pytest.mark.parametrize("case", ["resnet"], indirect=True)
def test_gradcam_plusplus_equals_pytorch_grad_cam_after_a_relu(case):
    test_equal_to_pytorch_grad_cam(case, "gradcam_plusplus", {"eps": 1e-6}, GradCAMPlusPlus)


def _what_stands_out_up(projections: np.ndarray) -> np.ndarray:
    turned = -projections.min((1, 2)) > projections.max((1, 2))
    return np.maximum(np.where(turned[:, None, None], -projections, projections), 0)


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_gradcam"])
def test_eigen_maps_equal_pytorch_grad_cam_up_to_sign(case, name):
    *_, activations, gradients = case
    found = bind(name, {})(torch.from_numpy(activations), torch.from_numpy(gradients)).numpy()
    expected = _what_stands_out_up(get_2d_projection(activations * (1 if name == "eigen_cam" else gradients)))
    assert (np.ptp(expected, (1, 2)) > 0).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("shape", [(3, 4, 4), (30, 4, 4)])
@pytest.mark.parametrize("name", ["eigen_cam", "eigen_gradcam"])
def test_eigen_maps_of_many_and_few_channels(name, shape):
    """The projection on the first component, by scikit-learn, whichever matrix of products is the smaller."""
    activations = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    gradients = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    found = bind(name, {})(activations, gradients).numpy()
    features = activations if name == "eigen_cam" else activations * gradients
    parts = [PCA(1).fit_transform(values).reshape(shape[1:]) for values in features.flatten(2).mT.numpy()]
    np.testing.assert_allclose(found, _what_stands_out_up(np.stack(parts)), atol=1e-5)


def _gradcam_plusplus(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Eq. 19 channel by channel in float64, with sums of activations below 0 counted as 0."""
    maps = []
    for a, g in zip(activations.double(), gradients.double(), strict=True):
        total = torch.zeros(a.shape[1:], dtype=torch.float64)
        for channel, slope in zip(a, g, strict=True):
            denominator = 2 * slope**2 + max(channel.sum().item(), 0) * slope**3
            weight = (slope**2 / denominator * slope)[slope > 0].sum()
            total += weight * channel
        maps.append(total.relu())
    return torch.stack(maps)


def test_gradcam_plusplus_equals_its_formula(case):
    """Gradients whose cubes float32 cannot hold count as others do."""
    activations, gradients = (torch.from_numpy(values) for values in case[4:])
    function = METHODS["gradcam_plusplus"].function
    for sign in (1, -1):
        expected = _gradcam_plusplus(sign * activations, gradients)
        found = function(sign * activations, gradients).double()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.max().item())
    small = _gradcam_plusplus(activations.abs(), gradients * 1e-17)
    assert small.amax() > 0
    torch.testing.assert_close(function(activations.abs(), gradients * 1e-17).double(), small, rtol=1e-4, atol=0)


@pytest.mark.parametrize("total", [-1.0, -0.999999, -1.000001])
def test_gradcam_plusplus_where_the_papers_denominator_vanishes(total):
    """2 + g sum A is near 0 and of either sign: the weight is that of a sum of 0, 1/2 for each position."""
    found = METHODS["gradcam_plusplus"].function(torch.tensor([[[[total - 1, 1.0]]]]), torch.tensor([[[[2.0, 2.0]]]]))
    assert found.tolist() == [[[0.0, 2.0]]]


def test_xgrad_cam_is_gradcam_before_global_pooling():
    activations = torch.rand(2, 5, 4, 4)
    gradients = torch.randn(2, 5, 1, 1).expand(2, 5, 4, 4)
    xgrad, gradcam = (bind(name, {})(activations, gradients) for name in ("xgrad_cam", "gradcam"))
    torch.testing.assert_close(xgrad, 5 * gradcam, rtol=1e-4, atol=1e-6)


def test_gradcam_equals_its_formula(case):
    expected = _gradcam(*case[4:])
    np.testing.assert_allclose(_explain(case, "gradcam"), expected, rtol=0, atol=1e-5 * expected.max())


def test_threshold_gradcam_equals_its_formula(case):
    expected = _threshold_gradcam(*case[4:])
    maps = _explain(case, "threshold_gradcam")
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * expected.max())


def test_where_the_relu_stands():
    """Two channels of opposite evidence cancel in Grad-CAM, and do not in Threshold-Grad-CAM."""
    activations = torch.tensor([[[[2.0, 0.0]], [[3.0, 1.0]]]])
    gradients = torch.tensor([[[[1.0, 3.0]], [[-1.0, -1.0]]]])  # alpha = 2, -1
    assert METHODS["gradcam"].function(activations, gradients).tolist() == [[[0.5, 0.0]]]
    assert METHODS["threshold_gradcam"].function(activations, gradients).tolist() == [[[2.0, 0.0]]]


SUMS = ("gradcam", "threshold_gradcam", "gradcam_plusplus", "xgrad_cam", "layer_cam", "hires_cam")


@pytest.mark.parametrize("name", SUMS)
def test_no_evidence_gives_a_zero_map(name):
    activations = torch.rand(2, 3, 4, 4)
    assert (bind(name, {})(activations, -torch.ones(2, 3, 4, 4)) == 0).all()
    assert (bind(name, {})(activations, torch.zeros(2, 3, 4, 4)) == 0).all()


def test_unknown_names():
    with pytest.raises(CamstudyError, match=r"unknown explanation method `gradcamm`, did you mean `gradcam`\?"):
        bind("gradcamm", {})
    with pytest.raises(CamstudyError, match=r"`threshold_gradcam` takes no parameters, but `floor` is given"):
        bind("threshold_gradcam", {"floor": 0.3})
    with pytest.raises(CamstudyError, match=r"method `center_bias`: `sigmar`, did you mean `sigma`\?"):
        bind("center_bias", {"sigmar": 0.3})


def test_methods_are_listed_without_torch():
    """What checks a configuration and what reads maps must start fast."""
    code = """
import sys
from camstudy.explain.methods import controls
from camstudy.explain import postprocess
from camstudy.explain.methods import METHODS
assert METHODS["gradcam"].needs == "activations_gradients"
assert METHODS["random"].needs == "dataset"
assert METHODS["score_cam"].needs == "model"
print("torch" in sys.modules, "timm" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
