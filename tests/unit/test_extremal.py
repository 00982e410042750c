"""Extremal perturbation: its mask, blur and interpolation stated slowly, its steps by torch's SGD, what it finds."""

import math

import numpy as np
import pytest
import torch
from nets import context, net, pixels
from scipy import ndimage
from torch import Tensor, nn

from camstudy.explain.methods import bind
from camstudy.explain.methods.extremal import SmoothMask, blur, interpolate

torch.set_num_threads(1)

SETTINGS = {"iterations": 6, "step": 4, "sigma": 5.0, "max_blur": 2.0, "area_weight": 50.0, "levels": 4}


def mask_slowly(cells: np.ndarray, size: int, step: int, sigma: float) -> np.ndarray:
    """Pool cell by cell around every pixel."""
    radius = 1 + math.ceil(sigma / step)
    mask = np.zeros((size, size))
    for y, x in np.ndindex(size, size):
        values = []
        for i in range(y // step - radius, y // step + radius + 1):
            for j in range(x // step - radius, x // step + radius + 1):
                inside = 0 <= i < len(cells) and 0 <= j < len(cells)
                distance = math.hypot(y - step * i, x - step * j) / sigma
                values.append(math.exp(-2 * max(0, distance - 0.5) ** 2) * (cells[i, j] if inside else 0))
        values = np.array(values)
        mask[y, x] = (values * np.exp(20 * values)).sum() / np.exp(20 * values).sum()
    return mask


@pytest.mark.parametrize(("size", "step", "sigma"), [(16, 4, 5.0), (15, 4, 3.0), (12, 1, 2.0)])
def test_smooth_mask_equals_its_definition(size, step, sigma):
    cells = torch.rand(2, *[-(-size // step)] * 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = SmoothMask(size, step, sigma, cells)
    assert smooth.cells == cells.shape[1]
    for found, one in zip(smooth(cells), cells.numpy(), strict=True):
        np.testing.assert_allclose(found, mask_slowly(one, size, step, sigma), atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 3.0])
def test_blur_equals_scipy(sigma):
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=math.ceil(4 * sigma)
    )
    np.testing.assert_allclose(blur(images, sigma), expected, atol=1e-12)


def test_interpolation_between_levels():
    pyramid = torch.rand(2, 5, 3, 4, 4, dtype=torch.float64)
    masks = torch.rand(2, 4, 4, dtype=torch.float64)
    masks[0, 0, 0], masks[1, 1, 1], masks[0, 2, 2] = 0, 1, 0.5
    found = interpolate(pyramid, masks)
    for n, y, x in np.ndindex(2, 4, 4):
        for channel in range(3):
            levels = pyramid[n, :, channel, y, x].numpy()
            expected = np.interp(masks[n, y, x].item(), np.linspace(0, 1, 5), levels)
            assert found[n, channel, y, x].item() == pytest.approx(expected, abs=1e-12)


def test_steps_are_those_of_torchs_sgd():
    """One image written out with torch's optimiser, of the whole objective."""
    model, images = net("mixer"), pixels(2)
    given = context(model, images)
    maps = bind("extremal_perturbation", SETTINGS | {"area": 0.3})(given)
    for i in range(2):
        image = given.images[i : i + 1]
        pyramid = torch.stack([blur(image, sigma) for sigma in (2.0, 4 / 3, 2 / 3, 0.0)], 1)
        smooth = SmoothMask(16, 4, 5.0, image)
        cells = torch.ones(1, 4, 4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([cells], lr=0.01, momentum=0.9, dampening=0.9)
        reference = torch.zeros(256, dtype=torch.float64)
        reference[-77:] = 1  # 30 % of 256
        for t in range(6):
            masks = smooth(cells)
            shown = interpolate(pyramid, masks)
            logit = model(shown if t % 2 else shown.flip(-1))[0, given.target[i]]
            area = (masks.flatten().sort().values - reference).square().mean()
            optimizer.zero_grad()
            (50 * 1.0035**t * area - logit).backward()
            optimizer.step()
            cells.data.clamp_(0, 1)
        assert cells.std() > 1e-3
        torch.testing.assert_close(maps[i], smooth(cells.detach())[0], rtol=1e-9, atol=1e-9)


class Corner(nn.Module):
    """The first class is there as far as one patch differs from its blurred self, mirrored or not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Identity(), nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        x = x + x.flip(3)
        contrast = (x[:, :, 4:10, :12].diff(dim=3).abs()).mean((1, 2, 3)) * self.scale
        return torch.stack([contrast, -contrast], 1)


def test_the_mask_keeps_what_the_class_needs():
    """Of stripes everywhere the patch alone counts: the mask lies there and has the area asked for."""
    images = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    images[..., ::2] = 1
    given = context(Corner(), images)
    settings = {"iterations": 400, "step": 2, "sigma": 3.0, "max_blur": 4.0, "area": 0.15}
    (mask,) = bind("extremal_perturbation", settings)(given)
    assert mask.mean().item() == pytest.approx(0.15, abs=0.06)
    inside = mask[4:10].mean()
    assert inside > 3 * mask[14:].mean()
