"""The adapter of pytorch-grad-cam: its maps are the library's, its harm is not."""

import numpy as np
import pytest
import torch
from nets import CLASSES, MEAN, STD, context, net, normalize, pixels
from pytorch_grad_cam import EigenGradCAM, GradCAMElementWise
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timm.models.vision_transformer import VisionTransformer

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind

torch.set_num_threads(1)


@pytest.mark.parametrize("peer", [EigenGradCAM, GradCAMElementWise])
def test_maps_are_the_librarys(peer):
    model = net("mixer").float()
    given = context(model, pixels(3).float())
    maps = bind("pytorch_grad_cam", {"class_name": peer.__name__})(given)
    model.requires_grad_()
    with peer(model, [model.layer]) as library:
        expected = library(given.images, [ClassifierOutputTarget(int(label)) for label in given.target])
    assert (np.ptp(expected, (1, 2)) > 0.9).sum() >= 2
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_tokens_become_a_grid():
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=CLASSES, reg_tokens=2
    )
    given = context(model.eval(), pixels(2).float(), layer=None)
    found = bind("pytorch_grad_cam", {"class_name": "EigenCAM"})(given)
    assert found.shape == (2, 16, 16)
    assert found.amax() > 0.9


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
        ("FinerCAM", r"`FinerCAM` of pytorch-grad-cam is no method that takes a model and a layer.*GradCAM"),
        ("FullGrad", r"FullGrad fails with Net and the layer `layer` \(AssertionError"),
    ],
)
def test_classes_that_cannot_be_taken(name, message):
    with pytest.raises(CamstudyError, match=message):
        bind("pytorch_grad_cam", {"class_name": name})(context(net().float(), pixels(1).float()))
