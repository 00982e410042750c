"""The demo dataset: the same scenes always, balanced and spread out, with human maps that lie on the strokes."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from camstudy.core.geometry import resample
from camstudy.data import digits
from camstudy.data.digits import SIZE, SPLITS, make_scene
from camstudy.data.formats.clickme import blur_human_map
from camstudy.explain.methods.controls import center_bias

N = 40


@pytest.fixture(scope="module")
def scenes() -> list[digits.Scene]:
    return [make_scene("val", index, 0) for index in range(N)]


def equal(first: digits.Scene, second: digits.Scene) -> bool:
    return first.label == second.label and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("image", "stroke", "heatmap", "halves")
    )


def near(scene: digits.Scene, distance: int) -> np.ndarray:
    """Return whether a pixel is within ``distance`` of the digit's stroke."""
    return binary_dilation(scene.stroke > 0.5, iterations=distance)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return spearmanr(first.ravel(), second.ravel()).statistic


def compared(heatmaps: np.ndarray) -> np.ndarray:
    """Return heatmaps as models are compared with them: blurred, at 224x224."""
    return resample(blur_human_map(heatmaps))


def test_a_scene_depends_on_split_index_and_seed_alone(scenes):
    assert equal(make_scene("val", 7, 0), scenes[7])
    np.random.seed(3)
    assert equal(make_scene("val", 3, 0), scenes[3])
    for other in (make_scene("val", 17, 0), make_scene("val", 7, 1), make_scene("train", 7, 0)):
        assert other.label == scenes[7].label
        assert not np.array_equal(other.image, scenes[7].image)


