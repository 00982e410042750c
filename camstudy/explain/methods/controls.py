"""Control maps, which no model has made: the level that an explanation must beat, and the human one."""

from collections.abc import Mapping

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.data.center import fractions, others_density
from camstudy.explain.parameters import above, at_least
from camstudy.explain.registry import METHODS

_BLURRED = {"sigma": above(0), "size": at_least(2)}


@METHODS.register(
    "random",
    needs="dataset",
    source="control: independent uniform noise",
    allowed={"seed": at_least(0), "size": at_least(2)},
)
def random(image_ids: np.ndarray, dataset: Mapping, *, seed: int = 0, size: int = 7) -> np.ndarray:
    """Return maps (n, size, size) of U(0, 1), drawn for each image from (seed, image id).

    A map depends neither on the other images nor on their order.
    """
    generators = (np.random.default_rng(np.random.SeedSequence([seed, int(i)])) for i in image_ids)
    return np.stack([generator.random((size, size), dtype=np.float32) for generator in generators])


@METHODS.register(
    "center_bias",
    needs="dataset",
    source="control: people look at, and photographers aim at, the centre",
    allowed=_BLURRED,
)
def center_bias(image_ids: np.ndarray, dataset: Mapping, *, sigma: float = 0.25, size: int = 64) -> np.ndarray:
    """Return for every image the same isotropic Gaussian (size, size) at the image centre, values in (0, 1].

    ``sigma`` is its standard deviation as a share of the image side.
    """
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


@METHODS.register(
    "gaze_center_bias",
    needs="dataset",
    source="control: where people look on all other images",
    reference="fixation",
    allowed=_BLURRED,
)
def gaze_center_bias(image_ids: np.ndarray, dataset: Mapping, *, sigma: float = 0.05, size: int = 64) -> np.ndarray:
    """Return for each image the density of the fixations on all other images, (n, size, size) of sum 1.

    `camstudy.data.center.others_density` of ``dataset``'s fixations; ``sigma`` is the standard deviation of the
    Gaussian as a share of each side.
    """
    _check_gaze("gaze_center_bias", dataset)
    return others_density(*fractions(dataset), np.asarray(image_ids), sigma=sigma, size=size)


@METHODS.register(
    "human_observers",
    needs="dataset",
    source="control: the other observers of an image as an explanation of each one",
    reference="observers",
)
def human_observers(image_ids: np.ndarray, dataset: Mapping) -> np.ndarray:
    """Return the human maps (n, h, w) of all observers; scored, each observer is compared with the others alone.

    ``dataset`` holds ``human_map``, and who made the fixations in ``observer``.
    """
    _check_gaze("human_observers", dataset)
    if not (dataset["observer"][:] >= 0).any():
        raise CamstudyError(
            "method `human_observers`: the dataset does not say who made which fixation; take the method out of "
            "`controls`, or use data that say so"
        )
    return np.asarray(dataset["human_map"][np.asarray(image_ids)], np.float32)


def _check_gaze(method: str, dataset: Mapping) -> None:
    if "fixation" not in dataset:
        raise CamstudyError(
            f"method `{method}`: the dataset has no fixations; take the method out of `controls`, or use data with gaze"
        )
