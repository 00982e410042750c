"""Scanpaths that are drawn, against the package multimatch-gaze, an alignment by brute force, and by hand."""

import itertools

import multimatch_gaze
import numpy as np
import pytest
from test_gaze_scoring import SIZE, N, store

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import read_scores
from camstudy.core.store import ArraySpec
from camstudy.explain.store import Heatmaps, heatmap_writer
from camstudy.metrics.families import METRICS
from camstudy.metrics.run import score
from camstudy.metrics.scanpath import first_fixation_distance, multimatch, multimatch_of_people, scanmatch
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.study.protocols import shipped

FRAME = np.array([60.0, 80.0])
KIND = [("start_x", float), ("start_y", float), ("duration", float)]


def draw(rng, count):
    return rng.uniform(0, FRAME, (count, 2))


def peer(path):
    return np.array([(x, y, 0.2) for y, x in path], KIND)


@pytest.mark.parametrize("counts", [(3, 3), (4, 9), (12, 5), (8, 8)])
def test_multimatch_equals_the_package(counts):
    rng = np.random.default_rng(counts)
    for _ in range(5):
        first, second = (draw(rng, count) for count in counts)
        expected = multimatch_gaze.docomparison(peer(first), peer(second), screensize=FRAME[::-1])
        np.testing.assert_allclose(multimatch(first, second, FRAME), np.ravel(expected[:4]).astype(float), atol=1e-12)


def test_multimatch_of_short_scanpaths_is_unknown():
    rng = np.random.default_rng(0)
    assert np.isnan(multimatch(draw(rng, 2), draw(rng, 5), FRAME)).all()
    paths, people = [draw(rng, 4), draw(rng, 4), draw(rng, 2)], [[draw(rng, 5), draw(rng, 2)], [], [draw(rng, 4)]]
    found = multimatch_of_people(paths, people, np.tile(FRAME, (3, 1)))
    np.testing.assert_array_equal(found[0], multimatch(paths[0], people[0][0], FRAME))
    assert np.isnan(found[1:]).all()
    for number, name in enumerate(("shape", "direction", "length", "position")):
        np.testing.assert_array_equal(METRICS[f"multimatch_{name}"].function(found), found[:, number])


def alignments(first, second):
    """Every way to pair cells of two strings in order: pairs, and how many are left over."""
    for count in range(min(len(first), len(second)) + 1):
        for a in itertools.combinations(range(len(first)), count):
            for b in itertools.combinations(range(len(second)), count):
                yield [*zip(a, b, strict=True)], len(first) + len(second) - 2 * count


@pytest.mark.parametrize("gap", [0.0, -0.7])
@pytest.mark.parametrize("counts", [(1, 1), (4, 4), (2, 5)])
def test_scanmatch_is_the_best_of_all_alignments(gap, counts):
    rng = np.random.default_rng(counts)
    settings = {"rows": 5, "columns": 6, "threshold": 2.5, "gap": gap}
    for _ in range(4):
        paths = [draw(rng, count) for count in counts]
        strings = [[(int(y / 60 * 5), int(x / 80 * 6)) for y, x in path] for path in paths]
        best = max(
            sum(2.5 - np.hypot(*np.subtract(strings[0][i], strings[1][j])) for i, j in pairs) + gap * left
            for pairs, left in alignments(*strings)
        )
        found = scanmatch(paths[:1], [paths[1:]], FRAME[None], **settings)
        assert found[0] == pytest.approx(best / (2.5 * max(counts)))


def test_equal_scanpaths_match():
    path = draw(np.random.default_rng(1), 6)
    assert scanmatch([path], [[path, path]], FRAME[None])[0] == pytest.approx(1)
    np.testing.assert_allclose(multimatch(path, path, FRAME), 1)
    assert first_fixation_distance([path], [[path]], FRAME[None])[0] == 0
    # Distances are means over people.
    other = path[:1] + np.array([30, 40])
    assert first_fixation_distance([path], [[path, other]], FRAME[None])[0] == pytest.approx(0.25)


@pytest.mark.parametrize("metric", [scanmatch, first_fixation_distance])
def test_without_a_scanpath_there_is_no_score(metric):
    path, nothing = draw(np.random.default_rng(2), 3), np.empty((0, 2))
    found = metric([path, nothing, path], [[], [path], [nothing, path]], np.tile(FRAME, (3, 1)))
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2])


# Of two observers an image, in no order in the store; of the last image one, and nobody looked at the one before.
RNG = np.random.default_rng(11)
COUNTS = [(5, 4), (3, 6), (4, 4), (0, 0), (5, 0)]
POINTS = [RNG.uniform((0, 10), (60, 70), (sum(pair), 2)).astype(np.float32) for pair in COUNTS]
OBSERVERS = [np.repeat([0, 1], pair).astype(np.int16) for pair in COUNTS]
ORDERS = [np.concatenate([RNG.permutation(count) for count in pair]) for pair in COUNTS]
VIEW = (0.0, 0.125, 1.0, 0.875)
STEPS = RNG.random((N, 6, 2)).astype(np.float32)
STEPS[1, 4:] = np.nan  # two steps were not taken
STEPS[2] = np.nan


