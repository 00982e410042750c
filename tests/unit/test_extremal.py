"""Extremal perturbation: its mask, blur and interpolation stated slowly, its steps by torch's SGD, what it finds."""

import math

import numpy as np
import pytest
import torch
from lite0 import INPUTS, LAST, lite0, photograph
from nets import context, net, pixels
from scipy import ndimage
from torch import Tensor, nn

from camstudy.explain.context import Context
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.explain.methods.extremal import SmoothMask, ascend, blur, interpolate
from camstudy.models.inputs import prepare

torch.set_num_threads(1)

SETTINGS = {"iterations": 6, "step": 4, "sigma": 5.0, "max_blur": 2.0, "area_weight": 50.0, "levels": 4}


def mask_slowly(cells: np.ndarray, size: int, step: int, sigma: float) -> np.ndarray:
    """Pool cell by cell around every pixel, those of the margin included; the first of them is ``-sigma``."""
    radius, before = 1 + math.ceil(sigma / step), 1 + math.ceil(2 * sigma / step)
    places = len(cells) + 2 * before - (2 * radius + 1) + 1
    side = step * places - step + 1
    mask = np.zeros((side, side))
    for y, x in np.ndindex(side, side):
        values = []
        for i in range(y // step - before, y // step - before + 2 * radius + 1):
            for j in range(x // step - before, x // step - before + 2 * radius + 1):
                inside = 0 <= i < len(cells) and 0 <= j < len(cells)
                distance = math.hypot(y - sigma - step * i, x - sigma - step * j) / sigma
                values.append(math.exp(-2 * max(0, distance - 0.5) ** 2) * (cells[i, j] if inside else 0))
        values = np.array(values)
        mask[y, x] = (values * np.exp(20 * values)).sum() / np.exp(20 * values).sum()
    return mask


@pytest.mark.parametrize(("size", "step", "sigma"), [(16, 4, 5.0), (15, 4, 3.0), (12, 1, 2.0), (14, 7, 21.0)])
def test_smooth_mask_equals_its_definition(size, step, sigma):
    cells = torch.rand(2, *[-(-size // step)] * 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = SmoothMask(size, step, sigma, cells)
    assert smooth.cells == cells.shape[1]
    masks = smooth(cells)
    for found, one in zip(masks, cells.numpy(), strict=True):
        np.testing.assert_allclose(found, mask_slowly(one, size, step, sigma), atol=1e-12)
    margin = round(sigma)
    assert torch.equal(smooth.inner(masks), masks[:, margin : margin + size, margin : margin + size])
    assert smooth.inner(masks).shape == (2, size, size)


@pytest.mark.parametrize(("size", "step", "sigma"), [(15, 7, 3.0), (20, 10, 14.0), (16, 16, 0.5)])
def test_the_mask_covers_the_image(size, step, sigma):
    """Where the margin would not leave room for the image, there is more of it."""
    cells = torch.ones(1, *[-(-size // step)] * 2)
    smooth = SmoothMask(size, step, sigma, cells)
    assert smooth.inner(smooth(cells)).shape == (1, size, size)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 3.0])
def test_blur_equals_scipy(sigma):
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radius = math.ceil(4 * sigma)
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="constant", radius=radius)
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


class Direct:
    """TorchRay's optimisation stated directly: for every pixel a list of cells, and the optimiser of torch."""

    def __init__(self, image: Tensor, step: int, sigma: float, levels: int, max_blur: float) -> None:
        size = image.shape[-1]
        self.image, self.size, self.step, self.sigma, self.cells = image, size, step, sigma, -(-size // step)
        radius, before = 1 + math.ceil(sigma / step), 1 + math.ceil(2 * sigma / step)
        self.side = step * (self.cells + 2 * before - 2 * radius - 1) + 1
        grid = np.arange(self.side)[:, None] // step - before + np.arange(2 * radius + 1)
        off = np.arange(self.side)[:, None] - sigma - step * grid
        outside = (grid < 0) | (grid >= self.cells)
        rows, columns = grid[:, None, :, None], grid[None, :, None, :]
        index = np.where(
            outside[:, None, :, None] | outside[None, :, None, :], self.cells**2, rows * self.cells + columns
        )
        distance = np.hypot(off[:, None, :, None], off[None, :, None, :]) / sigma
        weight = np.exp(-2 * np.maximum(0, distance - 0.5) ** 2)
        self.index = torch.from_numpy(index.reshape(self.side**2, -1))
        self.weight = torch.from_numpy(weight.reshape(self.side**2, -1)).to(image)
        sigmas = [max_blur * (1 - i / (levels - 1)) for i in range(levels)]
        # The normalised image is 0 beyond its borders.
        blurred = [
            ndimage.gaussian_filter(image.numpy(), (0, 0, s, s), mode="constant", radius=math.ceil(4 * s))
            for s in sigmas
        ]
        self.levels = torch.from_numpy(np.concatenate(blurred)).to(image)

    def mask(self, cells: Tensor) -> Tensor:
        """Return the mask with its margin."""
        values = self.weight * torch.cat([cells.flatten(), cells.new_zeros(1)])[self.index]
        share = (20 * values).exp()
        return ((values * share).sum(1) / share.sum(1)).reshape(self.side, self.side)

    def shown(self, mask: Tensor) -> Tensor:
        """Return the image where each pixel is as blurred as the mask says: a hat around each level."""
        position = mask * (len(self.levels) - 1)
        hats = [(1 - (position - level).abs()).clamp(min=0) for level in range(len(self.levels))]
        return sum(hat * level for hat, level in zip(hats, self.levels, strict=True))[None]

    def run(
        self, model: nn.Module, target: int, cells: Tensor, *, area: float, weight: float, iterations: int
    ) -> tuple[Tensor, list]:
        """Return the mask (size, size) after the last step from cells (cells, cells), and the logit at every step."""
        cells = cells.clone().requires_grad_()
        optimizer = torch.optim.SGD([cells], lr=0.01, momentum=0.9, dampening=0.9)
        reference = self.image.new_ones(self.side**2)
        reference[: int(self.side**2 * (1 - area))] = 0
        part = slice(round(self.sigma), round(self.sigma) + self.size)
        logits = []
        for t in range(iterations):
            mask = self.mask(cells)
            shown = self.shown(mask[part, part])
            logit = model(shown.flip(-1) if t % 2 == 0 else shown)[0, target]
            energy = weight * (mask.flatten().sort().values - reference).square().mean() - logit
            optimizer.zero_grad()
            energy.backward()
            optimizer.step()
            cells.data.clamp_(0, 1)
            weight *= 1.0035
            logits.append(logit.item())
        return self.mask(cells.detach())[part, part], logits


def test_the_whole_optimisation_stated_directly():
    model, images = net("mixer"), pixels(2)
    given = context(model, images)
    maps = bind("extremal_perturbation", SETTINGS | {"area": 0.3})(given)
    for i in range(2):
        direct = Direct(given.images[i : i + 1], 4, 5.0, 4, 2.0)
        start = torch.ones(4, 4, dtype=torch.float64)
        expected, _ = direct.run(model, given.target[i], start, area=0.3, weight=50, iterations=6)
        assert expected.std() > 1e-3
        torch.testing.assert_close(maps[i], expected, rtol=1e-9, atol=1e-9)


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


def compared(name: str, iterations: int) -> tuple[Tensor, list, Tensor, list]:
    """Return mask and logits of ours and of the direct statement, for a photograph, from the same initial mask.

    A trained network, in float64. The mask begins at random: all cells at 1, as they are by default, make ties, and
    which of the tied pixels the area wants is decided by rounding, here as in TorchRay.
    """
    model = lite0().double().requires_grad_(False)
    image = prepare([photograph(name)], INPUTS | {"size": 112}).double()
    target = model(image).argmax(1)
    logits: list[float] = []
    given = Context(
        model=model,
        layer=resolve_target_layer(model, LAST),
        images=image,
        black=-torch.ones(1, 3, 1, 1),
        output=torch.zeros(1, 1, 1, 1),
        layout="nchw",
        logits=model(image),
        target=target,
        numbers=[0],
        batch_size=1,
    )
    smooth = SmoothMask(112, 7, 21.0, image)
    start = 0.5 + 0.5 * torch.rand(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pyramid = torch.stack([blur(image, 20 * (1 - level / 7)) for level in range(8)], 1)
    handle = model.register_forward_hook(lambda module, inputs, output: logits.append(output[0, target].item()))
    settings = {"area": 0.1, "iterations": iterations, "learning_rate": 0.01, "area_weight": 300}
    with torch.no_grad():
        cells = ascend(given, smooth, pyramid, start[None].clone(), **settings)
    handle.remove()
    direct = Direct(image, 7, 21.0, 8, 20.0)
    expected, reached = direct.run(model, target.item(), start, area=0.1, weight=300, iterations=iterations)
    return smooth.inner(smooth(cells))[0], logits, expected, reached


@pytest.mark.full
@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_steps_of_a_trained_network_and_a_photograph(name):
    found, logits, expected, reached = compared(name, 30)
    assert expected.std() > 0.1
    assert np.ptp(reached) > 3
    np.testing.assert_allclose(logits, reached, atol=1e-6)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_all_steps_of_a_trained_network_and_a_photograph(name):
    """The default 800: the reward is within 5 % of the direct statement's, and masks correlate above 0.95."""
    found, logits, expected, reached = compared(name, 800)
    assert np.mean(logits[-20:]) == pytest.approx(np.mean(reached[-20:]), rel=0.05)
    assert np.corrcoef(found.flatten(), expected.flatten())[0, 1] > 0.95
