"""Methods against captum: gradients, integrated and guided ones, and Grad-CAM of the layer."""

import pytest
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, LayerGradCam, Saliency
from nets import context, net, pixels

from camstudy.explain.engine import explain
from camstudy.explain.methods import bind

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
torch.set_num_threads(1)


@pytest.fixture(params=["linear", "mixer", "residual"])
def given(request):
    """A context of images and a network of ReLUs, none of them in place, as captum's hooks need it."""
    model = net(request.param)
    model.stem[1].inplace = False
    return context(model, pixels(3))


def found(given, name, **parameters):
    return bind(name, {"reduce": "sum", **parameters})(given)


def test_input_gradient(given):
    expected = Saliency(given.model).attribute(given.images, given.target, abs=False)
    torch.testing.assert_close(found(given, "input_gradient"), expected.sum(1))


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_integrated_gradients(given, baseline):
    start = given.black.expand_as(given.images) if baseline == "black" else torch.zeros_like(given.images)
    expected = IntegratedGradients(given.model).attribute(
        given.images, start, given.target, n_steps=20, method="gausslegendre"
    )
    torch.testing.assert_close(found(given, "integrated_gradients", steps=20, baseline=baseline), expected.sum(1))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_backprop(given):
    expected = GuidedBackprop(given.model).attribute(given.images, given.target)
    maps = found(given, "guided_backprop")
    torch.testing.assert_close(maps, expected.sum(1))
    assert (maps - found(given, "input_gradient")).abs().max() > 0.01


def test_gradcam(given):
    expected = LayerGradCam(given.model, given.layer.module).attribute(
        given.images, given.target, relu_attributions=True
    )
    maps = explain(
        given.model,
        given.layer,
        given.images,
        given.target.numpy(),
        {"map": bind("gradcam", {})},
        batch_size=3,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    ).maps["map"]
    # Ours is the mean over channels, captum's the sum.
    channels = given.output.shape[1]
    torch.testing.assert_close(channels * torch.from_numpy(maps).double(), expected[:, 0], rtol=1e-5, atol=1e-6)
