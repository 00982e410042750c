"""Control maps, which no model has made: the level that an explanation must beat, and the human one."""

from collections.abc import Mapping

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.explain.registry import METHODS


@METHODS.register("random", needs="dataset", source="control: independent uniform noise")
def random(image_ids: np.ndarray, dataset: Mapping, *, seed: int = 0, size: int = 7) -> np.ndarray:
    """Return maps (n, size, size) of U(0, 1), drawn for each image from (seed, image id).

    A map depends neither on the other images nor on their order.
    """
    if seed < 0 or size < 2:
        raise CamstudyError(f"method `random`: needs seed >= 0 and size >= 2, found seed {seed} and size {size}")
    generators = (np.random.default_rng(np.random.SeedSequence([seed, int(i)])) for i in image_ids)
    return np.stack([generator.random((size, size), dtype=np.float32) for generator in generators])


@METHODS.register(
    "center_bias", needs="dataset", source="control: people look at, and photographers aim at, the centre"
)
def center_bias(image_ids: np.ndarray, dataset: Mapping, *, sigma: float = 0.25, size: int = 64) -> np.ndarray:
    """Return for every image the same isotropic Gaussian (size, size) at the image centre, values in (0, 1].

    ``sigma`` is its standard deviation as a share of the image side.
    """
    if sigma <= 0 or size < 2:
        raise CamstudyError(f"method `center_bias`: needs sigma > 0 and size >= 2, found {sigma} and {size}")
    offset = (np.arange(size) + 0.5) / size - 0.5
    profile = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.tile(np.outer(profile, profile).astype(np.float32), (len(image_ids), 1, 1))


@METHODS.register(
    "human_split_half",
    needs="dataset",
    source="control: half of the annotators as an explanation of the other half",
    reference="human_half",
)
def human_split_half(image_ids: np.ndarray, dataset: Mapping) -> np.ndarray:
    """Return the human maps (n, 64, 64) of the first half of the annotators, to compare with the other.

    ``dataset`` holds ``human_half``, float32 (images, 2, 64, 64).
    """
    if "human_half" not in dataset:
        raise CamstudyError(
            "method `human_split_half`: the dataset has no array `human_half`, the maps of two halves of its "
            "annotators; take the method out of `controls`, or use a dataset that has the array"
        )
    return np.asarray(dataset["human_half"][np.asarray(image_ids)], np.float32)[:, 0]