@pytest.mark.parametrize("split", SPLITS)
def test_shapes_types_and_ranges(split):
    scene = make_scene(split, 4, 0)
    assert (scene.image.shape, scene.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (scene.stroke.shape, scene.stroke.dtype) == ((SIZE, SIZE), np.float32)
    assert (scene.heatmap.shape, scene.heatmap.dtype) == ((SIZE, SIZE), np.uint8)
    assert (scene.halves.shape, scene.halves.dtype) == ((2, SIZE, SIZE), np.uint8)
    assert scene.stroke.min() == 0
    assert scene.stroke.max() == 1
    assert scene.heatmap.max() == scene.halves[0].max() == scene.halves[1].max() == 255
    assert len(np.unique(scene.image)) > 50


def test_classes_are_balanced(scenes):
    assert np.bincount([scene.label for scene in scenes]).tolist() == [N // 10] * 10


def test_scans_are_for_testing_or_for_training():
    tested, trained = ({scan.tobytes() for scan in digits._digits(tested)[0]} for tested in (True, False))
    scans = (load_digits().images / 16).astype(np.float32)
    assert len(tested) > 400
    assert not tested & trained
    assert tested | trained == {scan.tobytes() for scan in scans}
    assert [name for name, split in SPLITS.items() if split.tested] == ["val"]


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_draw_from_the_scans_of_their_split_and_label(split, monkeypatch):
    """The digit is drawn first; distractors are halves of scans, and half of a one still is a one."""
    scans, truth = load_digits(return_X_y=True)
    labels = dict(zip((scan.tobytes() for scan in (scans / 16).astype(np.float32)), truth, strict=True))
    allowed = {scan.tobytes() for scan in digits._digits(split == "val")[0]}
    whole, glyph, fragment = [], digits._glyph, digits._fragment
    monkeypatch.setattr(digits, "_glyph", lambda scan, *rest: (whole.append(scan.tobytes()), glyph(scan, *rest))[1])
    monkeypatch.setattr(
        digits, "_fragment", lambda scan, *rest: (halved.append(scan.tobytes()), fragment(scan, *rest))[1]
    )
    for index in range(10):
        halved = []
        whole.clear()
        make_scene(split, index, 0)
        assert {whole[0], *halved} <= allowed
        assert labels[whole[0]] == index
        assert all(labels[scan] != 1 for scan in halved)
        low, high = SPLITS[split].distractors
        assert low <= len(halved) < high


def test_the_digit_lies_inside_the_image(scenes):
    for scene in scenes:
        edge = np.concatenate([scene.stroke[[0, -1]].ravel(), scene.stroke[:, [0, -1]].ravel()])
        assert edge.max() < 0.5
        assert (scene.stroke > 0.5).sum() > 500


def test_digits_have_the_size_of_their_split(scenes):
    """Strokes fill at most their box, of which a scan's empty margin is a fifth, and most of its height."""
    low, high = SPLITS["val"].side
    for scene in scenes:
        rows, columns = np.nonzero(scene.stroke > 0.5)
        assert 0.5 * low < np.ptp(rows) + 1 < high
        assert np.ptp(columns) + 1 < high


def test_digits_stand_out_from_their_surroundings(scenes):
    for scene in scenes:
        ring = near(scene, 8) & ~near(scene, 2) & (scene.stroke < 0.01)
        colours = (scene.image[area].mean(0) for area in (scene.stroke > 0.9, ring))
        assert np.abs(np.subtract(*colours)).mean() > 40


def test_distractors_are_painted_beside_the_digit(monkeypatch):
    painted, paint = [], digits._paint

    def watch(canvas, corner, piece, rng):
        painted.append((corner, piece))
        paint(canvas, corner, piece, rng)

    monkeypatch.setattr(digits, "_paint", watch)
    distractors = 0
    for index in range(20):
        painted.clear()
        stroke = make_scene("val", index, 0).stroke
        (y, x), digit = painted.pop()
        np.testing.assert_array_equal(stroke[y : y + len(digit), x : x + len(digit)], digit)
        for (y, x), piece in painted:
            assert stroke[y : y + len(piece), x : x + len(piece)].max() < 0.05
        distractors += len(painted)
    assert distractors > 5


def test_human_maps_lie_on_the_strokes(scenes):
    for scene in scenes:
        there = near(scene, 16)
        assert scene.heatmap[there].mean() > 10 * scene.heatmap[~there].mean()
        assert scene.heatmap[scene.stroke > 0.5].mean() > scene.heatmap[there].mean()


def test_the_halves_average_to_the_whole(scenes):
    """Each map is scaled to its own maximum, so that shapes are compared."""
    for scene in scenes:
        halves = scene.halves / scene.halves.mean((1, 2), keepdims=True)
        whole = scene.heatmap / scene.heatmap.mean()
        assert correlation(halves.mean(0), whole) > 0.99
        assert np.abs(halves.mean(0) - whole).mean() < 0.1
        assert not np.array_equal(*scene.halves)


def test_the_centre_says_little_and_the_annotators_agree(scenes):
    """The centre-bias control must stay low, and below what people reach among themselves."""
    centre = resample(center_bias(np.arange(1), {}))[0]
    human = compared(np.stack([scene.heatmap for scene in scenes]))
    halves = compared(np.concatenate([scene.halves for scene in scenes])).reshape(N, 2, 224, 224)
    bias = np.mean([correlation(one, centre) for one in human])
    ceiling = np.mean([correlation(*two) for two in halves])
    assert bias < 0.45
    assert 0.7 < ceiling < 0.95


def test_digits_are_spread_to_the_edges(scenes):
    centres = np.array([np.mean(np.nonzero(scene.stroke > 0.5), axis=1) for scene in scenes])
    assert (centres.min(0) < SIZE / 4).all()
    assert (centres.max(0) > 3 * SIZE / 4).all()
    # Uniform over what a digit of about 100 pixels can reach would be 45.
    assert (centres.std(0) > 45).all()


def test_boxes_and_masks_are_the_digits(scenes):
    for scene in scenes:
        assert (scene.mask == (scene.stroke > 0.5)).all()
        ((top, left, bottom, right),) = scene.boxes
        rows, columns = np.nonzero(scene.stroke > 0.5)
        assert (top, left, bottom - 1, right - 1) == (rows.min(), columns.min(), rows.max(), columns.max())
        outside = scene.stroke.copy()
        outside[top:bottom, left:right] = 0
        assert outside.max() <= 0.5
