"""The study of real photographs: a network that nobody here trained, and what is known of its maps beforehand."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from camstudy.api import explain
from camstudy.core.paths import expanded
from camstudy.data.formats.folder import read_folder
from camstudy.data.formats.photographs import decode
from camstudy.models.build import input_config
from camstudy.models.inputs import prepare
from camstudy.models.weights.fetch import fetch_weights

torch.set_num_threads(1)

STUDY = yaml.safe_load((Path(__file__).parents[2] / "config/studies/photographs.yaml").read_text())
DATA = STUDY["catalog"]["datasets"]["photographs"]
ENTRY = {"kwargs": {}, "variant": {}, "input": {}} | STUDY["catalog"]["models"]["efficientnet_lite0"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return fetch_weights(ENTRY, tmp_path_factory.mktemp("weights"))[0].eval()


@pytest.fixture(scope="module")
def images():
    """The photographs and their labels."""
    found = read_folder(expanded(DATA["root"]), labels=DATA["labels"], classes=DATA["classes"])
    pictures = [decode(found.files.read(item.name), item.name) for item in found.photographs]
    return pictures, [item.label for item in found.photographs]


def test_the_network_knows_the_photographs(network, images):
    with torch.inference_mode():
        found = network(prepare(images[0], input_config(ENTRY))).argmax(1)
    assert sorted(images[1]) == [282, 657, 665, 872, 967]
    assert found.tolist() == images[1]


def test_at_the_last_layer_methods_of_gradients_agree(network, images):
    """What follows is a mean and a linear layer: the gradient of a channel is the same everywhere."""
    pictures = images[0][:2]
    first = explain(network, pictures, "gradcam")
    for method in ("xgrad_cam", "hires_cam"):
        for one, other in zip(first, explain(network, pictures, method), strict=True):
            scale = one.values.max()
            assert scale > 0
            np.testing.assert_allclose(other.values / other.values.max(), one.values / scale, atol=1e-4)


class Guided(torch.autograd.Function):
    """A ReLU6 whose signal goes back where the input is within and the signal positive."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.clamp(0, 6)

    @staticmethod
    def backward(context, signal):
        (x,) = context.saved_tensors
        return signal * (signal > 0) * (x > 0) * (x < 6)


class GuidedReLU6(nn.Module):
    def forward(self, x):
        return Guided.apply(x)


def test_guided_backpropagation_through_the_relu6_of_a_trained_network(network, images, tmp_path):
    (found,) = explain(network, images[0][:1], "guided_backprop")
    other = fetch_weights(ENTRY, tmp_path)[0].eval()
    replaced = 0
    for module in list(other.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, GuidedReLU6())
                replaced += 1
    assert replaced > 30
    x = prepare(images[0][:1], input_config(ENTRY)).requires_grad_()
    other(x)[0, found.target].backward()
    expected = x.grad[0].abs().amax(0).numpy()
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.slow
def test_opti_cam_gains_most_and_fake_cam_neither_gains_nor_drops(network, images):
    inputs = input_config(ENTRY)
    seen, mean, std = prepare(images[0], inputs), *(torch.tensor(inputs[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        before, classes = network(seen).softmax(1).max(1)
    drop, gain = {}, {}
    for method in ("fake_cam", "gradcam", "gradcam_plusplus", "layer_cam", "opti_cam"):
        maps = torch.stack([torch.from_numpy(found.values) for found in explain(network, images[0], method)])[:, None]
        maps = F.interpolate(maps, seen.shape[2:], mode="bilinear", align_corners=False)
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        with torch.inference_mode():
            masked = ((seen * std + mean) * (maps - low) / (high - low) - mean) / std
            after = network(masked).softmax(1)[torch.arange(len(seen)), classes]
        drop[method] = ((before - after).clamp(min=0) / before).mean().item()
        gain[method] = ((after - before).clamp(min=0) / (1 - before)).mean().item()
    print(drop, gain)
    assert max(gain, key=gain.get) == "opti_cam"
    assert drop["fake_cam"] < 0.02
    assert gain["fake_cam"] < 0.02
