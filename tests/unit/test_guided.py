"""The switchable ReLU against torch's own, captum and guided backpropagation done by hand, layer by layer."""

import pytest
import timm
import torch
from captum.attr import GuidedBackprop
from nets import net, pixels
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2, resnet18
from torchvision.models.mobilenetv2 import InvertedResidual

from camstudy.core.errors import CamstudyError
from camstudy.models.guided import cosine, guided, input_gradients, switchable

torch.set_num_threads(1)

KINDS = {
    "relu": (lambda z: F.relu(z), lambda z: z.clamp(min=0)),
    "relu in place": (lambda z: F.relu(z * 1, inplace=True), lambda z: z.clamp(min=0)),
    "method in place": (lambda z: (z * 1).relu_(), lambda z: z.clamp(min=0)),
    "relu6": (lambda z: F.relu6(z), lambda z: z.clamp(0, 6)),
    "relu6 in place": (lambda z: nn.ReLU6(inplace=True)(z * 1), lambda z: z.clamp(0, 6)),
    "hardtanh": (lambda z: F.hardtanh(z, 0, max_val=2.0), lambda z: z.clamp(0, 2)),
    "norm of timm": (lambda z: BatchNormAct2d(1).eval().double().act(z * 1), lambda z: z.clamp(min=0)),
}


def switched(function):
    def run(*given):
        with switchable(nn.Identity()) as passed:
            result = function(*given)
        assert passed.found
        return result

    return run


def values() -> torch.Tensor:
    """Return numbers from -8 to 8 without the kinks."""
    return (torch.linspace(-8, 8, 41, dtype=torch.float64) + 0.013).requires_grad_()


@pytest.mark.parametrize("kind", KINDS)
def test_switched_off_it_is_torchs_function_with_its_first_and_second_derivative(kind):
    function, formula = KINDS[kind]

    def twice(function):
        z = values()
        result = function(z)
        (first,) = torch.autograd.grad(result.pow(3).sum(), z, create_graph=True)
        return result, first, torch.autograd.grad(first.pow(2).sum(), z)[0]

    found = twice(switched(function))
    for each, plain, expected in zip(found, twice(function), twice(formula), strict=True):
        assert torch.equal(each, plain)
        torch.testing.assert_close(each, expected, rtol=1e-14, atol=0)
    assert found[2].any(), "no second derivative"
    assert torch.autograd.gradcheck(switched(function), values())
    assert torch.autograd.gradgradcheck(switched(function), values())


@pytest.mark.parametrize("kind", KINDS)
def test_switched_on_negative_signals_stop(kind):
    z, signal = values(), torch.linspace(-1, 1, 41, dtype=torch.float64).roll(11)
    function, formula = KINDS[kind]
    result = switched(function)(z)
    with guided():
        (found,) = torch.autograd.grad(result, z, signal, retain_graph=True)
    (plain,) = torch.autograd.grad(result, z, signal)
    slope = torch.autograd.grad(formula(z).sum(), z)[0]
    assert torch.equal(found, signal * slope * (signal > 0))
    assert torch.equal(plain, signal * slope)
    assert not torch.equal(found, plain)


def test_a_function_in_place_changes_its_argument():
    with switchable(nn.Identity()):
        z = torch.tensor([-1.0, 7.0])
        F.relu6(z, inplace=True)
        assert z.tolist() == [0, 6]
        z = torch.tensor([-1.0, 7.0])
        F.relu6(z)
        assert z.tolist() == [-1, 7]


def randomly_normed(model: nn.Module) -> nn.Module:
    """Return a network in evaluation mode, in double precision, whose norms are not the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(0, 0.5, generator=generator)
            module.running_mean.normal_(0, 0.5, generator=generator)
    return model.eval().double()


def tame(model: nn.Module) -> nn.Module:
    """Return a network without ReLUs in place and used twice, as captum's hooks need it."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ReLU())
    return model


