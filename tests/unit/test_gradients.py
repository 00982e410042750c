"""Gradient methods against finite differences, closed forms and pytorch-grad-cam's guided backpropagation."""

import numpy as np
import pytest
import torch
from nets import CLASSES, Net, context, net, normalize, pixels
from pytorch_grad_cam import GuidedBackpropReLUModel
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.explain.methods import bind

torch.set_num_threads(1)


class Linear(nn.Module):
    """Logits linear in the image, through a layer that is there to be found."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Identity()
        self.fc = nn.Linear(3 * 8 * 8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(x).flatten(1))


class Square(Linear):
    """Logits that are sums of weighted squares: the gradient at x is 2 w x."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(x).flatten(1).square())


def weights(model: Linear, given) -> Tensor:
    return model.fc.weight[given.target].unflatten(1, (3, 8, 8))


REDUCED = {"sum": lambda g: g.sum(1), "sum_abs": lambda g: g.abs().sum(1), "max_abs": lambda g: g.abs().amax(1)}


@pytest.mark.parametrize("reduce", REDUCED)
def test_gradient_of_a_linear_model_is_its_weights(reduce):
    model = Linear()
    given = context(model, pixels(3, 8))
    expected = REDUCED[reduce](weights(model, given))
    for name in ("input_gradient", "smoothgrad"):
        torch.testing.assert_close(bind(name, {"reduce": reduce})(given), expected)
    torch.testing.assert_close(bind("input_gradient", {})(given), REDUCED["max_abs"](weights(model, given)))


def test_input_gradient_equals_finite_differences():
    model = net("mixer")
    given = context(model, pixels(2))
    found = bind("input_gradient", {"reduce": "sum"})(given)
    step = 1e-5
    for y, x in ((3, 4), (9, 12), (0, 15)):
        change = torch.zeros_like(given.images)
        change[:, :, y, x] = step
        up, down = (given.chosen(model(given.images + sign * change)) for sign in (1, -1))
        torch.testing.assert_close(found[:, y, x], (up - down) / (2 * step), rtol=1e-5, atol=1e-8)


def test_smoothgrad_is_the_mean_gradient_around_the_image():
    """Of a sum of squares the mean gradient is the gradient at the mean of the noisy images."""
    model = Square()
    given = context(model, pixels(2, 8))
    found = bind("smoothgrad", {"samples": 2000, "noise": 0.2, "reduce": "sum"})(given)
    expected = (2 * weights(model, given) * given.images).sum(1)
    span = given.images.amax((1, 2, 3)) - given.images.amin((1, 2, 3))
    deviation = 2 * (weights(model, given).square().sum(1) / 2000).sqrt() * 0.2 * span[:, None, None]
    score = (found - expected) / deviation
    assert 0.8 < score.std() < 1.2
    assert score.abs().max() < 4.5


def test_smoothgrad_without_noise_is_the_gradient():
    given = context(net("mixer"), pixels(2))
    torch.testing.assert_close(
        bind("smoothgrad", {"noise": 0, "samples": 3})(given), bind("input_gradient", {})(given), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_integrated_gradients_of_a_sum_of_squares(baseline):
    """The integral of the gradient 2 w x from x' to x, times (x - x') / (x - x'): w (x² - x'²)."""
    model, images = Square(), pixels(2, 8)
    given = context(model, images)
    start = normalize(torch.zeros_like(images)) if baseline == "black" else torch.zeros_like(images)
    found = bind("integrated_gradients", {"steps": 3, "baseline": baseline, "reduce": "sum"})(given)
    expected = (weights(model, given) * (given.images.square() - start.square())).sum(1)
    torch.testing.assert_close(found, expected)


def test_integrated_gradients_add_up_to_the_difference_of_logits():
    model = net("mixer")
    given = context(model, pixels(3))
    found = bind("integrated_gradients", {"steps": 400, "reduce": "sum"})(given).sum((1, 2))
    black = given.chosen(model(given.black.expand_as(given.images)))
    expected = given.chosen(given.logits) - black
    assert (expected.abs() > 0.1).all()
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)


