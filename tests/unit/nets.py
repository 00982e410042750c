"""Small networks with lively outputs, and the contexts that methods which ask the model are called with."""

import numpy as np
import torch
from torch import Tensor, nn

from camstudy.explain.context import Context
from camstudy.explain.layers import check_output, resolve_target_layer

CLASSES = 5
SIDE = 16
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


class Net(nn.Module):
    """A convolutional network with the target `layer` (n, 6, side / 4, side / 4); `tail` says what follows it."""

    def __init__(self, tail: str = "linear") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.layer = nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU())
        self.mixer = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU())
        self.side = nn.Sequential(nn.Conv2d(8, 6, 1, 2), nn.ReLU())
        self.fc = nn.Linear(6, CLASSES)
        self.tail = tail
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        stem = self.stem(x)
        x = self.layer(stem)
        if self.tail == "residual":
            x = self.mixer(x) + self.side(stem)
        elif self.tail == "mixer":
            x = self.mixer(x)
        return self.fc(x.mean((2, 3)))


def net(tail: str = "linear", seed: int = 0) -> Net:
    """Return a network whose logits differ by some units between images."""
    torch.manual_seed(seed)
    model = Net(tail).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.1)
    model.fc.weight.data *= 3
    return model


def pixels(n: int = 3, side: int = SIDE, seed: int = 1) -> Tensor:
    """Return images in [0, 1], float64 (n, 3, side, side)."""
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normalize(images: Tensor) -> Tensor:
    """Return images as a model takes them."""
    mean, std = (torch.tensor(values, dtype=images.dtype).reshape(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def context(model: nn.Module, images: Tensor, *, layer: str | None = "layer", batch_size: int = 4, first: int = 0):
    """Return the context of images in [0, 1]; image i is explained for class i modulo the number of classes."""
    model = model.to(images.dtype).requires_grad_(False)
    target = resolve_target_layer(model, layer, size=images.shape[-1])
    outputs = []
    handle = target.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    normalized = normalize(images)
    with torch.no_grad():
        logits = model(normalized)
    handle.remove()
    if hasattr(model, "sizes"):
        model.sizes.clear()
    return Context(
        model=model,
        layer=target,
        images=normalized,
        black=normalize(torch.zeros(1, 3, 1, 1, dtype=images.dtype)),
        output=outputs[0],
        layout=check_output(outputs[0], target, len(images)),
        logits=logits,
        target=torch.arange(first, first + len(images)) % logits.shape[1],
        numbers=range(first, first + len(images)),
        batch_size=batch_size,
    )


def softmax(values: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    values = np.exp(values - values.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)
