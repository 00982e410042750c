"""Opti-CAM: its gradient against finite differences, its optimisation against torch's Adam image by image."""

import numpy as np
import pytest
import torch
from nets import context, net, normalize, pixels
from torch.nn import functional as F

from camstudy.explain.methods import bind
from camstudy.explain.methods.opticam import OBJECTIVES, losses

torch.set_num_threads(1)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_equals_finite_differences(objective):
    given = context(net("mixer"), pixels(3))
    u = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    every = torch.arange(3)
    (gradient,) = torch.autograd.grad(losses(given, u, every, objective).sum(), u)
    numeric = torch.zeros_like(gradient)
    step = 1e-6
    with torch.no_grad():
        for k in range(6):
            change = torch.zeros_like(u)
            change[:, k] = step
            numeric[:, k] = (
                losses(given, u + change, every, objective) - losses(given, u - change, every, objective)
            ) / (2 * step)
    assert (gradient.abs().amax(1) > 1e-3).all()
    torch.testing.assert_close(gradient, numeric, rtol=1e-5, atol=1e-7)


def opti_cam_slowly(model, image, label, objective, iterations, learning_rate, early_stop):
    """One image with torch's own Adam; the image is masked in pixels, then normalised."""
    with torch.no_grad():
        activations = model.layer(model.stem(normalize(image[None]))).relu()
        whole = model(normalize(image[None]))[0, label]
    u = torch.full((activations.shape[1],), 0.5, dtype=image.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([u], lr=learning_rate)
    previous = float("inf")

    def saliency():
        return (u.softmax(0)[:, None, None] * activations[0]).sum(0)

    for step in range(iterations):
        mask = F.interpolate(saliency()[None, None], image.shape[-2:], mode="bilinear")[0, 0]
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        logits = model(normalize(image * mask)[None])[0]
        logit, probability = logits[label], logits[label].exp() / logits.exp().sum()
        loss = {"logit": -logit, "probability": -probability, "norm": (whole - logit).abs()}[objective]
        if early_stop and step % max(iterations // 10, 1) == 0:
            if loss > previous:
                return saliency().detach(), step
            previous = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return saliency().detach(), iterations


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("early_stop", [True, False])
def test_equal_to_one_image_at_a_time(objective, early_stop):
    model, images = net("mixer", seed=2), pixels(4)
    given = context(model, images)
    settings = {"objective": objective, "iterations": 30, "learning_rate": 0.3, "early_stop": early_stop}
    maps = bind("opti_cam", settings)(given)
    passes = sum(model.sizes)
    expected, steps = zip(
        *(opti_cam_slowly(model, image, int(i), **settings) for image, i in zip(images, given.target, strict=True)),
        strict=True,
    )
    if early_stop:
        assert len(set(steps)) > 1, "all images stop together: nothing shown about neighbours"
    # Images that stopped cost nothing more; the one pass that stops them is paid for.
    assert passes == sum(min(count + 1, 30) for count in steps)
    for found, one in zip(maps, expected, strict=True):
        assert np.ptp(one.numpy()) > 1e-2
        torch.testing.assert_close(found / found.max(), one / one.max(), rtol=1e-6, atol=1e-8)


def test_channels_that_are_constant_take_nothing_from_the_map():
    """In float32, what Adam makes of rounding errors would else be part of the result."""
    model, images = net("mixer", seed=2).float(), pixels(4).float()
    model.layer[0].bias.data[2] = -100
    model.layer[0].weight.data[3], model.layer[0].bias.data[3] = 0, 5
    given = context(model, images)
    maps = bind("opti_cam", {"iterations": 1, "early_stop": False, "learning_rate": 1e-9})(given)
    for found, channels in zip(maps, given.activations, strict=True):
        varying = [channel for channel in channels if channel.max() > channel.min()]
        assert len(varying) <= 4
        torch.testing.assert_close(found, torch.stack(varying).mean(0))


def test_the_objective_rises():
    model = net("mixer", seed=2)
    given = context(model, pixels(4))
    maps = bind("opti_cam", {"early_stop": False})(given)
    start = losses(given, torch.full((4, 6), 0.5, dtype=torch.float64), torch.arange(4))
    mask = F.interpolate(maps[:, None], given.images.shape[-2:], mode="bilinear")
    low, high = mask.amin((2, 3), keepdim=True), mask.amax((2, 3), keepdim=True)
    end = -given.chosen(model(given.masked((mask - low) / (high - low), given.images)))
    assert (end < start).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_activation_the_map_is_zero_not_nan(objective):
    model = net()
    model.layer[0].bias.data[:] = -100
    maps = bind("opti_cam", {"objective": objective})(context(model, pixels(2)))
    assert (maps == 0).all()
