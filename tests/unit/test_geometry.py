"""Resampling and crop boxes against torch, torchvision's transforms and crops worked by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import create_transform

from camstudy.geometry import FULL, resample, resized_crop

torch.set_num_threads(1)


def interpolate(maps, size):
    x = torch.from_numpy(maps)[:, None]
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=False)[:, 0].numpy()


@pytest.mark.parametrize("source", [(1, 1), (7, 7), (8, 5), (64, 64), (256, 256)])
@pytest.mark.parametrize("size", [(224, 224), (64, 64), (7, 9), (1, 1)])
def test_full_box_equals_torch(source, size):
    maps = np.random.default_rng(0).normal(size=(3, *source))
    assert np.allclose(resample(maps, size), interpolate(maps, size), rtol=0, atol=1e-12)


def test_default_size_and_float32():
    maps = np.random.default_rng(0).normal(size=(2, 7, 7)).astype(np.float32)
    found = resample(maps)
    assert found.shape == (2, 224, 224)
    assert found.dtype == np.float32
    assert np.allclose(found, interpolate(maps, (224, 224)), rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(7, 7), (2, 3, 7, 7)])
def test_any_number_of_leading_dimensions(shape):
    maps = np.random.default_rng(0).normal(size=shape)
    expected = interpolate(maps.reshape(-1, 7, 7), (12, 12)).reshape(*shape[:-2], 12, 12)
    assert np.allclose(resample(maps, (12, 12)), expected, rtol=0, atol=1e-12)


def test_integers_become_float32():
    maps = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    found = resample(maps, (2, 2))
    assert found.dtype == np.float32
    assert np.array_equal(found[0], [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.7, 0.95), (0.0625, 0.0625, 0.9375, 0.9375), (0.0, 0.5, 0.5, 1.0)])
def test_box_equals_torch_grid_sample(box):
    maps = np.random.default_rng(0).normal(size=(2, 9, 13))
    top, left, bottom, right = box
    y = top + (torch.arange(20, dtype=torch.float64) + 0.5) / 20 * (bottom - top)
    x = left + (torch.arange(30, dtype=torch.float64) + 0.5) / 30 * (right - left)
    grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], -1).expand(2, -1, -1, -1)
    expected = F.grid_sample(torch.from_numpy(maps)[:, None], grid, padding_mode="border", align_corners=False)
    assert np.allclose(resample(maps, (20, 30), box), expected[:, 0].numpy(), rtol=0, atol=1e-12)


def test_box_of_whole_pixels_at_their_own_resolution_is_a_crop():
    maps = np.random.default_rng(0).normal(size=(2, 8, 8))
    box = (2 / 8, 1 / 8, 6 / 8, 8 / 8)
    assert np.allclose(resample(maps, (4, 7), box), maps[:, 2:6, 1:8], rtol=0, atol=1e-12)


def test_ramp_has_the_value_of_its_place():
    ramp = np.tile((np.arange(64) + 0.5) / 64, (64, 1))
    found = resample(ramp, (224, 224), (0.25, 0.5, 0.75, 0.75))
    assert np.allclose(found, 0.5 + (np.arange(224) + 0.5) / 224 * 0.25)
    assert np.allclose(resample(ramp.T, (224, 224), (0.5, 0.25, 0.75, 0.75)).T, found)


@pytest.mark.parametrize(
    ("size", "crop_pct", "resize", "offset"),
    [(224, 0.875, 256, 16), (224, 0.95, 235, 6), (256, 0.9, 284, 14), (224, 1.0, 224, 0), (112, 0.9, 124, 6)],
)
def test_crops_worked_by_hand_equal_those_of_timm(size, crop_pct, resize, offset):
    assert resized_crop(256, size, crop_pct)[:2] == (resize, offset)

    transform = create_transform((3, size, size), crop_pct=crop_pct, interpolation="bilinear")
    assert transform.transforms[0].size in (resize, (resize, resize))
    # On an image of the resized side the first transform does nothing, so pixel values reveal the crop.
    rows, columns = np.indices((resize, resize))
    places = Image.fromarray(np.stack([rows // 2, columns // 2, rows * 0], -1).astype(np.uint8))
    cropped = np.asarray(transform.transforms[1](transform.transforms[0](places)))
    assert cropped.shape == (size, size, 3)
    inside = slice(offset, offset + size)
    assert np.array_equal(cropped, np.asarray(places)[inside, inside])


@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.875), (224, 0.95), (256, 0.9), (112, 1.0)])
def test_box_is_the_share_of_the_image_that_the_crop_keeps(size, crop_pct):
    resize, offset, box = resized_crop(256, size, crop_pct)
    top, left, bottom, right = box
    assert (top, bottom) == (left, right) == pytest.approx((offset / resize, (offset + size) / resize))
    # A map that follows the image through resize and crop equals the map that is resampled in the box.
    ramp = np.tile((np.arange(64) + 0.5) / 64, (64, 1))
    follow = resample(ramp, (resize, resize))[offset : offset + size, offset : offset + size]
    assert np.allclose(follow[8:-8, 8:-8], resample(ramp, (size, size), box)[8:-8, 8:-8])


def test_no_crop_keeps_the_full_box():
    assert resized_crop(256, 224, 1.0) == (224, 0, FULL)


@pytest.mark.parametrize(("source", "size", "crop_pct"), [(0, 224, 1), (256, 0, 1), (256, 224, 0), (256, 224, 1.1)])
def test_impossible_geometry_is_refused(source, size, crop_pct):
    with pytest.raises(ValueError, match="impossible geometry"):
        resized_crop(source, size, crop_pct)
