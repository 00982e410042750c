"""The family of gaze: what a model saw of images and fixations, whom it is compared with, and what does not count."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import points_in_view
from camstudy.core.parts import read_scores
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.center import fractions, others_density
from camstudy.data.dataset import open_dataset
from camstudy.data.digits import SIGMA, make_scene
from camstudy.data.formats.photographs import gaze_specs
from camstudy.explain.methods import METHODS, bind
from camstudy.explain.store import Heatmaps, heatmap_writer
from camstudy.metrics.gaze import auc_judd, kld, nss, shuffled_auc
from camstudy.metrics.looking import Looking
from camstudy.metrics.run import score
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.study.protocols import shipped

N, SIZE, BLUR = 5, (60, 80), 4.0
VIEW = (0.0, 0.125, 1.0, 0.875)  # the square in the middle
RNG = np.random.default_rng(5)
MAPS = RNG.normal(size=(N, 6, 6)).astype(np.float32)
MAPS[3] = 0.25  # degenerate
# Of three observers an image; of the last but one one observer, and nobody looked at the last.
COUNTS = [9, 12, 7, 5, 0]
POINTS = [RNG.uniform(0, SIZE, (count, 2)).astype(np.float32) for count in COUNTS]
OBSERVERS = [np.sort(np.arange(count, dtype=np.int16) % 3) for count in COUNTS]
OBSERVERS[3][:] = 1


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return store(tmp_path_factory.mktemp("gaze"), POINTS, OBSERVERS)


def store(folder, points, observers, orders=None):
    n, offsets = len(points), np.cumsum([0, *map(len, points)])
    arrays = {"pixels": ArraySpec("uint8", (*SIZE, 3), ("y", "x", "channel"))}
    arrays |= {"human_map": ArraySpec("float32", (8, 8), ("map_y", "map_x")), **gaze_specs(offsets)}
    fixed = {"image": (("image",), [f"{i}" for i in range(n)]), "label": (("image",), np.arange(n))}
    about = {"arrays": arrays, "attrs": {"sigma": BLUR}, "identity": "d", "fixed": fixed}
    writer = StoreWriter(folder / "d.json", n=n, chunk=n, **about)
    order = np.concatenate(observers) * 0 if orders is None else np.concatenate(orders)
    gaze = {"fixation": np.concatenate(points), "observer": np.concatenate(observers)}
    gaze |= {"fixation_order": order.astype(np.int16), "fixation_duration": np.full(len(order), -1, np.float32)}
    images = np.zeros((n, *SIZE, 3), np.uint8)
    writer.write(slice(0, n), pixels=images, human_map=np.ones((n, 8, 8), np.float32), **gaze)
    writer.finish()
    return open_dataset(folder / "d.json")


def heatmaps(folder, maps, view=VIEW, reference="human_map"):
    n = len(maps)
    about = {"images": [0, n, n], "dataset": "d", "model": "net", "method": "cam", "parameters": {}, "layer": None}
    about |= {"target_policy": None, "crop_box": view, "reference": reference}
    names = [f"{i}" for i in range(n)]
    where = {"identity": "i", "names": names, "labels": np.arange(n), "shape": maps.shape[1:], "chunk": n}
    writer = heatmap_writer(folder / "h.json", attrs=about, **where)
    writer.write(slice(0, n), heatmap=maps, target=np.arange(n))
    writer.finish()
    return Heatmaps([folder / "h.json"])


def scored(folder, dataset, maps, **settings):
    entry = shipped()["gaze"] | settings
    work = Work(FAMILIES["gaze"], entry, dataset, maps, {"postprocess": {}}, {})
    (path,) = score(work, folder / "g.parquet")
    return read_scores([path])


def seen(number):
    """The map, the fixated pixels and their density in the 60x60 pixels that the model saw, as stated."""
    heat = F.interpolate(torch.from_numpy(MAPS[number]).double()[None, None], (60, 60), mode="bilinear")[0, 0].numpy()
    pixels = POINTS[number].astype(int) - [0, 10]
    pixels = pixels[(pixels[:, 1] >= 0) & (pixels[:, 1] < 60)]
    # A density of points, from a picture so much finer that pixels do not matter.
    fine = np.zeros((600, 600))
    places = ((POINTS[number].astype(float) - [0, 10]) * 10).astype(int)
    places = places[(places[:, 1] >= 0) & (places[:, 1] < 600)]
    np.add.at(fine, tuple(places.T), 1)
    blurred = gaussian_filter(fine, 10 * BLUR, mode="constant", truncate=8).reshape(60, 10, 60, 10).mean((1, 3))
    return heat, pixels, blurred / max(blurred.sum(), 1e-300)


def test_maps_and_fixations_are_those_that_the_model_saw(tmp_path, dataset):
    table = scored(tmp_path, dataset, heatmaps(tmp_path, MAPS), baseline="uniform")
    for number in range(N):
        heat, pixels, density = seen(number)
        row = table.loc[number]
        assert row["n_fixations"] == len(pixels)
        assert row["n_fixations_dropped"] == COUNTS[number] - len(pixels)
        if number >= 3:
            continue
        values, fixated = heat[tuple(pixels.T)], np.zeros((60, 60), bool)
        fixated[tuple(pixels.T)] = True
        others = np.concatenate([seen(other)[1] for other in range(N) if other != number])
        assert row["nss"] == pytest.approx(((values - heat.mean()) / heat.std()).mean(), abs=1e-5)
        for name, negatives in (("auc_judd", heat[~fixated]), ("shuffled_auc", heat[tuple(others.T)])):
            truth = np.r_[np.ones(len(values)), np.zeros(len(negatives))]
            assert row[name] == pytest.approx(roc_auc_score(truth, np.r_[values, negatives]), abs=1e-3)
        assert row["cc"] == pytest.approx(pearsonr(heat.ravel(), density.ravel()).statistic, abs=2e-3)
        model = (heat - heat.min()) / (heat - heat.min()).sum()
        assert row["sim"] == pytest.approx(np.minimum(model, density).sum(), abs=2e-3)
        assert row["kld"] == pytest.approx((density * np.log(1e-16 + density / (model + 1e-16))).sum(), abs=0.02)
        assert row["information_gain"] == pytest.approx(np.log2(model[tuple(pixels.T)] * 3600).mean(), abs=1e-3)
    assert table.loc[3, ["nss", "auc_judd", "cc"]].tolist() == [0, 0.5, 0]
    assert table["degenerate"].tolist() == [False] * 3 + [True, False]


def test_images_that_nobody_looked_at_do_not_count(tmp_path, dataset):
    table = scored(tmp_path, dataset, heatmaps(tmp_path, MAPS))
    assert table.loc[4, "n_fixations"] == 0
    assert table.loc[4, shipped()["gaze"]["metrics"]].isna().all()
    assert table.loc[:3, shipped()["gaze"]["metrics"]].notna().all(axis=None)


def test_one_fixation_at_the_border_of_an_image_that_is_no_square(tmp_path):
    """The first and the last pixel; the last image has a map with a NaN, which is scored as a constant one."""
    points = [np.array([place], np.float32) for place in ((0, 0), (59.9, 79.9), (59.9, 0))]
    data = store(tmp_path, points, [np.zeros(1, np.int16)] * 3)
    maps = RNG.normal(size=(3, 6, 8)).astype(np.float32)
    maps[2, 1, 1] = np.nan
    table = scored(tmp_path, data, heatmaps(tmp_path, maps, (0, 0, 1, 1)), baseline="uniform")
    assert table["n_fixations"].tolist() == [1, 1, 1]
    pixels = [(0, 0), (59, 79), (59, 0)]
    for number, pixel in enumerate(pixels[:2]):
        heat = F.interpolate(torch.from_numpy(maps[[number]])[None].double(), SIZE, mode="bilinear")[0, 0].numpy()
        row, value = table.loc[number], heat[pixel]
        others = np.array([heat[other] for other in pixels if other != pixel])
        assert row["nss"] == pytest.approx((value - heat.mean()) / heat.std(), abs=1e-5)
        below = ((heat < value).sum() + ((heat == value).sum() - 1) / 2) / (heat.size - 1)
        assert row["auc_judd"] == pytest.approx(below, abs=1e-3)
        assert row["shuffled_auc"] == pytest.approx((others < value).mean(), abs=1e-6)
        density = (heat - heat.min()) / (heat - heat.min()).sum()
        gain = np.log2(density[pixel] * heat.size) if density[pixel] > 0 else None
        if gain is not None:
            assert row["information_gain"] == pytest.approx(gain, abs=1e-3)
    assert table.loc[2, ["nss", "auc_judd", "shuffled_auc", "cc"]].tolist() == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize("observer", [0, -1])
def test_one_observer_or_none_known_is_no_ceiling(tmp_path, observer):
    data = store(tmp_path, POINTS, [np.full_like(one, observer) for one in OBSERVERS])
    table = scored(tmp_path, data, heatmaps(tmp_path, MAPS, (0, 0, 1, 1), "observers"))
    assert table[shipped()["gaze"]["metrics"]].isna().all(axis=None)
    assert table["n_fixations"].tolist() == COUNTS


def test_settings_of_the_protocol(tmp_path, dataset):
    maps = heatmaps(tmp_path, MAPS + 9)
    plain, scaled = (scored(tmp_path, dataset, maps, similarity=how)["sim"][:3] for how in ("shifted", "minmax"))
    assert (plain - scaled).abs().min() > 0.003
    center, uniform = (
        scored(tmp_path, dataset, maps, baseline=which)["information_gain"][:3] for which in ("center_bias", "uniform")
    )
    expected = []
    density = others_density(*fractions(dataset.group), range(3), sigma=0.05, size=64)
    for number in range(3):
        wide = F.interpolate(torch.from_numpy(density[number]).double()[None, None], SIZE, mode="bilinear")[0, 0]
        part, pixels = wide[:, 10:70].numpy(), seen(number)[1]
        expected.append(np.log2(part[tuple(pixels.T)] / part.sum() * 3600).mean())
    np.testing.assert_allclose(uniform - center, expected, atol=1e-3)


def test_people_are_judged_by_the_others(tmp_path, dataset):
    """The ceiling: each observer's fixations beside the density of those of all others, the mean over observers."""
    maps = heatmaps(tmp_path, np.ones((N, 8, 8), np.float32), (0, 0, 1, 1), "observers")
    table = scored(tmp_path, dataset, maps)
    rows, columns = (np.arange(side) + 0.5 for side in SIZE)
    for number in range(3):
        found = []
        for one in range(3):
            own, rest = (POINTS[number][mask] for mask in (OBSERVERS[number] == one, OBSERVERS[number] != one))
            people = []
            for points in (rest, own):
                distance = (rows[:, None, None] - points[:, 0]) ** 2 + (columns[:, None] - points[:, 1]) ** 2
                people.append(np.exp(-distance / 2 / BLUR**2).sum(-1))
            pixels = [own.astype(int)]
            people = [density / density.sum() for density in people]
            found.append([*nss(people[:1], pixels), *auc_judd(people[:1], pixels), *kld(people[:1], people[1:])])
        np.testing.assert_allclose(table.loc[number, ["nss", "auc_judd", "kld"]], np.mean(found, 0), rtol=1e-4)
    # One observer leaves nobody, and where nobody looked there is none.
    assert table.loc[3:, "nss"].isna().all()
    fewer = scored(tmp_path, dataset, maps, left_out=1)
    assert fewer["nss"].notna().tolist() == table["nss"].notna().tolist()
    assert (fewer["nss"] - table["nss"]).abs().max() > 1e-3
    assert scored(tmp_path, dataset, maps, left_out=3).equals(table)