class Once(nn.Module):
    """A block of a ResNet each of whose ReLUs is a module of its own."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.last = block, nn.ReLU()

    def forward(self, x):
        block = self.block
        out = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
        return self.last(out + (block.downsample(x) if block.downsample else x))


@pytest.mark.filterwarnings("ignore:Setting backward hooks", "ignore:Input Tensor 0 did not already require")
@pytest.mark.parametrize("of", ["logit", "loss"])
def test_gradients_of_a_network_of_relus_equal_captums(of):
    torch.manual_seed(0)
    model = randomly_normed(resnet18(num_classes=5))
    images, labels = pixels(2, 32) - 0.5, torch.tensor([3, 1])
    plain, found = input_gradients(model, images, labels, of)

    other = tame(resnet18(num_classes=5).double().eval())
    other.load_state_dict(model.state_dict())
    for name in ("layer1", "layer2", "layer3", "layer4"):
        setattr(other, name, nn.Sequential(*map(Once, getattr(other, name))))
    wrapped = other if of == "logit" else nn.Sequential(other, Losses(labels))
    targets = labels if of == "logit" else torch.tensor([0, 0])
    expected = GuidedBackprop(wrapped).attribute(images, targets)
    torch.testing.assert_close(found, expected)

    images = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(wrapped(images).gather(1, targets[:, None]).sum(), images)
    torch.testing.assert_close(plain, expected)
    assert cosine(plain, found).abs().max() < 0.9


class Losses(nn.Module):
    """The cross-entropy of each image as the only class."""

    def __init__(self, labels) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, logits):
        return -logits.log_softmax(1).gather(1, self.labels[:, None])


def back(module: nn.Module, z: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """Return the guided signal before a part of MobileNet-V2, of the one behind it."""
    if isinstance(module, nn.ReLU6):
        return signal * (z > 0) * (z < 6) * (signal > 0)
    if isinstance(module, InvertedResidual):
        return back(module.conv, z, signal) + (signal if module.use_res_connect else 0)
    if isinstance(module, nn.Sequential):
        inputs = [z]
        for child in module:
            inputs.append(child(inputs[-1]))
        for child, each in reversed(list(zip(module, inputs[:-1], strict=True))):
            signal = back(child, each, signal)
        return signal
    return torch.autograd.functional.vjp(module, z, signal)[1]


def test_gradients_of_mobilenet_v2_equal_those_by_hand():
    torch.manual_seed(0)
    model = randomly_normed(mobilenet_v2(num_classes=5))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data *= 3
        if isinstance(module, nn.ReLU6):
            module.inplace = False
    images, labels = pixels(2, 32) - 0.5, torch.tensor([3, 1])
    clipped = []
    handles = [m.register_forward_hook(lambda _, i, o: clipped.append(bool((o == 6).any()))) for m in relus(model)]
    plain, found = input_gradients(model, images, labels, "logit")
    for handle in handles:
        handle.remove()
    assert any(clipped), "no activation at 6"
    with torch.no_grad():
        features = model.features(images)
    pooled, signal = features.mean((2, 3)), F.one_hot(labels, 5).double()
    signal = back(model.classifier, pooled, signal)[..., None, None].expand_as(features) / features[0, 0].numel()
    expected = back(model.features, images, signal)
    assert expected.any()
    torch.testing.assert_close(found, expected)
    assert cosine(plain, found).abs().max() < 0.9


def relus(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.ReLU6)]


def test_without_activations_both_gradients_are_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).double()
    plain, found = input_gradients(model, pixels(2), torch.tensor([0, 4]))
    assert torch.equal(plain, found)
    torch.testing.assert_close(cosine(plain, found), torch.ones(2, dtype=torch.float64))


def test_the_model_is_left_as_it_is():
    model = net("mixer").double()
    model.requires_grad_(False)
    images = pixels(2)
    plain, _ = input_gradients(model, images, torch.tensor([0, 4]))
    assert not plain.requires_grad
    assert not images.requires_grad
    with pytest.raises(ZeroDivisionError), guided():
        raise ZeroDivisionError
    assert torch.equal(input_gradients(model, images, torch.tensor([0, 4]))[0], plain), "the rule stayed on"


@pytest.mark.parametrize(("name", "function"), [("convnext_atto", "gelu"), ("mobilenetv3_small_050", "hardswish")])
def test_other_activations_are_refused(name, function):
    model = timm.create_model(name, num_classes=2).eval()
    expected = rf"^gradients: \w+ uses {function}, but guided backpropagation is for ReLU and ReLU6 only; take a"
    with pytest.raises(CamstudyError, match=expected):
        input_gradients(model, torch.zeros(1, 3, 32, 32), torch.tensor([0]))


def test_cosine_of_zeros_is_zero():
    first = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert cosine(first, torch.tensor([[4.0, 3.0], [1.0, 0.0]])).tolist() == pytest.approx([0.96, 0])
