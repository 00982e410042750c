"""ClickMe's images and heatmaps as TensorFlow makes them, to the bit; what it made is in tests/unit/data."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.clickme import ClickMe, encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.models.inputs import resize_as_tensorflow

DATA = Path(__file__).with_name("data")
CLICKME, PHOTOGRAPH = np.load(DATA / "tf_clickme.npz"), np.load(DATA / "tf_photograph.npz")
JPEG = PHOTOGRAPH["jpeg"].tobytes()


def record(folder, jpeg, **features):
    blank = encode_example(np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8), 0)
    write_shard(folder / "a.tfrecords", [blank | features])
    (found,) = ClickMe([folder / "a.tfrecords"], jpeg=jpeg).read([0])
    return found


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_a_photograph_is_tensorflows_from_the_file_to_the_network(tmp_path):
    image = record(tmp_path, "fast", image=JPEG).image
    assert digest(image) == str(PHOTOGRAPH["decoded"])
    resized = resize_as_tensorflow(image, 224)
    assert digest(resized) == str(PHOTOGRAPH["resized"])
    assert digest(resized.astype(np.uint8)) == str(PHOTOGRAPH["truncated"])


def test_exact_decoding_of_a_photograph_differs_by_what_is_stated(tmp_path):
    """The figures of docs/definitions.md."""
    exact, fast = (record(tmp_path, jpeg, image=JPEG).image.astype(int) for jpeg in ("exact", "fast"))
    difference = np.abs(exact - fast)
    assert difference.max() == 15
    assert difference.mean() == pytest.approx(1.33, abs=0.01)
    assert (difference > 4).mean() == pytest.approx(0.029, abs=1e-3)


@pytest.mark.parametrize("name", ["image_420", "image_444", "image_grey"])
def test_images_are_tensorflows(tmp_path, name):
    image = record(tmp_path, "fast", image=CLICKME[name].tobytes()).image
    windows = np.stack([image[y : y + 32, x : x + 32] for y, x in ((88, 64), (224, 224))])
    np.testing.assert_array_equal(windows, CLICKME[f"{name}_windows"])


@pytest.mark.parametrize("number", [0, 1])
def test_heatmaps_are_tensorflows(tmp_path, number):
    jpeg = CLICKME[f"heatmap_{number}"].tobytes()
    found = record(tmp_path, "fast", heatmap=jpeg, heatmap_halves=[jpeg, jpeg])
    np.testing.assert_array_equal(found.heatmap, CLICKME[f"decoded_{number}"])
    np.testing.assert_array_equal(found.halves, [found.heatmap] * 2)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    with pytest.raises(
        CamstudyError, match=r"a\.tfrecords, record 0: `image` cannot be decoded as JPEG \(2000 bytes\)"
    ):
        record(tmp_path, "fast", image=JPEG[:2000])
    with pytest.raises(CamstudyError, match="`heatmap` is a JPEG of 256x256 pixels in RGB colour, expected"):
        record(tmp_path, "fast", heatmap=JPEG)
