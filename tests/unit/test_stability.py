"""Maps of a trained network and photographs hardly change with noise that nobody sees."""

import numpy as np
import pytest
import torch
from lite0 import LAST, MIDDLE, lite0, photographs
from nets import CLASSES, context
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer

from benchmarks.stability import LIMIT, stability
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind

torch.set_num_threads(1)

FAST = [name for name, method in METHODS.items() if method.needs == "activations_gradients"]


@pytest.fixture(scope="module")
def trained():
    return lite0(), photographs()


@pytest.mark.parametrize("layer", [LAST, MIDDLE])
@pytest.mark.parametrize("name", FAST)
def test_maps_are_stable(trained, name, layer):
    model, images = trained
    found = stability(model, layer, images, name, {})
    assert found.shape == (len(images),)
    assert found.min() > LIMIT


def _vit() -> torch.nn.Module:
    return VisionTransformer(img_size=32, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=CLASSES)


def _convnext() -> torch.nn.Module:
    return ConvNeXt(depths=(1,) * 4, dims=(12, 16, 16, 16), num_classes=CLASSES, ls_init_value=1.0)


@pytest.mark.parametrize(("build", "layer"), [(_vit, "blocks.1.norm1"), (_convnext, "stages.0.blocks.0.norm")])
@pytest.mark.parametrize("name", ["eigen_cam", "eigen_gradcam"])
def test_signs_do_not_hang_on_rounding(name, build, layer):
    """After a LayerNorm of initial weights the activations of a position have the sum 0, but for rounding."""
    torch.manual_seed(0)
    model, images, labels = build().eval(), torch.rand(8, 3, 32, 32), np.arange(8) % CLASSES
    assert context(model, images, layer=layer).activations.sum(1).abs().max() < 1e-4
    target = resolve_target_layer(model, layer)
    first, second = (
        explain(model, target, shown, labels, {"map": bind(name, {})}).maps["map"]
        for shown in (images, images + 1e-4 * torch.randn(images.shape))
    )
    difference = np.linalg.norm(first - second, axis=(1, 2)) / np.linalg.norm(first, axis=(1, 2))
    assert difference.max() < 0.05