def people(number):
    """The observers' scanpaths in pixels of the square in the middle, as stated."""
    own = [OBSERVERS[number] == one for one in range(2)]
    paths = [POINTS[number][who][np.argsort(ORDERS[number][who])] - [0, 10] for who in own]
    return [path for path in paths if len(path)]


def stored(folder, view, reference="human_map", paths=True):
    about = {"images": [0, N, N], "dataset": "d", "model": "net", "method": "fovea", "parameters": {}, "layer": None}
    about |= {"target_policy": None, "crop_box": view, "reference": reference}
    where = {"identity": "i", "names": [f"{i}" for i in range(N)], "labels": np.arange(N), "shape": (4, 4), "chunk": N}
    arrays = {"scanpath": ArraySpec("float32", (6, 2), ("step", "row_column"))} if paths else {}
    writer = heatmap_writer(folder / "h.json", attrs=about, arrays=arrays, **where)
    values = {"scanpath": STEPS} if paths else {}
    writer.write(slice(0, N), heatmap=np.ones((N, 4, 4), np.float32), target=np.arange(N), **values)
    writer.finish()
    return Heatmaps([folder / "h.json"])


def scored(folder, maps, orders=ORDERS, **settings):
    dataset = store(folder, POINTS, OBSERVERS, orders)
    entry = shipped()["scanpaths"] | settings
    work = Work(FAMILIES["scanpath"], entry, dataset, maps, {"postprocess": {}}, {})
    (path,) = score(work, folder / "s.parquet")
    return read_scores([path])


def test_scanpaths_of_a_method_are_compared_with_each_person_s(tmp_path):
    table = scored(tmp_path, stored(tmp_path, VIEW), columns=10)
    for number in (0, 1, 4):
        path = STEPS[number][np.isfinite(STEPS[number]).all(1)].astype(float) * 60
        others, frame = [people(number)], np.array([[60.0, 60.0]])
        row = table.loc[number]
        assert row["scanmatch"] == pytest.approx(scanmatch([path], others, frame, columns=10)[0], abs=1e-6)
        assert row["first_fixation_distance"] == pytest.approx(
            first_fixation_distance([path], others, frame)[0], abs=1e-6
        )
        expected = np.mean([multimatch(path, other, frame[0]) for other in others[0]], 0)
        names = [f"multimatch_{name}" for name in ("shape", "direction", "length", "position")]
        np.testing.assert_allclose(row[names].astype(float), expected, atol=1e-5)
    # The method went nowhere, and nobody looked.
    assert table.loc[2:3, shipped()["scanpaths"]["metrics"]].isna().all(axis=None)


def test_steps_beyond_the_image_are_at_its_border(tmp_path, monkeypatch):
    """Points of FovEx may leave the image, people's do not: no distance exceeds the diagonal, as is stated."""
    far = STEPS.copy()
    far[0] = [[-1.5, 2.5], [0.5, 3], [2, 0.5], [0.5, -1], [0, 0], [1, 1]]
    border = [[0, 60], [30, 60], [60, 30], [30, 0], [0, 0], [60, 60]]
    monkeypatch.setitem(globals(), "STEPS", far)
    row, others, frame = scored(tmp_path, stored(tmp_path, VIEW)).loc[0], people(0), np.array([60.0, 60.0])
    expected = np.mean([multimatch(np.array(border, float), other, frame) for other in others], 0)
    names = [f"multimatch_{name}" for name in ("shape", "direction", "length", "position")]
    np.testing.assert_allclose(row[names].astype(float), expected, atol=1e-5)
    distances = [np.hypot(*(other[0] - [0, 60])) / np.hypot(60, 60) for other in others]
    assert row["first_fixation_distance"] == pytest.approx(np.mean(distances), abs=1e-6)


def test_one_observer_alone_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "OBSERVERS", [np.zeros_like(one) for one in OBSERVERS])
    table = scored(tmp_path, stored(tmp_path, (0, 0, 1, 1), "observers", paths=False))
    assert table["scanmatch"].isna().all()
    assert table["n_fixations"].tolist() == [sum(pair) for pair in COUNTS]


def test_people_s_scanpaths_are_compared_with_the_others(tmp_path):
    table = scored(tmp_path, stored(tmp_path, (0, 0, 1, 1), "observers", paths=False))
    for number in range(3):
        first, second = (path + np.array([0, 10]) for path in people(number))
        both = scanmatch([first, second], [[second], [first]], np.tile(np.array(SIZE, float), (2, 1)))
        assert table.loc[number, "scanmatch"] == pytest.approx(both.mean(), abs=1e-6)
    assert table.loc[3:, "scanmatch"].isna().all()


def test_scanpaths_need_an_order(tmp_path):
    with pytest.raises(CamstudyError, match="the order of fixations is not known, which scanpaths need"):
        scored(tmp_path, stored(tmp_path, VIEW), [np.full(len(one), -1) for one in ORDERS])
