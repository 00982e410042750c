"""Gaze data sets in miniature, in the files of their distributors, and densities against a blurred picture."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from trees import POINTS, SIZES, cat2000, centres, matlab, mit1003, picture, salicon

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.gaze import fixation_density, read_cat2000, read_mit1003, read_salicon
from camstudy.data.formats.photographs import write_photographs


@pytest.mark.parametrize("packed", [False, True])
def test_mit1003(tmp_path, packed):
    files, (one, two) = mit1003(tmp_path, packed)
    assert [sorted(map(tuple, item.fixations.tolist())) for item in (one, two)] == [*map(centres, POINTS.values())]
    assert files.read(one.name) == picture(*SIZES["one"])
    assert {*one.observers, *two.observers} == {-1}
    assert one.label == two.label == -1


@pytest.mark.parametrize("packed", [False, True])
def test_cat2000(tmp_path, packed):
    files, photographs = cat2000(tmp_path, packed)
    found = {item.name.split("Stimuli/")[1]: sorted(map(tuple, item.fixations.tolist())) for item in photographs}
    assert found == {
        "Action/001.jpg": centres(POINTS["one"]),
        "Action/002.jpg": centres(POINTS["two"]),
        "Fractal/001.jpg": centres(POINTS["one"][:1]),
        "Fractal/002.jpg": centres(POINTS["two"]),
    }
    assert files.read(photographs[1].name) == picture(*SIZES["two"])


@pytest.mark.parametrize("packed", [False, True])
def test_salicon(tmp_path, packed):
    _, photographs = salicon(tmp_path, packed)
    folder = "images/train" if packed else "train"
    assert [item.name for item in photographs] == [f"{folder}/COCO_train2014_{name}.jpg" for name in POINTS]
    for item, points in zip(photographs, POINTS.values(), strict=True):
        # The fixation outside the picture is gone, the one that two people share counts twice.
        assert sorted(map(tuple, item.fixations.tolist())) == centres([*points, points[0]])
        assert item.observers.tolist() == [0] * len(points) + [1]


def test_salicon_observer_without_fixations(tmp_path):
    gaze = np.zeros((2, 1), dtype=[("fixations", object)])
    gaze[0, 0]["fixations"], gaze[1, 0]["fixations"] = np.zeros((0, 2)), np.array([[3, 7]])
    _, photographs = salicon(tmp_path, gaze=gaze)
    assert photographs[0].fixations.tolist() == [[6.5, 2.5]]
    assert photographs[0].observers.tolist() == [1]


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_density_equals_a_blurred_picture(shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers((10, 10), (shape[0] - 10, shape[1] - 10), (6, 2))
    hits = np.zeros(shape)
    np.add.at(hits, tuple(pixels.T), 1)
    # Wide zero borders: what falls outside is lost, as it is where scipy goes on with zeros.
    expected = gaussian_filter(hits, 4, mode="constant", truncate=12)
    expected /= expected.sum()
    found = fixation_density(pixels + 0.5, shape, 4, size=shape)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


def test_density_of_a_grid_is_that_of_the_pixels_at_its_centres():
    points = np.array([[20.3, 70.1], [50.0, 11.0]])
    # Cells of 3 x 5 pixels, whose centres are centres of pixels.
    fine = fixation_density(points, (60, 100), 9, size=(60, 100))[1::3, 2::5]
    coarse = fixation_density(points, (60, 100), 9, size=(20, 20))
    assert np.allclose(coarse, fine / fine.sum(), rtol=1e-4, atol=0)


def test_no_fixations_give_an_empty_density():
    assert not fixation_density(np.empty((0, 2)), (60, 100), 9).any()


@pytest.mark.parametrize("make", [mit1003, salicon, cat2000])
def test_stores_hold_fixations_and_densities(tmp_path, make):
    (tmp_path / "raw").mkdir()
    files, photographs = make(tmp_path / "raw")
    write_photographs(
        tmp_path / "data.json",
        files,
        photographs,
        attrs=dict.fromkeys(ATTRIBUTES),
        identity="f",
        density=lambda fixations, shape: fixation_density(fixations, shape, 5),
        chunk=2,
    )
    dataset = open_dataset(tmp_path / "data.json")
    for index, item in enumerate(photographs):
        assert np.array_equal(dataset.fixations()[index], item.fixations)
        assert np.array_equal(dataset.fixations([index])[0], item.fixations)
        assert np.array_equal(dataset.observers()[index], item.observers)
        height, width = dataset.sizes[index]
        peak = np.unravel_index(dataset.human_map([index])[0].argmax(), (128, 128))
        place = (np.array(peak) + 0.5) / 128 * (height, width)
        assert min(np.abs(item.fixations - place).max(axis=1)) < 1.5
    assert set(dataset.labels) == {-1}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (read_mit1003, r"ALLSTIMULI and ALLFIXATIONMAPS not found"),
        (read_salicon, r"images and fixations not found"),
        (read_cat2000, r"trainSet not found"),
    ],
)
def test_missing_parts_say_what_to_put_where(tmp_path, read, message):
    with pytest.raises(CamstudyError, match=message):
        read(tmp_path)


def test_images_without_fixations_are_counted_and_named(tmp_path):
    mit1003(tmp_path)
    (tmp_path / "ALLFIXATIONMAPS/two_fixPts.jpg").unlink()
    with pytest.raises(CamstudyError, match=r"ALLSTIMULI: no fixations of 1 images, such as two\.jpeg"):
        read_mit1003(tmp_path)
    cat2000(tmp_path)
    (tmp_path / "trainSet/FIXATIONLOCS/Action/002.mat").unlink()
    with pytest.raises(CamstudyError, match=r"no fixations of 1 images, such as Stimuli/Action/002\.jpg"):
        read_cat2000(tmp_path)


def test_files_of_another_content_are_named(tmp_path):
    salicon(tmp_path)
    name = tmp_path / "fixations/train/COCO_train2014_one.mat"
    name.write_bytes(matlab(gaze=1))
    with pytest.raises(CamstudyError, match=r"fixations, train/COCO_train2014_one\.mat: .* gaze and resolution"):
        read_salicon(tmp_path)
    name.write_bytes(matlab(gaze=1, resolution=[40, 64]))
    with pytest.raises(CamstudyError, match=r"COCO_train2014_one\.mat: `gaze` is not a list of observers"):
        read_salicon(tmp_path)
    name.write_bytes(b"no MATLAB")
    with pytest.raises(CamstudyError, match=r"COCO_train2014_one\.mat: not a MATLAB file"):
        read_salicon(tmp_path)
    mit1003(tmp_path)
    (tmp_path / "ALLFIXATIONMAPS/one_fixPts.jpg").write_bytes(b"no JPEG")
    with pytest.raises(CamstudyError, match=r"one_fixPts\.jpg: cannot be decoded"):
        read_mit1003(tmp_path)