def test_the_center_bias_knows_no_image():
    """Its map of an image does not change with what people look at in it; the others' sum up to it."""
    points = [np.array([[0.5, 0.5]]), np.array([[0.1, 0.9], [0.1, 0.9]]), np.array([[0.8, 0.2]])]
    offsets = np.array([0, 1, 3, 4])
    found = others_density(np.concatenate(points), offsets, range(3), sigma=0.05, size=32)
    np.testing.assert_allclose(found.sum((1, 2)), 1, rtol=1e-5)
    points[0] = np.array([[0.3, 0.3]])
    moved = others_density(np.concatenate(points), offsets, range(3), sigma=0.05, size=32)
    np.testing.assert_array_equal(found[0], moved[0])
    assert np.abs(found[1] - moved[1]).max() > 1e-4
    # Two of the three others' fixations are at one place.
    assert np.unravel_index(found[0].argmax(), (32, 32)) == (3, 28)
    assert found.min() > 0
    alone = others_density(points[0], np.array([0, 1]), [0], sigma=0.05, size=32)
    np.testing.assert_allclose(alone, 1 / 1024, rtol=1e-6)


def test_the_center_bias_of_scenes(tmp_path):
    """It tells fixated pixels from others, but not from those that are fixated in other scenes."""
    scenes = [make_scene("val", index, 0).fixations for index in range(60)]
    offsets, points = np.arange(61) * 80, np.concatenate([one[:, 2:4] for one in scenes]) / 256
    dataset = {"fixation": points * 256, "fixation_offset": offsets, "pixels": np.empty((60, 256, 256, 1), bool)}
    maps = bind("gaze_center_bias", {})(np.arange(60), dataset)
    enlarged = F.interpolate(torch.from_numpy(maps)[:, None], (256, 256), mode="bilinear")[:, 0].numpy()
    pixels = [one[:, 2:4].astype(int) for one in scenes]
    counts = np.zeros((60, 256, 256), int)
    for count, one in zip(counts, pixels, strict=True):
        np.add.at(count, tuple(one.T), 1)
    others = counts.sum(0) - counts
    shuffled, judd = shuffled_auc(enlarged, pixels, others).mean(), auc_judd(enlarged, pixels).mean()
    assert abs(shuffled - 0.5) < 0.05
    assert judd > 0.62
    assert SIGMA > 0


