"""Where people look whatever the image: the density of the fixations on all other images of a dataset."""

from collections.abc import Mapping, Sequence

import numpy as np

UNIFORM = 0.01  # share of a uniform density, so that no place is impossible


def fractions(dataset: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Return all fixations of a dataset as fractions of their images, float64 (k, 2), and the offsets of each image's.

    ``dataset`` holds arrays by name, as `camstudy.data.dataset` describes them.
    """
    offsets = dataset["fixation_offset"][:]
    sizes = dataset["image_size"][:] if "image_size" in dataset else np.array([dataset["pixels"].shape[1:3]])
    sizes = np.broadcast_to(sizes, (len(offsets) - 1, 2))
    return dataset["fixation"][:] / np.repeat(sizes, np.diff(offsets), axis=0), offsets


def others_density(
    points: np.ndarray, offsets: np.ndarray, images: Sequence[int], *, sigma: float, size: int
) -> np.ndarray:
    """Return for each image the density of the fixations on all other images, float32 (n, size, size) of sum 1.

    Every fixation counts once, in the cell of the grid in which it lies; the grid is blurred by a Gaussian and mixed
    with 1 % of a uniform density. Without other fixations it is uniform.

    Parameters
    ----------
    points, offsets : as `fractions` returns them
    images : positions in the dataset
    sigma : standard deviation of the Gaussian, as a share of each side
    size : rows and columns of the grid
    """
    cells = np.clip((points * size).astype(int), 0, size - 1) @ [size, 1]
    everything = np.bincount(cells, minlength=size**2)
    centres = (np.arange(size) + 0.5) / size
    blur = np.exp(-0.5 * ((centres[:, None] - centres) / sigma) ** 2)
    found = np.empty((len(images), size, size), np.float32)
    for row, image in enumerate(images):
        own = np.bincount(cells[offsets[image] : offsets[image + 1]], minlength=size**2)
        density = blur @ (everything - own).reshape(size, size) @ blur.T
        total = density.sum()
        share = UNIFORM if total > 0 else 1
        found[row] = (1 - share) * density / (total or 1) + share / size**2
    return found
