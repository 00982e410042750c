"""Maps drawn again from scanpaths: their NSS written out pixel by pixel, means over images, table and figure."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from studies import make_redrawn_inputs
from test_gaze_scoring import OBSERVERS, POINTS, VIEW, N, store
from torch.nn import functional as F

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.redrawn import REDRAWN, summarize_redrawn
from camstudy.core.errors import CamstudyError
from camstudy.core.parts import read_scores
from camstudy.core.store import ArraySpec
from camstudy.explain.fixations import own_heat_size
from camstudy.explain.store import Heatmaps, heatmap_writer
from camstudy.figures import FIGURES
from camstudy.figures.redrawn import groups
from camstudy.figures.style import COLUMN
from camstudy.metrics.run import score
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.protocols import shipped
from camstudy.study.study import Study
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

RNG = np.random.default_rng(3)
STEPS, SIDE, OWN = 3, 6, 0.3
PATHS = RNG.uniform(0, 1, (N, STEPS, 2)).astype(np.float32)
WEIGHTS = RNG.uniform(0.2, 1, (N, STEPS)).astype(np.float32)
SETTINGS = Settings(resamples=99)


def stored(folder, parameters):
    about = {"images": [0, N, N], "dataset": "d", "model": "net", "method": "seen", "parameters": parameters}
    about |= {"layer": None, "target_policy": None, "crop_box": VIEW, "reference": "human_map"}
    arrays = {"scanpath": ArraySpec("float32", (STEPS, 2), ("step", "row_column"))}
    arrays |= {"weight": ArraySpec("float32", (STEPS,), ("step",))}
    where = {"identity": "i", "names": [f"{i}" for i in range(N)], "labels": np.arange(N), "chunk": N}
    writer = heatmap_writer(folder / "h.json", attrs=about, arrays=arrays, shape=(SIDE, SIDE), **where)
    maps = np.ones((N, SIDE, SIDE), np.float32)  # not looked at
    writer.write(slice(0, N), heatmap=maps, target=np.arange(N), scanpath=PATHS, weight=WEIGHTS)
    writer.finish()
    return Heatmaps([folder / "h.json"])


def expected(image, number, size):
    """NSS in the 60x60 pixels that the model saw: the sum of Gaussians, bilinear, z-scores, the mean at fixations."""
    z = [(2 * i + 1) / SIDE - 1 for i in range(SIDE)]
    heat = np.zeros((SIDE, SIDE))
    for (y, x), weight in zip(2 * PATHS[image, :number].astype(float) - 1, WEIGHTS[image, :number], strict=True):
        heat += weight * np.array([[np.exp(-((a - y) ** 2 + (b - x) ** 2) / size) for b in z] for a in z])
    large = F.interpolate(torch.from_numpy(heat)[None, None], (60, 60), mode="bilinear")[0, 0].numpy()
    pixels = POINTS[image].astype(int) - [0, 10]
    pixels = pixels[(pixels[:, 1] >= 0) & (pixels[:, 1] < 60)]
    return ((large - large.mean()) / large.std())[tuple(pixels.T)].mean()


def test_each_number_and_size_has_the_nss_of_its_map(tmp_path):
    entry = shipped()["redrawn"] | {"heat_sizes": [0.1, OWN, 1.0]}
    dataset = store(tmp_path, POINTS, OBSERVERS)
    maps = stored(tmp_path, {"heat_size": OWN})
    work = Work(FAMILIES["redrawn"], entry, dataset, maps, {"postprocess": {}}, {})
    scores, beside = score(work, tmp_path / "r.parquet")
    rows = pd.read_parquet(beside)
    kinds = [(1, OWN), (2, OWN), (3, OWN), (3, 0.1), (3, 1.0)]
    for image in range(N):
        own = rows[rows["image"] == image]
        assert [*zip(own["fixations"], own["heat_size"], strict=True)] == kinds
        assert own["own"].tolist() == [True, True, True, False, False]
        if image < N - 1:
            np.testing.assert_allclose(own["nss"], [expected(image, *kind) for kind in kinds], atol=1e-5)
    table = read_scores([scores])
    first = [expected(image, 1, OWN) for image in range(N - 1)]
    np.testing.assert_allclose(table["nss_first_fixation"][: N - 1].astype(float), first, atol=1e-5)
    # Nobody looked at the last image.
    assert np.isnan(table["nss_first_fixation"].astype(float).iloc[-1])
    assert rows.loc[rows["image"] == N - 1, "nss"].isna().all()


def test_maps_without_a_size_of_heat_are_told(tmp_path):
    with pytest.raises(CamstudyError, match="maps of `seen`: no parameter `heat_size`"):
        own_heat_size(stored(tmp_path, {}))


def test_means_are_over_the_images_that_count():
    values = {(1, 0.3): [1.0, 2.0, 6.0], (2, 0.3): [0.5, np.nan, 1.5]}
    rows = [
        {"image": image, "fixations": number, "heat_size": size, "own": True, "nss": one}
        for (number, size), column in values.items()
        for image, one in enumerate(column)
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    found = summarize_redrawn({("net", "seen"): frame}, dataset="d", settings=SETTINGS, protocol="redrawn")
    assert list(found.columns) == list(REDRAWN)
    np.testing.assert_allclose(found["mean"], [3, 1])
    assert found["n"].tolist() == [3, 2]
    assert ((found["ci_low"] <= found["mean"]) & (found["mean"] <= found["ci_high"])).all()
    nothing = summarize_redrawn({("net", "seen"): frame.assign(nss=np.nan)}, dataset="d", settings=SETTINGS)
    assert nothing["n"].tolist() == [0, 0]
    assert nothing[["mean", "ci_low"]].isna().all(axis=None)


def test_methods_with_steps_and_weights_are_drawn_again_and_no_control():
    text = (ROOT / "config/studies/fovex_demo.yaml").read_text()
    demo = Study(validate(with_catalogs(yaml.safe_load(text), ROOT), check_files=False))
    assert [method for _, method in demo.maps("redrawn")] == ["neva", "fovex_112", "fovex_112_wide"]
    assert "human_observers" in [method for _, method in demo.maps("scanpath")]


def test_the_table_has_a_column_per_size_and_the_best_of_each_row_is_bold():
    inputs = make_redrawn_inputs()
    table = TABLES["heat_sizes"].function(inputs)
    assert [row.cells["method"] for row in table.rows] == ["fovex", "neva", "fovex", "neva"]
    for row in table.rows:
        of = inputs.redrawn.query("model == @row.cells['model'] and method == @row.cells['method']")
        whole = of[of["fixations"] == 4].set_index("heat_size")["mean"]
        assert row.cells["own_size"] == 0.15
        assert {size: row.cells[f"size_{size:g}"].value for size in whole.index} == whole.to_dict()
        assert row.bold == {f"size_{whole.idxmax():g}"}
        assert row.cells["first_2"].value == of.query("fixations == 2")["mean"].item()
    text = RENDERERS["md"](table)
    assert "Fixations are simulated" in text
    assert "Own size" in text
    assert "first_2" not in text
    assert "first_2_ci_low" in RENDERERS["csv"](table)


def test_the_figure_has_a_line_per_method_and_the_controls():
    inputs = make_redrawn_inputs()
    left, right = FIGURES["nss_by_fixations"].function(inputs).axes[:2]
    of = inputs.redrawn.query("model == 'net' and method == 'neva'")
    for axis, table, key in ((left, of.query("own"), "fixations"), (right, of.query("fixations == 4"), "heat_size")):
        lines = [line.get_xydata() for line in axis.lines]
        points = table.sort_values(key)[[key, "mean"]].to_numpy()
        assert any(line.shape == points.shape and np.allclose(line, points) for line in lines)
        assert {2.9, 1.0} <= {line.get_ydata()[0] for line in axis.lines if list(line.get_xdata()) == [0, 1]}
    assert right.get_xscale() == "log"
    # Without controls there are none.
    bare = dataclasses.replace(inputs, study=inputs.study | {"controls": []})
    assert len(FIGURES["nss_by_fixations"].function(bare).axes[0].lines) == len(left.lines) - 2


def many(models=("net",)):
    """Inputs with the methods of the shipped study of variants, with made-up numbers."""
    catalog = yaml.safe_load((ROOT / "config/catalog/foveation.yaml").read_text())["catalog"]["methods"]
    methods = yaml.safe_load((ROOT / "config/studies/fovex_ablation_gaze.yaml").read_text())["methods"]
    rows = []
    for model, (index, name) in itertools.product(models, enumerate(methods)):
        last = catalog[name].get("parameters", {}).get("fixations", 10)
        kinds = [(number, 0.15) for number in range(1, last + 1)] + [(last, size) for size in (0.05, 0.1, 0.3, 0.6)]
        for number, size in kinds:
            mean = 2.1 - 0.05 * number**0.7 + 0.02 * index - abs(np.log(size / 0.12)) / 4
            rows.append(["scenes", model, name, "redrawn", number, size, size == 0.15, mean, mean - 0.1, mean + 0.1, 9])
    inputs = make_redrawn_inputs(models)
    entries = {name: {"title": catalog[name]["title"], "target": "predicted"} for name in methods}
    every = inputs.study["catalog"] | {"methods": inputs.study["catalog"]["methods"] | entries}
    study = inputs.study | {"methods": methods, "catalog": every}
    found = pd.DataFrame(rows, columns=inputs.redrawn.columns)
    return dataclasses.replace(inputs, study=study, redrawn=found), methods, catalog


def test_many_variants_are_drawn_in_groups_as_wide_as_a_column():
    inputs, methods, catalog = many()
    figure = FIGURES["nss_by_fixations"].function(inputs)
    assert figure.get_figwidth() == COLUMN
    titles = {name: catalog[name]["title"] for name in methods}
    found = list(groups(titles))
    # Each variant once, beside the others of its kind, and what it is a variant of in every group.
    assert sorted(name for _, group in found for name in group) == sorted(set(methods) - {"fovex_predicted"})
    assert {whole for whole, _ in found} == {"fovex_predicted"}
    changed = [{tuple(catalog[name]["parameters"]) for name in group} for _, group in found]
    assert [len(kinds) for kinds in changed] == [1, 1, 1, 1, 2]  # the last two have no fellow
    assert len(figure.axes) == 2 * len(found)
    for number, (_, group) in enumerate(found):
        left, right = figure.axes[2 * number : 2 * number + 2]
        for name in ("fovex_predicted", *group):
            own = inputs.redrawn[(inputs.redrawn["method"] == name) & inputs.redrawn["own"]]
            points = own.sort_values("fixations")[["fixations", "mean"]].to_numpy()
            assert any(np.array_equal(line.get_xydata(), points) for line in left.lines)
        labels = [text.get_text() for text in right.get_legend().get_texts()]
        assert labels == ["FovEx", *(titles[name][len("FovEx (") : -1] for name in group)]


def test_methods_that_are_no_variants_are_drawn_in_rows_of_as_many_as_colors():
    titles = {f"m{number}": f"Method {letter}" for number, letter in enumerate("ABCDEFGH")}
    assert list(groups(titles)) == [(None, list(titles)[:6]), (None, list(titles)[6:])]
