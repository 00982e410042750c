"""Control maps: seeded per image, centred, and taken from the annotators."""

import numpy as np
import pytest
import zarr
from scipy import stats

from camstudy.core.errors import CamstudyError
from camstudy.explain.registry import METHODS, bind


def test_random_depends_on_seed_and_image_alone():
    random = bind("random", {"seed": 5})
    maps = random(np.arange(6), {})
    assert maps.shape == (6, 7, 7)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(random(np.array([4, 1]), {}), maps[[4, 1]])
    assert len(np.unique(maps.reshape(6, -1), axis=0)) == 6
    assert not np.array_equal(bind("random", {"seed": 6})(np.arange(6), {}), maps)


def test_random_is_uniform_and_unrelated_between_images():
    maps = bind("random", {"size": 16})(np.arange(200), {})
    assert maps.shape == (200, 16, 16)
    assert stats.kstest(maps.ravel(), "uniform").pvalue > 0.01
    correlations = np.corrcoef(maps.reshape(200, -1))[np.triu_indices(200, 1)]
    assert abs(correlations.mean()) < 0.005


def test_center_bias_is_a_gaussian_of_a_quarter_of_the_side():
    maps = bind("center_bias", {})(np.array([3, 9]), {})
    assert maps.shape == (2, 64, 64)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps[0], maps[1])
    centre = (np.arange(64) - 31.5) / 64
    density = stats.multivariate_normal([0, 0], np.eye(2) / 16).pdf(np.dstack(np.meshgrid(centre, centre)))
    np.testing.assert_allclose(maps[0] / maps[0].max(), density / density.max(), rtol=1e-5)


def test_center_bias_sigma():
    narrow = bind("center_bias", {"sigma": 0.1, "size": 101})(np.array([0]), {})[0]
    assert narrow[50, 50] == 1
    # One standard deviation from the centre: 10.1 pixels, between the two nearest ones.
    assert narrow[50, 61] < np.exp(-0.5) < narrow[50, 60]


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_human_split_half_is_the_first_half(kind):
    half = np.random.default_rng(0).random((5, 2, 8, 8)).astype(np.float32)
    dataset = {"human_half": half}
    if kind == "zarr":
        dataset = zarr.create_group(zarr.storage.MemoryStore())
        dataset.create_array("human_half", data=half, chunks=(2, 2, 8, 8))
    maps = bind("human_split_half", {})(np.array([3, 0, 4]), dataset)
    np.testing.assert_array_equal(maps, half[[3, 0, 4], 0])
    assert maps.dtype == np.float32


def test_reference_of_the_split_half():
    assert METHODS["human_split_half"].reference == "human_half"
    assert METHODS["random"].reference == METHODS["center_bias"].reference == "human_map"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("human_split_half", {}, "no array `human_half`"),
        ("random", {"seed": -1}, "`seed` must be at least 0, found -1"),
        ("random", {"size": 0}, "`size` must be at least 2, found 0"),
        ("center_bias", {"sigma": 0}, "`sigma` must be above 0, found 0"),
    ],
)
def test_mistakes(name, parameters, message):
    with pytest.raises(CamstudyError, match=message):
        bind(name, parameters)(np.arange(2), {})
