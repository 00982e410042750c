"""Gradients of a network at its input: whether they agree with guided ones, how rough they are, and how concentrated.

Pure functions of gradients (n, channels, h, w); `camstudy.models.guided.input_gradients` makes them. Scores do not
depend on the scale of a gradient, which falls as a network is trained.
"""

import numpy as np

from camstudy.metrics.registry import METRICS

FAMILY = "gradients"
SOURCE = "after arXiv 2404.15024, which pulls one towards the other in training"
# A gradient of so small a norm is zero, as in the term of the loss.
EPSILON = 1e-8


@METRICS.register(
    "gradient_cosine",
    family=FAMILY,
    direction="up",
    range=(-1.0, 1.0),
    level="image",
    label="Cosine with guided gradient",
    source=SOURCE,
    needs=("input_gradient", "guided_gradient"),
)
def gradient_cosine(gradient: np.ndarray, guided: np.ndarray) -> np.ndarray:
    """Return how much the gradient at the image agrees with the one of guided backpropagation.

    <d, g> / (max(|d|, 1e-8) max(|g|, 1e-8)) over all pixels and colours: d the gradient of the image's loss by ordinary
    backpropagation, g the same by guided backpropagation (arXiv 1412.6806), which stops negative signals at every ReLU.

    Edge cases: with a gradient of zeros, as images have whose loss rounds to 0, it is 0.
    """
    first, second = _flat(gradient), _flat(guided)
    if first.shape != second.shape:
        raise ValueError(f"expected gradients of one shape, found {gradient.shape} and {guided.shape}")
    norms = [np.maximum(np.linalg.norm(values, axis=1), EPSILON) for values in (first, second)]
    return (first * second).sum(1) / (norms[0] * norms[1])


@METRICS.register(
    "gradient_variation",
    family=FAMILY,
    direction="down",
    range=(0.0, 4.0),
    level="image",
    label="Total variation of gradient",
    source="total variation (Rudin, Osher and Fatemi 1992), anisotropic",
    needs=("input_gradient",),
    partial=True,
)
def gradient_variation(gradient: np.ndarray) -> np.ndarray:
    """Return how rough the gradient at the image is: its total variation relative to its size.

    Sum of abs(d - neighbour) over all pairs of neighbours in rows and columns and all colours, divided by the sum of
    abs(d). Of a gradient that is constant it is 0, of one whose signs alternate from pixel to pixel nearly 4; of white
    noise it is 2.8.

    Edge cases: missing for a gradient of zeros.
    """
    values = np.asarray(gradient, np.float64)
    across = sum(np.abs(np.diff(values, axis=axis)).sum((1, 2, 3)) for axis in (2, 3))
    return _share(across, np.abs(values).sum((1, 2, 3)), values)


@METRICS.register(
    "gradient_energy",
    family=FAMILY,
    direction="up",
    range=(0.1, 1.0),
    level="image",
    label="Energy in the top tenth",
    source="this project",
    needs=("input_gradient",),
    unit="%",
    partial=True,
)
def gradient_energy(gradient: np.ndarray) -> np.ndarray:
    """Return how concentrated the gradient at the image is: the share of its energy that a tenth of the pixels has.

    The energy of a pixel is the sum of d^2 over colours; the tenth is that of the highest energies, rounded to whole
    pixels, at least one. It is 0.1 where all pixels have the same and 1 where a tenth has all. More is clearer, not
    better as such.

    Edge cases: missing for a gradient of zeros.
    """
    values = np.asarray(gradient, np.float64)
    energy = np.sort(np.square(values).sum(1).reshape(len(values), -1), axis=1)
    top = max(1, round(energy.shape[1] / 10))
    return _share(energy[:, -top:].sum(1), energy.sum(1), values)


def _flat(gradient: np.ndarray) -> np.ndarray:
    if np.ndim(gradient) != 4:
        raise ValueError(f"expected gradients (n, channels, h, w), found shape {np.shape(gradient)}")
    return np.asarray(gradient, np.float64).reshape(len(gradient), -1)


def _share(part: np.ndarray, whole: np.ndarray, values: np.ndarray) -> np.ndarray:
    there = np.linalg.norm(_flat(values), axis=1) >= EPSILON
    return np.divide(part, whole, out=np.full(len(values), np.nan), where=there)
