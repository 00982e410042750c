"""The one scorer: batches, samples, parts, what does not count, and what families say of themselves."""

import numpy as np
import pytest
import scipy.stats
import torch
from stores import names_of, squares
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import read_scores
from camstudy.core.scaling import min_max
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps, heatmap_writer
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric, score_family
from camstudy.metrics.run import Evidence, Work, score
from camstudy.metrics.scoring import FAMILIES, Family
from camstudy.study.protocols import metric_names, shipped
from camstudy.study.schema import load_schema

N, RNG = 7, np.random.default_rng(3)
IMAGES, LABELS = squares(N)
MAPS = RNG.random((N, 5, 5), np.float32)
MAPS[2] = 0.5  # degenerate
HUMAN = RNG.random((N, 64, 64), np.float32)
VIEW = (0.25, 0.25, 0.75, 0.75)


def heatmaps(folder, model="net"):
    about = {"images": [0, N, N], "dataset": "d", "model": model, "method": "cam", "parameters": {}, "layer": None}
    about |= {"target_policy": None, "crop_box": VIEW, "reference": "human_map"}
    where = {"identity": "i", "names": names_of(N), "labels": LABELS}
    writer = heatmap_writer(folder / f"{model}.json", shape=(5, 5), chunk=3, attrs=about, **where)
    for part in writer.pending():
        writer.write(part, heatmap=MAPS[part], target=LABELS[part] + 1)
    writer.finish()
    return Heatmaps([folder / f"{model}.json"])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return what makes a job: a family and its settings."""
    folder = tmp_path_factory.mktemp("scoring")
    arrays = {"pixels": ArraySpec("uint8", IMAGES.shape[1:], ("y", "x", "channel"))}
    arrays["human_map"] = ArraySpec("float32", (64, 64), ("map_y", "map_x"))
    fixed = {"image": (("image",), names_of(N)), "label": (("image",), LABELS)}
    writer = StoreWriter(folder / "d.json", n=N, chunk=3, arrays=arrays, attrs={}, identity="d", fixed=fixed)
    for part in writer.pending():
        writer.write(part, pixels=IMAGES[part], human_map=HUMAN[part])
    writer.finish()
    stored, control = heatmaps(folder), heatmaps(folder, "control")

    def make(family, settings, *, control_maps=False, floor=None):
        method = {"postprocess": {} if floor is None else {"floor": floor}}
        maps = (control if control_maps else stored) if family.on_maps else None
        return Work(family, settings, open_dataset(folder / "d.json"), maps, method, None if control_maps else {})

    return make


def enlarged(maps):
    return F.interpolate(torch.from_numpy(maps).double()[:, None], (224, 224), mode="bilinear")[:, 0].numpy()


@pytest.mark.parametrize("floor", [None, 0.4])
def test_agreement_is_the_correlation_with_what_the_model_saw_of_human_maps(work, tmp_path, floor):
    settings = {"family": "agreement", "metrics": ["spearman"]}
    # An empty catalogue entry of the model is enough: nothing of it is looked at.
    job = work(FAMILIES["agreement"], settings, floor=floor)
    (path,) = score(job, tmp_path / "a.parquet")
    table = read_scores([path])
    assert table.columns.tolist() == ["image", "name", "label", "target", "degenerate", "spearman"]
    assert table["name"].tolist() == names_of(N)
    assert table["target"].tolist() == (LABELS + 1).tolist()
    assert np.flatnonzero(table["degenerate"]).tolist() == [2]
    maps = MAPS if floor is None else np.maximum(min_max(MAPS), floor)
    # The view is the middle half of the human map.
    seen = enlarged(HUMAN)
    for image in (0, 1, 3, 6):
        whole = F.interpolate(torch.from_numpy(HUMAN[image]).double()[None, None], (448, 448), mode="bilinear")
        middle = whole[0, 0, 112:336, 112:336].numpy()
        expected = scipy.stats.spearmanr(enlarged(maps)[image].ravel(), middle.ravel()).statistic
        assert table["spearman"][image] == pytest.approx(expected, abs=2e-4)
        assert (
            abs(scipy.stats.spearmanr(enlarged(maps)[image].ravel(), seen[image].ravel()).statistic - expected) > 1e-3
        )
    assert table["spearman"][2] == 0


def test_the_sweep_has_a_row_for_each_floor(work, tmp_path):
    floors = [None, 0, 0.4]
    (path,) = score(work(FAMILIES["sweep"], {"family": "sweep", "floors": floors}), tmp_path / "s.parquet")
    table = read_scores([path])
    assert table["image"].tolist() == np.repeat(np.arange(N), 3).tolist()
    np.testing.assert_array_equal(table["floor"], np.tile([np.nan, 0, 0.4], N))
    for floor, rows in table.groupby("floor", dropna=False):
        own = work(
            FAMILIES["agreement"],
            {"family": "agreement", "metrics": ["spearman"]},
            floor=None if np.isnan(floor) else floor,
        )
        (path,) = score(own, tmp_path / "own.parquet")
        np.testing.assert_allclose(rows["spearman"], read_scores([path])["spearman"], atol=1e-6)


def mean_of(maps):
    return maps.mean((1, 2))


def sign(maps):
    return maps.mean((1, 2)) > 0.5


@pytest.fixture
def metrics(monkeypatch):
    """Metrics of a family of the test: two of images, one of the whole dataset, one of models alone."""
    facts = {"direction": "up", "range": (0.0, 1.0), "label": "", "source": "", "family": "toy"}
    for name, function, level, needs in (
        ("mean_of", mean_of, "image", ("heatmap",)),
        ("sign", sign, "image", ("heatmap",)),
        ("of_all", np.mean, "dataset", ("kept",)),
        ("of_model", mean_of, "image", ("answers",)),
    ):
        monkeypatch.setitem(METRICS._entries, name, Metric(name, function, level=level, needs=needs, **facts))
    return ["sign", "mean_of", "of_all", "of_model"]


def toy(seen, **facts):
    """Return a family that notes which images it is asked for; those of label 0 do not count."""

    def find(batch):
        seen.append(np.arange(N)[batch.images].tolist())
        maps = MAPS[batch.images] if batch.maps is None else batch.maps
        found = {"heatmap": maps, "kept": np.arange(len(maps) * 2).reshape(-1, 2), "answers": maps}
        steps = {"step": np.tile([1, 2, 3], (len(maps), 1))}
        return Evidence(found, {"extra": batch.labels * 10}, counted=batch.labels > 0, beside={"steps": steps})

    about = {"title": "Toy", "needs": ("maps",), "gives": ("heatmap", "kept", "answers"), "of_models": ("answers",)}
    return Family("toy", lambda work: find, **about | {"batch": 3, "beside": ("steps",)} | facts)


def test_batches_cover_all_images_and_what_does_not_count_is_missing(work, tmp_path, metrics):
    seen = []
    files = score(work(toy(seen), {"metrics": metrics}), tmp_path / "t.parquet")
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]
    assert [path.name for path in files] == ["t.parquet", "t.steps.parquet"]
    table, steps = (read_scores([path]) for path in files)
    assert table.columns.tolist() == [
        *("image", "name", "label", "target", "degenerate", "extra"),
        *("sign", "mean_of", "of_model", "kept"),
    ]
    counts = LABELS > 0
    np.testing.assert_allclose(table["mean_of"][counts], MAPS[counts].mean((1, 2)))
    assert table["mean_of"][~counts].isna().all()
    assert table["sign"].dtype == "boolean"
    assert table["sign"].isna().tolist() == (~counts).tolist()
    assert [None if row is None else list(row) for row in table["kept"]][:3] == [None, [2, 3], [4, 5]]
    assert steps["step"].tolist() == [1, 2, 3] * N
    assert steps["image"].tolist() == np.repeat(np.arange(N), 3).tolist()


def test_a_control_has_no_column_of_what_models_alone_have(work, tmp_path, metrics):
    (path, _) = score(work(toy([]), {"metrics": metrics}, control_maps=True), tmp_path / "t.parquet")
    assert "of_model" not in read_scores([path])
    assert "mean_of" in read_scores([path])


def test_a_sample_is_drawn_by_its_seed(work, tmp_path, metrics):
    drawn = np.sort(np.random.default_rng(5).choice(N, 4, replace=False)).tolist()
    for _ in range(2):
        seen = []
        family = toy(seen, sample="count", needs=("model",), settings=("count", "seed"), batch=None)
        (path, _) = score(work(family, {"metrics": ["mean_of"], "count": 4, "seed": 5}), tmp_path / "t.parquet")
        assert seen == [drawn]
        assert read_scores([path])["image"].tolist() == drawn


def test_parts_are_for_families_that_are_divided(work, tmp_path, metrics):
    settings = {"metrics": ["mean_of"]}
    with pytest.raises(CamstudyError, match="scores of toy are not divided among jobs"):
        score(work(toy([]), settings), tmp_path / "t.parquet", "/00000-00006")
    seen = []
    score(work(toy(seen, divided=True), settings), tmp_path / "t.parquet", "/00000-00006")
    assert seen[-1] == [6]


def test_a_metric_without_its_evidence_is_no_dropped_column(metrics):
    with pytest.raises(CamstudyError, match=r"metric `of_model` needs answers, and there is heatmap here"):
        score_family("toy", {"heatmap": MAPS}, metrics=["mean_of", "of_model"])
    assert score_family("toy", {"heatmap": MAPS}).keys() == {"mean_of", "sign"}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_s_settings_are_those_of_its_protocols(name):
    schema = load_schema()["$defs"][f"protocol_{name}"]
    assert {*FAMILIES[name].settings} == schema["properties"].keys() - {"family", "title", "metrics"}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_protocols_that_ship_list_is_found(name):
    listed = {metric for entry in shipped().values() if entry["family"] == name for metric in entry.get("metrics", ())}
    assert listed <= {*metric_names(name)}
    for metric in listed:
        assert {*METRICS[metric].needs} <= {*FAMILIES[name].gives}


def test_tables_of_no_rows_but_images_are_written(work, tmp_path):
    """A protocol may list metrics of the whole dataset alone."""
    (path,) = score(work(FAMILIES["agreement"], {"metrics": []}), tmp_path / "t.parquet")
    assert read_scores([path]).columns.tolist() == ["image", "name", "label", "target", "degenerate"]
