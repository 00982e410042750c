"""The labeled reader: maps, scores and data as xarray, lazily, against the arrays that were written."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import xarray
from labeled import CROP, PARTS, N, write_maps, write_study, write_table
from PIL import Image
from stores import names_of, squares, write_store

from camstudy.analysis.reading import long_scores, open_scores
from camstudy.core.errors import CamstudyError
from camstudy.core.lazy import lazy
from camstudy.core.names import CONTROL
from camstudy.core.store import StoredArray
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.files import Files
from camstudy.data.formats.photographs import Photograph, write_photographs
from camstudy.data.reading import open_data
from camstudy.explain.reading import open_maps
from camstudy.explain.store import Heatmaps
from camstudy.pipeline import paths

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    results = tmp_path_factory.mktemp("study") / "results"
    return results, write_study(results)


@pytest.fixture
def study(written, tmp_path):
    """A copy to change."""
    shutil.copytree(written[0], tmp_path / "results")
    return tmp_path / "results", written[1]


def test_a_lazy_array_is_indexed_as_numpy_is():
    values, rng = np.arange(3 * 4 * 5 * 2).reshape(3, 4, 5, 2), np.random.default_rng(0)
    for asked in range(1, 5):
        found = lazy("abcd", values.shape, int, lambda *wanted: values[np.ix_(*wanted)], asked=asked)
        for _ in range(50):
            key = []
            for length in values.shape:
                start, stop = np.sort(rng.integers(0, length + 1, 2))
                some = rng.integers(-length, length, rng.integers(0, 4))
                step = int(rng.choice([-2, -1, 1, 2]))
                kinds = [int(rng.integers(-length, length)), slice(start, stop), slice(None, None, step), some]
                key.append(kinds[rng.integers(4)])
            outer = np.ix_(*(np.atleast_1d(np.arange(n)[k]) for n, k in zip(values.shape, key, strict=True)))
            kept = [np.ndim(np.arange(n)[k]) > 0 for n, k in zip(values.shape, key, strict=True)]
            expected = values[outer][tuple(slice(None) if keep else 0 for keep in kept)]
            np.testing.assert_array_equal(found[tuple(key)].values, expected)
        # One selected after the other, and single points.
        np.testing.assert_array_equal(found[1:][:, ::-1][0, [2, 0]].values, values[1, ::-1][[2, 0]])
        points = xarray.Variable("point", [2, 0, 1])
        np.testing.assert_array_equal(found[points, points, 1, 0].values, values[[2, 0, 1], [2, 0, 1], 1, 0])


def test_maps_of_one_model_and_method_are_the_stored_ones(written):
    results, known = written
    for (model, method), maps in known["maps"].items():
        found = open_maps("squares", [model], [method], results=results)
        assert found["heatmap"].dims == ("model", "method", "image", "y", "x")
        np.testing.assert_array_equal(found["heatmap"].values, maps[None, None])
        np.testing.assert_array_equal(found["target"].values[0, 0], (squares(N)[1] + 1) % 3)
        assert found.indexes["image"].tolist() == names_of(N)
        np.testing.assert_array_equal(found["label"].values, squares(N)[1])
        side = maps.shape[1]
        np.testing.assert_allclose(found["y"].values, np.arange(1, 2 * side, 2) / (2 * side))
        assert (found["native_y"].item(), found["native_x"].item()) == maps.shape[1:]
        assert found["view"].values.tolist() == [CROP if model == "cropped" else [0, 0, 1, 1]] * N
        np.testing.assert_array_equal(found["predicted"].values, [known["predicted"][model]])
        np.testing.assert_array_equal(found["probability"].values, [known["probability"][model]])


def test_maps_are_selected_by_label(written):
    results, known = written
    found = open_maps("squares", methods=["rise"], size=(5, 5), results=results)
    assert found["model"].values.tolist() == ["cropped", "net"]
    one = found["heatmap"].sel({"model": "cropped", "method": "rise", "image": "square-13.png"})
    np.testing.assert_allclose(one.values, known["maps"]["cropped", "rise"][13], rtol=1e-6)
    some = found.sel({"model": "cropped", "method": "rise"}).isel(image=[15, 3], y=slice(1, 3), x=-1)
    np.testing.assert_allclose(some["heatmap"].values, known["maps"]["cropped", "rise"][[15, 3], 1:3, -1], rtol=1e-6)
    of_class = found.sel({"model": "cropped", "method": "rise"}).isel(image=found["label"].values == 1)
    expected = known["maps"]["cropped", "rise"][squares(N)[1] == 1]
    np.testing.assert_allclose(of_class["heatmap"].values, expected, rtol=1e-6)
    assert found["heatmap"].isel(image=[]).values.shape == (2, 1, 0, 5, 5)


def test_only_what_is_selected_is_read(written, monkeypatch):
    read, original = [], StoredArray.__getitem__

    def spy(self, part):
        values = original(self, part)
        read.append((self._path.stem, self._path.parent.name, self._name, len(values)))
        return values

    found = open_maps("squares", size=(4, 4), results=written[0])
    monkeypatch.setattr(StoredArray, "__getitem__", spy)
    chosen = found.sel({"method": "rise"}).isel(image=slice(3, 14))
    assert "..." in repr(chosen["heatmap"])
    assert read == []
    assert chosen["heatmap"].sel(model="net").values.shape == (11, 4, 4)
    assert read == [("00000-00011", "rise", "heatmap", 9), ("00012-00019", "rise", "heatmap", 2)]
    read.clear()
    both = chosen.where(chosen["predicted"] >= 0).isel(image=0)
    assert both["target"].dtype == float
    assert {name for _, _, name, _ in read} == {"heatmap", "target"}


def torch_resample(maps, size):
    """Enlarge maps as PyTorch does."""
    return F.interpolate(torch.from_numpy(maps).double()[:, None], size, mode="bilinear").numpy()[:, 0]


def test_stacked_maps_show_what_all_models_saw(written):
    results, known = written
    found = open_maps("squares", ["net", "cropped"], ["gradcam", "rise"], size=(6, 6), results=results)
    assert found["view"].values.tolist() == [CROP] * N
    np.testing.assert_array_equal(found["native_y"].values, [[6, 5], [4, 5]])
    for method in ("gradcam", "rise"):
        expected = torch_resample(known["maps"]["cropped", method], (6, 6))
        np.testing.assert_allclose(found["heatmap"].sel({"model": "cropped", "method": method}), expected, atol=1e-6)
        # The middle three quarters of eight pixels are six.
        expected = torch_resample(known["maps"]["net", method], (8, 8))[:, 1:-1, 1:-1]
        np.testing.assert_allclose(found["heatmap"].sel({"model": "net", "method": method}), expected, atol=1e-6)


def test_crops_that_differ_by_image(study):
    results, known = study
    boxes = np.tile([0.0, 0.25, 1.0, 0.75], (N, 1))
    boxes[::2] = [0.25, 0.0, 0.75, 1.0]
    maps = write_maps(results, known["dataset"], "wide", "gradcam", known["maps"]["net", "gradcam"], box=boxes)
    alone = open_maps("squares", ["wide"], ["gradcam"], prediction=False, results=results)
    np.testing.assert_array_equal(alone["heatmap"].values[0, 0], maps)
    np.testing.assert_array_equal(alone["view"].values, boxes)
    assert "predicted" not in alone
    found = open_maps("squares", ["wide", "net"], ["gradcam"], size=(4, 8), prediction=False, results=results)
    np.testing.assert_array_equal(found["view"].values, boxes)
    wide, net = found["heatmap"].values[:, 0]
    np.testing.assert_allclose(wide, torch_resample(maps, (4, 8)), atol=1e-6)
    whole = torch_resample(maps, (8, 8))[::2, 2:6]
    np.testing.assert_allclose(net[::2], whole, atol=1e-6)
    whole = torch_resample(maps, (4, 16))[1::2, :, 4:12]
    np.testing.assert_allclose(net[1::2], whole, atol=1e-6)


def test_postprocessing_comes_before_resampling(written):
    results, known = written
    floors = {"rise": {"floor": 0.5}}
    found = open_maps("squares", ["net"], ["gradcam", "rise"], size=(9, 9), postprocess=floors, results=results)
    maps = known["maps"]["net", "rise"]
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    expected = torch_resample(np.maximum((maps - low) / (high - low), 0.5), (9, 9))
    np.testing.assert_allclose(found["heatmap"].sel({"method": "rise"})[0], expected, atol=1e-6)
    expected = torch_resample(known["maps"]["net", "gradcam"], (9, 9))
    np.testing.assert_allclose(found["heatmap"].sel({"method": "gradcam"})[0], expected, atol=1e-6)
    with pytest.raises(CamstudyError, match="unknown method in `postprocess`: `ries`, did you mean `rise`"):
        open_maps("squares", ["net"], ["gradcam", "rise"], postprocess={"ries": {}}, results=results)


def test_controls_are_the_maps_of_the_model_control(written):
    results, known = written
    found = open_maps("squares", ["control"], results=results)
    assert found["method"].values.tolist() == ["random"]
    np.testing.assert_array_equal(found["heatmap"].values[0, 0], known["control"])
    assert set(found["predicted"].values.ravel()) == {-1}
    assert np.isnan(found["probability"].values).all()


def test_one_name_and_one_side_will_do(written):
    results, known = written
    (results / "heatmaps/squares/net/gradcam.run.json").write_text("{}")  # tells of the run, and is no result
    assert open_maps("squares", "net", size=7, results=results)["method"].values.tolist() == ["gradcam", "rise"]
    found = open_maps("squares", "net", "rise", size=7, results=results)
    np.testing.assert_allclose(found["heatmap"][0, 0], torch_resample(known["maps"]["net", "rise"], (7, 7)), atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"models": ["nett"], "methods": ["rise"]}, r"squares/nett/rise: no finished results, did you mean `net`\?"),
        ({"models": ["net"], "methods": ["rize"]}, r"squares/net/rize: no finished results, did you mean `rise`\?"),
        ({"models": []}, r"heatmaps/squares: no finished results found; make them, or name `models`"),
        ({"models": ["net"]}, r"`net` by `gradcam` have size \(6, 6\), of `net` by `rise` \(5, 5\).*give `size`"),
        ({"methods": ["rise"]}, r"see \(0\.125, 0\.125, 0\.875, 0\.875\) and \(0, 0, 1, 1\) of the first image; give"),
        ({"models": ["net"], "methods": ["rise"], "arrays": ["loss"]}, r"no method has the array `loss`; .* none"),
    ],
)
def test_what_cannot_be_read_is_said(written, asked, message):
    with pytest.raises(CamstudyError, match=message):
        open_maps("squares", **asked, results=written[0])


def test_what_is_missing_or_left_over_is_said(study):
    results, known = study
    (results / "scores/squares/net/prediction.json").unlink()
    with pytest.raises(CamstudyError, match=r"net/prediction\.json: no such file; ask Snakemake .* `prediction=False`"):
        open_maps("squares", ["net"], ["rise"], results=results)
    (results / "heatmaps/squares/net/gradcam.json").unlink()
    with pytest.raises(CamstudyError, match=r"squares/net/gradcam: no finished results"):
        open_maps("squares", ["net", "cropped"], ["gradcam"], results=results)
    (results / "heatmaps/squares/net/rise/00000-00011.json").unlink()
    with pytest.raises(CamstudyError, match=r"00012-00019\.zarr: holds images 12 to 20 of 20 and does not continue"):
        open_maps("squares", ["net"], ["rise"], results=results)
    write_maps(results, known["dataset"], "cropped", "rise", known["maps"]["cropped", "rise"])
    with pytest.raises(CamstudyError, match=r"rise\.json: there are parts of it, too"):
        open_maps("squares", ["cropped"], ["rise"], results=results)


def test_a_damaged_chunk_is_named_when_it_is_read(study):
    chunk = study[0] / "heatmaps/squares/net/gradcam.zarr/heatmap/c.1.0.0"
    content = bytearray(chunk.read_bytes())
    content[20] ^= 255
    chunk.write_bytes(content)
    found = open_maps("squares", ["net"], ["gradcam"], results=study[0])
    assert found["heatmap"].isel(image=slice(0, 8)).values.shape == (1, 1, 8, 6, 6)
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: chunk c\.1\.0\.0 of array `heatmap` is damaged"):
        found["heatmap"].isel(image=9).load()


def test_maps_and_predictions_of_other_images_are_refused(study, tmp_path):
    results, known = study
    (tmp_path / "fewer").mkdir()
    fewer = write_store(tmp_path / "fewer/squares.json", *(array[: N - 1] for array in squares(N)))
    write_maps(results, fewer, "net", "short", known["maps"]["net", "gradcam"][: N - 1])
    with pytest.raises(CamstudyError, match="maps of `net` by `short` are of other images than those of `net`"):
        open_maps("squares", ["net"], ["gradcam", "short"], size=(5, 5), results=results)
    with pytest.raises(CamstudyError, match=r"net/prediction\.json: predictions of other images"):
        open_maps("squares", ["net"], ["short"], results=results)


def test_the_reader_looks_where_the_workflow_writes(written):
    results, _ = written
    for path in (
        paths.dataset("squares"),
        paths.heatmaps("squares", "net", "gradcam"),
        *(paths.heatmaps("squares", "net", "rise", f"/{a:05d}-{b - 1:05d}") for a, b in PARTS),
        paths.heatmaps("squares", CONTROL, "random"),
        paths.prediction("squares", "net"),
        paths.scores("squares", "net", "gradcam", "people"),
    ):
        assert (results.parent / path).exists()


def test_scores_are_labeled_as_the_maps_are(written):
    results, known = written
    scores = open_scores("squares", "people", ["net", "cropped"], results=results)
    assert scores["spearman"].dims == ("model", "method", "image")
    for (model, method), values in known["spearman"].items():
        np.testing.assert_array_equal(scores["spearman"].sel({"model": model, "method": method}), values)
        np.testing.assert_array_equal(scores["hit"].sel({"model": model, "method": method}), [np.nan, 1] * 10)
    maps = open_maps("squares", ["net", "cropped"], size=(5, 5), results=results)
    both = maps.assign(scores)
    assert both.sizes == maps.sizes
    one = both.sel({"model": "cropped", "method": "rise", "image": "square-7.png"})
    assert one["spearman"].item() == known["spearman"]["cropped", "rise"][7]
    np.testing.assert_allclose(one["heatmap"], known["maps"]["cropped", "rise"][7], rtol=1e-6)


def test_long_scores_are_one_table(written):
    results, known = written
    table = long_scores("squares", "people", methods=["rise"], results=results)
    assert list(table)[:4] == ["model", "method", "image", "name"]
    assert len(table) == 2 * N
    row = table.set_index(["model", "method", "name"]).loc["net", "rise", "square-4.png"]
    assert row["spearman"] == known["spearman"]["net", "rise"][4]
    with pytest.raises(CamstudyError, match="net/rise: no finished results of protocol `persons`"):
        long_scores("squares", "persons", ["net"], ["rise"], results=results)


def test_scores_of_a_sample_and_of_several_rows(study):
    results, known = study
    sample = [13, 2, 5]
    frame = pd.DataFrame({"image": sample, "left": [0.1, 0.2, 0.3]})
    write_table(results, known["dataset"], "net/gradcam/cascade", frame, sample)
    stages = pd.DataFrame({"image": np.repeat(sample, 2), "stage": [0, 1] * 3, "left": np.arange(6.0)})
    write_table(results, known["dataset"], "net/gradcam/cascade.stages", stages, sample)
    found = open_scores("squares", "cascade", results=results)
    assert found["image"].values.tolist() == ["square-2.png", "square-5.png", "square-13.png"]
    assert found["left"].values.ravel().tolist() == [0.2, 0.3, 0.1]
    maps = open_maps("squares", ["net"], ["gradcam"], results=results)
    np.testing.assert_array_equal(maps.assign(found)["left"].isel(image=[1, 2, 13]).values.ravel(), [np.nan, 0.2, 0.1])
    some = maps.sel(image=found["image"]).assign(found)
    np.testing.assert_array_equal(some["heatmap"].values[0, 0], known["maps"]["net", "gradcam"][[2, 5, 13]])
    assert len(long_scores("squares", "cascade", kind="stages", results=results)) == 6
    write_table(results, known["dataset"], "net/rise/floors", stages, sample)
    with pytest.raises(CamstudyError, match=r"`floors`: not one row for each image, .* `net` by `rise`"):
        open_scores("squares", "floors", results=results)
    write_table(results, known["dataset"], "net/rise/cascade", frame.iloc[:2], sample[:2])
    with pytest.raises(
        CamstudyError, match="or other images or metrics for `net` by `rise` than for `net` by `gradcam`"
    ):
        open_scores("squares", "cascade", results=results)


def test_data_is_read_when_it_is_used(written, monkeypatch):
    found = open_data("squares", results=written[0])
    images, labels = squares(N)
    assert found["pixels"].dims == ("image", "y", "x", "channel")
    np.testing.assert_array_equal(found["pixels"].sel(image="square-11.png"), images[11])
    row = found["pixels"].isel(image=found["label"] == 2, y=3, channel=0)
    np.testing.assert_array_equal(row, images[labels == 2, 3, :, 0])
    read, original = [], StoredArray.__getitem__
    monkeypatch.setattr(StoredArray, "__getitem__", lambda self, part: read.append(part) or original(self, part))
    found = open_data("squares", results=written[0])
    read.clear()
    assert found["pixels"].isel(image=slice(4, 6)).sizes["image"] == 2
    assert read == []
    found["pixels"].isel(image=slice(4, 6)).load()
    assert [len(part) for part in read] == [2]
    with pytest.raises(CamstudyError, match=r"data/circles\.json: no such file"):
        open_data("circles", results=written[0])


def test_what_differs_in_size_is_an_array_of_arrays(tmp_path):
    rng, sizes = np.random.default_rng(0), [(9, 12), (20, 7), (8, 8)]
    (tmp_path / "images").mkdir()
    items = []
    for number, size in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        gaze = {"fixations": rng.random((number, 2), np.float32), "observers": np.arange(number, dtype=np.int16)}
        boxes = np.array([[0, 0, 5, 6], [1, 2, 3, 4]])[: 1 + number % 2]
        items.append(Photograph(f"{number}.png", number, boxes=boxes, **gaze))
    attrs = dict.fromkeys(ATTRIBUTES) | {"class_names": ["a", "b", "c"]}
    density = lambda fixations, shape: np.full((128, 128), len(fixations), np.float32)  # noqa: E731
    manifest = tmp_path / "data/toy.json"
    write_photographs(manifest, Files(tmp_path / "images"), items, attrs=attrs, identity="f", density=density)
    found = open_data("toy", results=tmp_path)
    gaze = {"fixation", "observer", "fixation_order", "fixation_duration"}
    assert {*found.data_vars} == {"pixels", *gaze, "box", "human_map", "image_size"}
    assert found["class_name"].values.tolist() == ["a", "b", "c"]
    for number, item in enumerate(items):
        one = found.sel(image=item.name)
        np.testing.assert_array_equal(one["pixels"].item(), np.asarray(Image.open(tmp_path / f"images/{item.name}")))
        np.testing.assert_array_equal(one["fixation"].item(), item.fixations)
        np.testing.assert_array_equal(one["observer"].item(), item.observers)
        np.testing.assert_array_equal(one["box"][: len(item.boxes)], item.boxes)
        assert (one["box"][len(item.boxes) :] == -1).all()
        assert (one["human_map"] == number).all()
    assert [image.shape for image in found["pixels"].isel(image=[2, 0]).values] == [(8, 8, 3), (9, 12, 3)]
    np.testing.assert_array_equal(found["box"].values, open_dataset(manifest).boxes())


def test_positions_are_read_as_slices_are(written):
    maps = Heatmaps([Path(written[0], f"heatmaps/squares/net/rise/{a:05d}-{b - 1:05d}.json") for a, b in PARTS])
    for part in ([3, 4, 5], [11, 12, 13], [-2, -1], [5, 3], [7, 7], [], slice(2, 15, 3)):
        np.testing.assert_array_equal(maps.maps(part), written[1]["maps"]["net", "rise"][np.arange(N)[part]])
    store = open_dataset(written[0] / "data/squares.json").group["pixels"]
    for part in ([3, 4, 5], [-2, -1], [-1, 0], np.array([6]), slice(-3, None)):
        np.testing.assert_array_equal(store[part], squares(N)[0][part])
