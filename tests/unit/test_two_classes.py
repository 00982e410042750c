"""Scenes with two classes: maps of a class are where it is, not where the other is; class-agnostic maps do not care."""

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from camstudy.api import explain
from camstudy.core.geometry import resample
from camstudy.data.digits import make_item
from camstudy.models.hybrid import ResNetPatches

torch.set_num_threads(1)
COLORS = np.array([[230, 60, 60], [60, 230, 60], [60, 60, 230]])


def colored(n, seed):
    """Return images (n, 32, 32, 3) with squares of two of three colors in two quarters, and a class's box in each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 166, (n, 32, 32, 3)).astype(np.uint8)
    boxes, present = np.zeros((n, 3, 32, 32), bool), np.zeros((n, 3), np.float32)
    for image, box, row in zip(images, boxes, present, strict=True):
        for label, quarter in zip(rng.permutation(3)[:2], rng.permutation(4), strict=False):
            top, left = 16 * (quarter // 2), 16 * (quarter % 2)
            box[label, top : top + 16, left : left + 16] = True
            row[label] = 1
            image[box[label]] = COLORS[label]
    return images, boxes, present


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    model = VisionTransformer(**small)
    images, _, present = colored(512, seed=0)
    images, present = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, torch.from_numpy(present)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(240):
        part = slice(64 * (step % 8), 64 * (step % 8) + 64)
        loss = F.binary_cross_entropy_with_logits(model(images[part]), present[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    return model.eval()


def shares(model, images, boxes, pairs, method, **options):
    """Return the share of the mass of both boxes that is in the explained one's, for each of both classes, (n, 2)."""
    found = []
    for place in (0, 1):
        maps = explain(model, list(images), method, targets=pairs[:, place], **options)
        values = resample(np.stack([m.values for m in maps]), images.shape[1:3])
        values = np.maximum(values, 0)
        own, other = ((values * boxes[np.arange(len(boxes)), pairs[:, k]]).sum((1, 2)) for k in (place, 1 - place))
        found.append(np.divide(own, own + other, out=np.full(len(own), 0.5), where=own + other > 0))
    return np.stack(found, 1)


@pytest.mark.parametrize("method", ["gradcam", "gae", "class_embedding_projection", "attention_rollout"])
def test_only_maps_of_a_class_follow_it(vit, method):
    images, boxes, present = colored(32, seed=1)
    pairs = np.stack([np.flatnonzero(row) for row in present])
    options = {"input": {"size": 32, "crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3}, "head": "sigmoid"}
    found = shares(vit, images, boxes, pairs, method, **options)
    if method == "attention_rollout":
        # One map for both classes: what one has, the other lacks.
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    else:
        assert found.mean() > 0.8


@pytest.fixture(scope="module")
def two_digits():
    """Return 20 scenes of two digits, the boxes of both by class, and the pairs of classes."""
    # The first and the second of the two items of each scene.
    items = [[make_item("val", 6 * turn + 1 + place, 0) for place in (0, 1)] for turn in range(20)]
    pairs = np.array([first.label_set for first, _ in items])
    boxes = np.zeros((len(items), 10, 256, 256), bool)
    for box, scene in zip(boxes, items, strict=True):
        for item in scene:
            top, left, bottom, right = item.scene.boxes[0]
            box[item.scene.label, top:bottom, left:right] = True
    return np.stack([first.scene.image for first, _ in items]), boxes, pairs


@pytest.fixture(scope="module")
def shipped():
    """Return the demo's ResNet and transformer with the weights that ship."""
    resnet = ResNet(
        BasicBlock, [1, 1, 1, 1], 10, channels=[16, 32, 64, 96], stem_width=16, output_stride=16, zero_init_last=False
    )
    catalog = yaml.safe_load((ROOT / "config/catalog/transformers.yaml").read_text())["catalog"]
    kwargs = catalog["models"]["vit_mini"]["kwargs"] | {"embed_layer": ResNetPatches}
    found = {"resnet_mini": resnet, "vit_mini": VisionTransformer(num_classes=10, **kwargs)}
    for name, model in found.items():
        model.load_state_dict(load_file(ROOT / f"config/weights/{name}.safetensors"))
    return found


# The mean share of the explained digit, less a little: what docs/transformers.md says.
SHARES = [
    ("resnet_mini", "gradcam", 0.9),
    ("vit_mini", "gae", 0.8),
    ("vit_mini", "layer_cam", 0.8),
    ("vit_mini", "class_embedding_projection", 0.7),
    ("vit_mini", "gradcam", 0.55),
    ("vit_mini", "attention_rollout", 0.5),
    ("vit_mini", "hires_cam", 0.9, "blocks.0.norm1"),
    ("vit_mini", "gradcam", 0.65, "blocks.0.norm1"),
]


@pytest.mark.parametrize("case", SHARES)
def test_two_digits_are_told_apart_by_maps_of_a_class(shipped, two_digits, case):
    name, method, least, *layer = case
    options = {"input": {"size": 112, "crop_pct": 1.0}, "layer": layer[0] if layer else None}
    found = shares(shipped[name].eval(), *two_digits, method, **options)
    if method == "attention_rollout":
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    else:
        assert found.mean() > least


@pytest.mark.parametrize(
    ("name", "layer", "low", "high"),
    [("resnet_mini", "layer4", 0.999, 1.001), ("vit_mini", "blocks.3.norm1", 0.0, 0.03)],
)
def test_a_transformer_s_gradients_hardly_have_a_mean(shipped, two_digits, name, layer, low, high):
    """Why Grad-CAM does not tell them apart: the share n |mean|² / sum |g|² of gradients at n positions."""
    images, _, pairs = two_digits
    pixels = F.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2) / 255, (112, 112), mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    model, kept = shipped[name].eval(), []
    handle = model.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = model((pixels - mean) / std)
    handle.remove()
    gradient = torch.autograd.grad(logits.gather(1, torch.from_numpy(pairs[:, :1])).sum(), kept)[0]
    gradient = gradient[:, 1:].mT if gradient.ndim == 3 else gradient.flatten(2)
    share = gradient.mean(2).square().sum(1) * gradient.shape[2] / gradient.square().sum((1, 2))
    assert low <= share.mean() <= high
