"""Resampling and crop boxes against torch, torchvision's transforms and crops worked by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import create_transform

from camstudy.core import geometry
from camstudy.core.geometry import FULL, resample, resized_crop

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


@pytest.mark.parametrize(("source", "size", "crop_pct"), [(0, 224, 1), (256, 0, 1), (256, 224, 0), (256, 2, 3)])
def test_impossible_geometry_is_refused(source, size, crop_pct):
    with pytest.raises(ValueError, match="impossible geometry"):
        resized_crop(source, size, crop_pct)


def test_boxes_are_mapped_like_the_pixels_they_are_around():
    """A white box on black, cut and enlarged like an image, is where its mapped edges are."""
    box, view, size = np.array([[[12, 20, 30, 52]]]), (0.125, 0.125, 0.875, 0.875), (96, 192)
    image = np.zeros((64, 64))
    image[12:30, 20:52] = 1
    seen = resample(image, size, view)
    (((top, left, bottom, right),),), dropped = geometry.boxes_in_view(box, (64, 64), view, size)
    assert (top, left, bottom, right) == (4 * 2, 12 * 4, 22 * 2, 44 * 4)
    assert dropped.tolist() == [0]
    # Half a source pixel beyond the edges nothing is left of either colour's blend.
    assert (seen[int(top) + 1 : int(bottom) - 1, int(left) + 2 : int(right) - 2] == 1).all()
    assert seen.sum() == pytest.approx((bottom - top) * (right - left))


def test_boxes_are_clipped_dropped_and_counted():
    inside, across, beyond, sliver = [40, 40, 60, 60], [0, 50, 45, 99], [0, 0, 24, 24], [10, 40, 25.5, 60]
    boxes = np.array([[inside, across], [beyond, sliver], [inside, [-1] * 4], [[-1] * 4] * 2])
    view, size = (0.25, 0.25, 0.75, 0.75), (50, 50)  # a pixel of the view is one of the source
    mapped, dropped = geometry.boxes_in_view(boxes, (100, 100), view, size)
    np.testing.assert_allclose(mapped[0], [[15, 15, 35, 35], [0, 25, 20, 50]])
    assert not mapped[1].any()
    np.testing.assert_allclose(mapped[2], [[15, 15, 35, 35], [0] * 4])
    assert dropped.tolist() == [0, 2, 0, 0]
    whole, dropped = geometry.boxes_in_view(boxes, (100, 100), view, size, clip=False)
    np.testing.assert_allclose(whole[0, 1], [-25, 25, 20, 74])
    assert dropped.tolist() == [0, 0, 0, 0]
    assert not whole[3].any()


def test_a_box_of_just_one_pixel_is_kept():
    for view in ((0.0, 0.0, 1.0, 1.0), (0.1, 0.1, 0.9, 0.9)):
        extent = 224 / (view[2] - view[0])
        edge = (view[0] * extent + 7) * 256 / extent
        box = np.array([[[edge, edge, edge + 256 / extent, edge + 256 / extent]]])
        mapped, dropped = geometry.boxes_in_view(box, (256, 256), view)
        np.testing.assert_allclose(mapped, [[[7, 7, 8, 8]]])
        assert dropped.tolist() == [0]


def test_sizes_and_views_may_differ_by_image():
    boxes = np.array([[[0, 0, 50, 100]], [[0, 0, 50, 100]]])
    views = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1]])
    mapped, _ = geometry.boxes_in_view(boxes, np.array([[100, 200], [100, 100]]), views, (10, 10))
    assert mapped.tolist() == [[[0, 0, 5, 5]], [[0, 0, 10, 10]]]


def test_a_view_within_another():
    view = (0.2, 0.1, 0.6, 0.9)
    assert geometry.within(view, geometry.FULL) == view
    assert geometry.within(view, view) == geometry.FULL
    ramp = np.linspace(0, 1, 40)[:, None] * np.linspace(1, 3, 40)
    outer, inner = (0.1, 0.0, 0.9, 1.0), (0.3, 0.25, 0.7, 0.75)
    twice = resample(resample(ramp, (800, 800), outer), (16, 16), geometry.within(inner, outer))
    np.testing.assert_allclose(twice, resample(ramp, (16, 16), inner), atol=1e-3)
