"""The trained network that other tests use: it knows what photographs show."""

import torch
from lite0 import PHOTOGRAPHS, lite0, photographs

torch.set_num_threads(1)


def test_the_network_knows_what_photographs_show():
    with torch.no_grad():
        found = lite0()(photographs()).softmax(1)
    for name, one in zip(PHOTOGRAPHS, found, strict=True):
        assert one.argmax().item() in PHOTOGRAPHS[name]
        assert one[list(PHOTOGRAPHS[name])].sum() > 0.25