def test_controls_say_what_data_lack(dataset):
    for name in ("gaze_center_bias", "human_observers"):
        with pytest.raises(CamstudyError, match=f"method `{name}`: the dataset has no fixations"):
            bind(name, {})(np.arange(2), {"human_map": np.zeros((2, 4, 4))})
    nobody = {"fixation": np.zeros((1, 2)), "observer": np.array([-1]), "human_map": np.zeros((1, 4, 4))}
    with pytest.raises(CamstudyError, match="`human_observers`: the dataset does not say who made which fixation"):
        bind("human_observers", {})([0], nobody)
    assert METHODS["human_observers"].reference == "observers"
    with pytest.raises(CamstudyError, match="`sigma` must be above 0"):
        bind("gaze_center_bias", {"sigma": 0.0})([0], {})
    assert bind("human_observers", {})([1, 0], dataset.group).shape == (2, 8, 8)


def test_borders_around_an_image_are_no_part_of_it(dataset):
    """A model that sees images in a border is judged by what it saw of the image."""
    (view,) = Looking(dataset).views([0], np.array([[-0.2, 0.0, 1.2, 1.0]]))
    assert view.box == (0, 0, 1, 1)
    assert view.shape == SIZE
    assert view.dropped == 0


def test_points_at_the_edges_of_a_view():
    found, inside = points_in_view(np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.0]]), (0.25, 0, 0.75, 1), (10, 10))
    np.testing.assert_allclose(found, [[0, 5], [10, 5], [5, 0]])
    assert inside.tolist() == [True, False, True]
