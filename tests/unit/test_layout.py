"""The layout in memory that networks run in changes no map."""

import copy

import numpy as np
import pytest
import torch
from lite0 import LAST, lite0, photographs
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer

from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.metrics.randomization import randomize
from camstudy.models.load import placed

torch.set_num_threads(1)

SHARED = {name: bind(name, {}) for name, method in METHODS.items() if method.needs == "activations_gradients"}


def _convnext() -> torch.nn.Module:
    return ConvNeXt(depths=(1,) * 4, dims=(8, 12, 16, 24), num_classes=5, ls_init_value=1.0)


def _vit() -> torch.nn.Module:
    return VisionTransformer(img_size=64, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5)


@pytest.mark.parametrize(("build", "layer"), [(lite0, LAST), (_convnext, None), (_vit, None)])
def test_maps_are_the_same(build, layer):
    torch.manual_seed(0)
    model = build().eval()
    images = photographs()[:2] if build is lite0 else torch.rand(2, 3, 64, 64)
    first, last = copy.deepcopy(model), placed(copy.deepcopy(model), "cpu")
    weights = [value for value in last.parameters() if value.ndim == 4]
    assert weights
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in weights)
    found = []
    for each, given in ((first, images.contiguous()), (last, images)):
        target = resolve_target_layer(each, layer)
        found.append(explain(each, target, given, np.zeros(2), SHARED, target="predicted"))
    for name in SHARED:
        expected, maps = (result.maps[name] for result in found)
        # The principal components are differences of large numbers.
        bound = 1e-5 if name.startswith("eigen") else 2e-6
        assert np.abs(maps - expected).max() <= bound * max(expected.max(), 1e-20), name


def test_random_weights_are_the_same():
    """The sanity check draws them by shape."""
    models = [_convnext(), _convnext()]
    models[1].load_state_dict(models[0].state_dict())
    models[1] = placed(models[1], torch.device("cpu"))
    for model in models:
        randomize(model, [name for name, _ in model.named_parameters()], seed=1)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other.contiguous(), rtol=1e-6, atol=1e-9)
