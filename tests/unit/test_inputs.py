"""Image preparation against timm's own transform on PIL images, and against the recorded crop geometry."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from camstudy.core.geometry import resized_crop
from camstudy.models.inputs import crop_box, prepare

torch.set_num_threads(1)

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def config(size=112, crop_pct=0.875, interpolation="bicubic"):
    return {"size": size, "crop_pct": crop_pct, "interpolation": interpolation, "mean": MEAN, "std": STD}


def pictures(side):
    """Return a smooth picture, noise, and a checkerboard, on which resizing methods differ most."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    smooth = np.stack([255 * y, 255 * x, 127 + 127 * np.sin(9 * x * y)], -1)
    checkers = np.repeat(255 * ((np.indices((side, side)).sum(0) // 5) % 2)[..., None], 3, -1)
    return np.stack([smooth, rng.integers(0, 256, (side, side, 3)), checkers]).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.9, 0.875])
@pytest.mark.parametrize(("side", "size"), [(256, 224), (256, 112), (96, 112), (256, 256)])
def test_equal_to_timms_evaluation_transform(side, size, crop_pct, interpolation):
    """Mostly equal, a few pixels one grey level apart, hardly any two: each rounds its own way."""
    images = pictures(side)
    found = prepare(images, config(size, crop_pct, interpolation))
    transform = create_transform(
        (3, size, size), is_training=False, interpolation=interpolation, mean=MEAN, std=STD, crop_pct=crop_pct
    )
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    assert found.dtype == torch.float32
    assert found.shape == (3, 3, size, size)
    levels = ((found - expected) * torch.tensor(STD).reshape(3, 1, 1) * 255).abs()
    assert levels.max() < 2.001
    assert (levels > 1.001).float().mean() < 2e-4
    assert (levels > 0.001).float().mean() < 0.05


def test_tensors_and_single_images_give_the_same():
    images = pictures(64)
    expected = prepare(images, config(48))
    assert torch.equal(prepare(torch.from_numpy(images), config(48)), expected)
    single = torch.cat([prepare(images[i : i + 1], config(48)) for i in range(3)])
    assert torch.equal(single, expected)


def test_crop_is_the_recorded_box():
    """A picture of its own coordinates: what is left of it spans the box."""
    side = 250
    row = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None, None], (side, side, 3))
    _, _, box = resized_crop(side, 160, 0.8)
    assert crop_box(config(160, 0.8)) == box
    plain = config(160, 0.8, "bilinear") | {"mean": [0] * 3, "std": [1] * 3}
    found = prepare(row[None].copy(), plain)[0, 0] * 255 + 0.5
    pixel = side * (box[2] - box[0]) / 160
    assert found[0].mean().item() == pytest.approx(side * box[0] + pixel / 2, abs=0.6)
    assert found[-1].mean().item() == pytest.approx(side * box[2] - pixel / 2, abs=0.6)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((2, 8, 9, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        prepare(images, config())
