"""The script behind the docs' table of average drops, on a network that is worked out by hand."""

import numpy as np
import torch
from torch import nn

from benchmarks.average_drop import drops


class Brightness(nn.Module):
    """Logits (mean of the pixels, 0)."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, torch.zeros_like(mean)], 1)


def test_what_is_hidden_is_replaced_and_the_drop_is_relative():
    images = torch.ones(2, 3, 4, 4)
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, :, 2:] = 3.0  # the right half is shown
    fills = {"dark": torch.full((1, 3, 1, 1), -2.0), "bright": images + 1}
    mean, *found = drops(Brightness(), images, torch.tensor([0, 1]), maps, fills)
    assert mean == 0.5

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    # Means of 1 become -0.5 or 1.5; the second image's class is the other one.
    first = max(0, 1 - sigmoid(-0.5) / sigmoid(1)), max(0, 1 - sigmoid(1.5) / sigmoid(1))
    second = max(0, 1 - sigmoid(0.5) / sigmoid(-1)), max(0, 1 - sigmoid(-1.5) / sigmoid(-1))
    np.testing.assert_allclose(found, [(a + b) / 2 for a, b in zip(first, second, strict=True)], rtol=1e-6)