class Functional(Net):
    """The same network with ReLU as a module, a function, a method, or in place."""

    def __init__(self, how: str) -> None:
        super().__init__("mixer")
        self.how = {
            "module": nn.ReLU(),
            "in place": nn.ReLU(inplace=True),
            "function": F.relu,
            "torch": torch.relu,
            "method": Tensor.relu,
            "method in place": Tensor.relu_,
            "clip": lambda x: F.hardtanh(x, 0, 1e9),
        }[how]

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.stem, self.layer, self.mixer):
            x = self.how(part[0](x))
        return self.fc(x.mean((2, 3)))


def _library(model: nn.Module, given) -> np.ndarray:
    gradients = []
    for image, target in zip(given.images, given.target, strict=True):
        guide = GuidedBackpropReLUModel(model)
        gradients.append(guide(image[None].clone(), int(target)).transpose(2, 0, 1))
    return np.stack(gradients)


@pytest.mark.parametrize("how", ["module", "in place", "function", "torch", "method", "method in place", "clip"])
def test_guided_backprop_equals_pytorch_grad_cam(how):
    reference = net("mixer")
    model = Functional(how).eval()
    model.load_state_dict(reference.state_dict())
    given = context(model, pixels(3), layer="layer.0")
    expected = _library(reference.double(), given)
    found = bind("guided_backprop", {"reduce": "sum"})(given)
    assert (np.abs(expected).max((1, 2, 3)) > 1e-3).sum() >= 2
    np.testing.assert_allclose(found, expected.sum(1), rtol=0, atol=1e-12)
    plain = bind("input_gradient", {"reduce": "sum"})(given)
    assert not torch.allclose(found, plain, rtol=0.1)


def test_guided_backprop_of_shared_and_residual_relus():
    """Signals that meet behind a ReLU are added before they are judged."""

    class Residual(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(self.stem(x))
            return self.fc((x + self.mixer(x)).mean((2, 3)))

    model = Residual().eval()
    model.load_state_dict(net("mixer").state_dict())
    model.stem[1].inplace = False
    given = context(model, pixels(3))
    found = bind("guided_backprop", {"reduce": "sum"})(given)
    np.testing.assert_allclose(found, _library(model, given).sum(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("relu6", [nn.ReLU6(), F.relu6, lambda x: F.hardtanh(x, 0.0, max_val=6.0)])
def test_guided_backprop_of_relu6(relu6):
    """Nothing passes where the input is above 6, below 0, or the signal negative."""

    class Clipped(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(relu6(self.layer(x)).flatten(1))

    model = Clipped()
    images = pixels(2, 8) * 4 - 0.5
    given = context(model, images)
    assert ((given.images > 6).any(), (given.images < 0).any()) == (True, True)
    inside = (given.images > 0) & (given.images < 6)
    expected = (weights(model, given).clamp(min=0) * inside).sum(1)
    torch.testing.assert_close(bind("guided_backprop", {"reduce": "sum"})(given), expected)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (nn.GELU(), "uses gelu"),
        (nn.SiLU(), "uses silu"),
        (F.hardswish, "uses hardswish"),
        (nn.LeakyReLU(), "uses leaky_relu"),
        (nn.Hardtanh(), "uses hardtanh"),
        (nn.PReLU(), "uses prelu"),
        (nn.Tanh(), "has no ReLU"),
        (lambda x: x, "has no ReLU"),
    ],
)
def test_guided_backprop_refuses_what_it_is_not_defined_for(activation, message):
    class Other(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.activation = activation

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.activation(self.layer(x)).flatten(1))

    with pytest.raises(CamstudyError, match=f"guided_backprop: Other {message}"):
        bind("guided_backprop", {})(context(Other(), pixels(1, 8)))
