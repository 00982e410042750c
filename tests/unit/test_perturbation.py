"""RISE and meaningful perturbation against brute force, and their masks and filters against other libraries."""

import cv2
import numpy as np
import pytest
import torch
from nets import MEAN, STD, context, net, normalize, pixels
from torch.nn import functional as F

from camstudy.explain.methods import bind
from camstudy.explain.methods.perturbation import median_filter, rise_masks

torch.set_num_threads(1)

RISE = {"n_masks": 11, "grid": 3, "probability": 0.4, "seed": 5}


def test_rise_is_brute_force():
    model, images = net("mixer"), pixels(3)
    given = context(model, images, batch_size=4)
    maps = bind("rise", RISE)(given)
    assert model.sizes == [4, 4, 4, 4, 4, 4, 3, 3, 3]
    (masks,) = rise_masks(11, 3, 0.4, 5, size=16, chunk=99)
    for i, image in enumerate(images):
        expected = np.zeros((16, 16))
        for mask in masks:
            probability = model(normalize(image * torch.from_numpy(mask))[None]).softmax(1)[0, given.target[i]]
            expected += probability.item() * mask / (11 * 0.4)
        np.testing.assert_allclose(maps[i], expected, rtol=1e-6)
    assert np.ptp(maps.numpy(), (1, 2)).min() > 0.01


@pytest.mark.parametrize(("size", "grid"), [(16, 3), (14, 7), (10, 10), (9, 1)])
def test_rise_masks_are_shifted_pieces_of_resized_grids(size, grid):
    masks = np.concatenate(list(rise_masks(50, grid, 0.5, 1, size=size, chunk=7)))
    assert masks.shape == (50, size, size)
    cell = -(-size // grid)
    generator = np.random.default_rng(1)
    cells = torch.from_numpy(generator.random((50, grid, grid)) < 0.5).float()
    large = F.interpolate(cells[:, None], ((grid + 1) * cell,) * 2, mode="bilinear")[:, 0].numpy()
    shifts = set()
    for mask, one in zip(masks, large, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(one, (size, size))[:cell, :cell]
        fits = np.abs(windows - mask).max((2, 3)) < 1e-6
        assert fits.any()
        shifts |= {tuple(place) for place in np.argwhere(fits)} if fits.sum() == 1 else set()
    assert len(shifts) > 1 or cell == 1 or grid == 1


def test_rise_masks_show_the_share_asked_for():
    masks = np.concatenate(list(rise_masks(2000, 7, 0.3, 0, size=28, chunk=500)))
    assert masks.mean() == pytest.approx(0.3, abs=0.01)
    assert (masks.min(), masks.max()) == (0, 1)


def test_rise_finds_what_the_class_hangs_on():
    """A model that looks at one pixel: the map is highest there."""

    class Pixel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = torch.nn.Identity(), torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            value = self.layer(x)[:, :, 4, 11].sum(1) * self.scale
            return torch.stack([value, -value], 1)

    images = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    (found,) = bind("rise", {"n_masks": 3000, "grid": 8, "probability": 0.5})(context(Pixel(), images))
    y, x = divmod(int(found.argmax()), 16)
    assert abs(y - 4) <= 1
    assert abs(x - 11) <= 1


def test_median_filter_equals_opencv():
    images = (torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 255).round()
    for size in (3, 11):
        found = median_filter(images, size)
        for image, filtered in zip(images, found, strict=True):
            expected = cv2.medianBlur(image.permute(1, 2, 0).numpy().astype(np.uint8), size)
            np.testing.assert_array_equal(filtered.permute(1, 2, 0), expected)


def test_meaningful_perturbation_equals_one_image_at_a_time():
    """Written out in pixels for each image on its own."""
    model, images = net("mixer"), pixels(3)
    given = context(model, images)
    settings = {"mask_size": 5, "iterations": 12, "noise": 0.0, "blur": 3, "l1": 0.02, "tv": 0.3}
    maps = bind("meaningful_perturbation", settings)(given)
    assert (maps.std((1, 2)) > 0.01).sum() >= 2
    for i, image in enumerate(images):
        blurred = median_filter(image[None], 3)[0]
        mask = torch.ones(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([mask], lr=0.1)
        for _ in range(12):
            m = F.interpolate(mask, (16, 16), mode="bilinear")[0]
            p = model(normalize(m * image + (1 - m) * blurred)[None]).softmax(1)[0, given.target[i]]
            rows, columns = mask[..., 1:, :] - mask[..., :-1, :], mask[..., 1:] - mask[..., :-1]
            tv = (rows.abs() ** 3).mean() + (columns.abs() ** 3).mean()
            optimizer.zero_grad()
            (0.02 * (1 - mask).abs().mean() + 0.3 * tv + p).backward()
            optimizer.step()
            mask.data.clamp_(0, 1)
        torch.testing.assert_close(maps[i], 1 - mask.detach()[0, 0], rtol=1e-7, atol=1e-9)


def test_meaningful_perturbation_lowers_the_probability_by_hiding():
    model, images = net("mixer"), pixels(4)
    given = context(model, images)
    maps = bind("meaningful_perturbation", {"mask_size": 8, "iterations": 80, "noise": 0.1, "blur": 7})(given)
    hidden = F.interpolate(maps[:, None], (16, 16), mode="bilinear")
    seen = torch.lerp(given.images, median_filter(given.images, 7), hidden)
    before, after = (given.chosen(logits.softmax(1)) for logits in (given.logits, model(seen)))
    assert (after < before).all()
    assert (maps.amin(), maps.amax() <= 1) == (0, True)


def test_noise_is_that_of_the_normalised_image():
    model = net("mixer")
    seen = []
    given = context(model, pixels(2))
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    bind("meaningful_perturbation", {"mask_size": 2, "iterations": 1, "noise": 0.2})(given)
    noise = seen[0] - given.images
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert abs(noise.mean()) < 0.02
    assert not torch.allclose(noise[0], noise[1])


def test_black_is_a_black_pixel():
    given = context(net(), pixels(1))
    back = given.black[0, :, 0, 0] * torch.tensor(STD) + torch.tensor(MEAN)
    torch.testing.assert_close(back.float(), torch.zeros(3), rtol=0, atol=1e-7)
