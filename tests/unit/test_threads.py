"""What a score is made of, with one thread and with two: the same to the bit where floats are cut or compared."""

import numpy as np
import pytest
import torch
from localized import score_localization
from scipy.ndimage import gaussian_filter
from skimage import data
from threadpoolctl import threadpool_limits

from camstudy.core.geometry import resample, resample_in_boxes
from camstudy.data.formats.clickme import blur_human_map
from camstudy.data.formats.gaze import fixation_density
from camstudy.metrics.faithfulness import FAMILY, Protocol
from camstudy.metrics.localization import box_hits, map_box
from camstudy.metrics.probing import pixel_ranks, probe
from camstudy.metrics.registry import score_family
from camstudy.metrics.sanity import step_correlation
from camstudy.metrics.sweep import sweep_floors
from camstudy.models.inputs import prepare, prepare_as_authors
from tests.unit import nets

RNG = np.random.default_rng(0)
N = 6
INPUT = {"size": 224, "crop_pct": 0.875, "interpolation": "bicubic", "mean": nets.MEAN, "std": nets.STD}
# A photograph, flat squares (of which a rounding error would cut many pixels at once), and smooth noise.
IMAGES = np.stack(
    [
        data.astronaut()[100:356, 100:356],
        *(np.full((256, 256, 3), level, np.uint8) for level in (85, 170, 255)),
        *(127 + 127 * np.tanh(gaussian_filter(RNG.normal(0, 9, (2, 256, 256, 3)), (0, 3, 3, 0)))).astype(np.uint8),
    ]
)
MAPS = np.maximum(RNG.normal(0, 1, (N, 7, 7)), 0).astype(np.float32)
MAPS[1] = np.round(MAPS[1])  # plateaus
HUMAN = blur_human_map((255 * RNG.random((N, 256, 256)) ** 8).astype(np.uint8))
BOXES = np.array([[[20, 30, 150, 200], [100, 90, 220, 224]]] * N, float)
LABELS = np.arange(N) % nets.CLASSES


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def under(threads: int, work) -> dict[str, np.ndarray]:
    torch.set_num_threads(threads)
    with threadpool_limits(threads), torch.no_grad():
        return {name: np.asarray(values) for name, values in work().items()}


def prepared():
    return {
        "square": prepare(IMAGES, INPUT),
        "photographs": prepare(list(IMAGES), INPUT),
        "authors": prepare_as_authors(IMAGES, INPUT),
    }


def compared():
    maps = resample(MAPS)
    human = resample_in_boxes(HUMAN, np.tile([0.0625, 0.0625, 0.9375, 0.9375], (N, 1)))
    return {
        "maps": maps,
        "human": human,
        "density": fixation_density(np.float32([[10, 20], [200, 30]]), (300, 400), 35.0),
        "hits": box_hits(maps, BOXES, iou=(0.3, 0.5, 0.7)),
        "map_box": map_box(maps),
        "rank": pixel_ranks(torch.from_numpy(maps)),
        "floors": sweep_floors(MAPS, human, [None, 0, 0.3])[0],
        "steps": step_correlation(MAPS, MAPS[::-1]),
        **score_family("agreement", {"heatmap": maps, "human_map": human}),
        **score_localization(maps, BOXES, LABELS > 1),
    }


@pytest.mark.parametrize("work", [prepared, compared])
def test_inputs_and_comparisons_are_the_same_to_the_bit(work):
    one, two = under(1, work), under(2, work)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_what_the_network_says_is_the_same_up_to_rounding():
    """The order in which a network sums may differ; which pixels it is shown may not."""
    images, model = prepare(IMAGES, INPUT), nets.net()

    def probed():
        found, _ = probe(
            model, images, MAPS, LABELS, LABELS, mean=[*nets.MEAN], std=[*nets.STD], protocol=Protocol(step=7168)
        )
        return found | score_family(FAMILY, found)

    one, two = under(1, probed), under(2, probed)
    for name, values in one.items():
        np.testing.assert_allclose(values.astype(float), two[name].astype(float), rtol=0, atol=1e-5, err_msg=name)
