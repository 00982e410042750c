"""Heatmap stores end to end: a dataset explained chunk by chunk, an interruption survived, readers satisfied."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr
from stores import CLASSES, INPUT, names_of, squares, write_store
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import read_json
from camstudy.data.dataset import Dataset
from camstudy.explain.engine import explain
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import TargetLayer, resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import ATTRIBUTES, Heatmaps, heatmap_writer
from camstudy.models.inputs import crop_box, prepare

torch.set_num_threads(1)
whole = Explainer.prepare

N, CHUNK = 22, 8
SETTINGS = {"batch_size": 3, "chunk_size": CHUNK}
METHOD = {"method": "gradcam", "parameters": {}, "target": "label", "geometry": "aligned"}
INPUTS = INPUT | {"size": 12, "crop_pct": 0.8}
ATTRS = {
    "dataset": "squares",
    "model": "net",
    "method": "gradcam",
    "parameters": {},
    "layer": "layer",
    "target_policy": "label",
    "reference": "human_map",
}


class Net(nn.Module):
    """A network that counts the images it has seen, and may fail at one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)
        self.seen, self.stop = 0, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        if self.stop is not None and self.seen > self.stop:
            raise KeyboardInterrupt
        return self.head(self.layer(x).mean((2, 3)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


@pytest.fixture
def model() -> Net:
    return Net().eval()


def layer_of(model: nn.Module) -> TargetLayer:
    return resolve_target_layer(model, "layer")


def run(
    manifest: Path,
    dataset: Dataset,
    model: Net,
    *,
    method=METHOD,
    images=slice(0, N),
    settings=SETTINGS,
    identity="f",
):
    return explain_dataset(
        manifest,
        dataset,
        Explainer(model, layer_of(model), INPUTS, method),
        images=images,
        settings=settings,
        attrs=ATTRS,
        identity=identity,
    )


def read(*manifests: Path) -> tuple[np.ndarray, np.ndarray]:
    heatmaps = Heatmaps(manifests)
    return heatmaps.maps(), heatmaps.targets()


def direct(dataset: Dataset, model: Net, target: str = "label"):
    images = prepare(dataset.images(), INPUTS)
    return explain(
        model, layer_of(model), images, dataset.labels, {"map": bind("gradcam", {})}, target=target, batch_size=N
    )


def test_the_store_holds_what_explaining_directly_gives(tmp_path, dataset, model):
    run(tmp_path / "gradcam.json", dataset, model)
    expected = direct(dataset, model)
    maps, targets = read(tmp_path / "gradcam.json")
    assert (maps.shape, maps.dtype) == ((N, 6, 6), np.float32)
    assert (np.ptp(maps, axis=(1, 2)) > 1e-5).mean() > 0.5, "degenerate: the comparison would be empty"
    np.testing.assert_allclose(maps, expected.maps["map"], atol=1e-6)
    np.testing.assert_array_equal(targets, squares(N)[1])


def test_the_predicted_class_as_target(tmp_path, dataset, model):
    run(tmp_path / "gradcam.json", dataset, model, method=METHOD | {"target": "predicted"})
    with torch.no_grad():
        predicted = model(prepare(dataset.images(), INPUTS)).argmax(1).numpy()
    assert (predicted != dataset.labels).any()
    maps, targets = read(tmp_path / "gradcam.json")
    np.testing.assert_array_equal(targets, predicted)
    np.testing.assert_allclose(maps, direct(dataset, model, "predicted").maps["map"], atol=1e-6)


def test_neither_batches_nor_chunks_matter(tmp_path, dataset, model):
    run(tmp_path / "a.json", dataset, model)
    run(tmp_path / "b.json", dataset, model, settings={"batch_size": 64, "chunk_size": 5})
    first, second = (read(tmp_path / name)[0] for name in ("a.json", "b.json"))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_an_interrupted_run_goes_on_with_the_missing_chunks(tmp_path, dataset, model):
    run(tmp_path / "undisturbed.json", dataset, model)
    manifest = tmp_path / "gradcam.json"
    # One blank image tells the shape of the maps; the second chunk breaks off in its second batch.
    model.seen, model.stop = 0, 1 + CHUNK + 4
    with pytest.raises(KeyboardInterrupt):
        run(manifest, dataset, model)
    assert not manifest.exists()
    with pytest.raises(CamstudyError, match=r"gradcam\.json: no such file"):
        read(manifest)
    model.seen, model.stop = 0, None
    run(manifest, dataset, model)
    assert model.seen == 1 + N - CHUNK
    for first, second in zip(read(manifest), read(tmp_path / "undisturbed.json"), strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_another_identity_left_is_made_anew(tmp_path, dataset, model):
    manifest = tmp_path / "gradcam.json"
    model.stop = 1 + CHUNK
    with pytest.raises(KeyboardInterrupt):
        run(manifest, dataset, model)
    model.seen, model.stop = 0, None
    run(manifest, dataset, model, identity="g")
    assert model.seen == 1 + N
    assert json.loads(manifest.read_text())["identity"] == "g"


def test_attributes_are_complete(tmp_path, dataset, model):
    run(tmp_path / "gradcam.json", dataset, model)
    attrs = Heatmaps([tmp_path / "gradcam.json"]).attrs
    assert attrs == {**ATTRS, "crop_box": list(crop_box(INPUTS))}
    assert attrs["crop_box"] == pytest.approx([0.1, 0.1, 0.9, 0.9], abs=0.04)
    assert ATTRS.keys() | {"crop_box", "images"} == ATTRIBUTES


def test_the_manifest_tells_of_the_maps_and_what_is_returned_of_the_run(tmp_path, dataset, model):
    told = run(tmp_path / "gradcam.json", dataset, model)
    record = read_json(tmp_path / "gradcam.json")
    assert record.keys() == {"store", "format", "n_images", "arrays", "identity", "versions", "sums"}
    assert (record["store"], record["n_images"], record["identity"]) == ("gradcam.zarr", N, "f")
    assert record["versions"].keys() == {"torch", "timm", "DCLS", "grad-cam"}
    assert (told["device"], told["batch_size"], told["peak_memory_mb"]) == ("cpu", 3, None)
    assert told["seconds_per_image"] > 0
    assert run(tmp_path / "gradcam.json", dataset, model)["seconds_per_image"] is None  # nothing was left to explain


@pytest.mark.parametrize("settings", [{"batch_size": 1, "chunk_size": CHUNK}, {"batch_size": 7, "chunk_size": 5}])
def test_the_manifest_is_the_same_whatever_the_run(tmp_path, dataset, model, settings):
    manifest, texts = tmp_path / "gradcam.json", []
    for options in (SETTINGS, settings):
        run(manifest, dataset, model, settings=options)
        texts.append(manifest.read_bytes())
    assert texts[0] == texts[1]


@pytest.mark.filterwarnings("error")
def test_xarray_opens_the_store(tmp_path, dataset, model):
    run(tmp_path / "gradcam.json", dataset, model)
    found = xarray.open_zarr(tmp_path / "gradcam.zarr", consolidated=False)
    assert (set(found.coords), set(found.data_vars)) == ({"image", "label", "y", "x"}, {"heatmap", "target"})
    assert found.indexes["image"].tolist() == names_of(N)
    np.testing.assert_array_equal(found["label"].values, dataset.labels)
    for name in ("y", "x"):
        np.testing.assert_allclose(found[name].values, np.arange(1, 12, 2) / 12)
    assert found["heatmap"].dims == ("image", "y", "x")
    assert found["target"].dims == ("image",)
    assert found.attrs.keys() >= ATTRIBUTES
    np.testing.assert_array_equal(found["heatmap"].values, read(tmp_path / "gradcam.json")[0])
    np.testing.assert_array_equal(found["target"].values, dataset.labels)
    assert found["heatmap"].encoding["chunks"] == (CHUNK, 6, 6)


@pytest.mark.parametrize("change", [{"layer": ...}, {"colour": "red"}])
def test_a_writer_wants_exactly_the_attributes_of_readers(tmp_path, change):
    attrs = ATTRS | {"crop_box": [0, 0, 1, 1], "images": [0, 4, 4]} | change
    attrs = {key: value for key, value in attrs.items() if value is not ...}
    with pytest.raises(ValueError, match=next(iter(change))):
        heatmap_writer(
            tmp_path / "a.json", shape=(2, 2), chunk=2, attrs=attrs, identity="f", names="abcd", labels=[0] * 4
        )
    assert list(tmp_path.iterdir()) == []


def test_missing_maps_are_not_numbers_and_missing_targets_no_class(tmp_path):
    writer = heatmap_writer(
        tmp_path / "a.json",
        shape=(2, 2),
        chunk=2,
        attrs=ATTRS | {"crop_box": [0, 0, 1, 1], "images": [0, 4, 4]},
        identity="f",
        names=["a", "b", "c", "d"],
        labels=[0, 1, 2, 0],
    )
    writer.write(slice(0, 2), heatmap=np.ones((2, 2, 2)), target=[0, 1])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r", use_consolidated=False)
    assert np.isnan(group["heatmap"][2:]).all()
    assert group["target"][:].tolist() == [0, 1, -(2**63), -(2**63)]
    with pytest.raises(CamstudyError, match="1 chunks are missing"):
        writer.finish()


@pytest.mark.parametrize("name", ["heatmap", "target", "image", "label", "y", "x"])
def test_a_missing_chunk_is_named(tmp_path, dataset, model, name):
    manifest = tmp_path / "gradcam.json"
    run(manifest, dataset, model)
    chunk = next((tmp_path / "gradcam.zarr" / name).glob("c.0*"))
    chunk.unlink()
    with pytest.raises(CamstudyError, match=rf"gradcam\.zarr: lacks chunk {chunk.name} of array `{name}`"):
        Heatmaps([manifest])
    manifest.unlink()
    model.seen = 0
    run(manifest, dataset, model)
    # One image more tells the maps' size.
    assert model.seen == 1 + (CHUNK if name in ("heatmap", "target") else 0)
    np.testing.assert_allclose(read(manifest)[0], direct(dataset, model).maps["map"], atol=1e-6)


def test_a_map_that_is_nowhere_finite_is_still_there(tmp_path, dataset, model):
    model.head.weight.data[:] = float("nan")
    run(tmp_path / "gradcam.json", dataset, model)
    assert np.isnan(read(tmp_path / "gradcam.json")[0]).all()


PARTS = [slice(0, CHUNK), slice(CHUNK, 2 * CHUNK), slice(2 * CHUNK, N)]


@pytest.fixture
def parts(tmp_path, dataset, model) -> list[Path]:
    """Stores of three parts of one chunk each."""
    manifests = []
    for number, part in enumerate(PARTS, 1):
        manifests.append(tmp_path / f"gradcam/{number}-of-3.json")
        run(manifests[-1], dataset, model, images=part)
    return manifests


def test_parts_are_read_as_the_whole(tmp_path, dataset, model, parts):
    run(tmp_path / "whole.json", dataset, model)
    whole, divided = Heatmaps([tmp_path / "whole.json"]), Heatmaps(reversed(parts))
    assert (divided.n, divided.shape, divided.attrs) == (N, whole.shape, whole.attrs)
    for part in (slice(None), slice(5, 9), [21, 0, 8, 7]):
        np.testing.assert_array_equal(divided.targets(part), whole.targets(part))
        np.testing.assert_allclose(divided.maps(part), whole.maps(part), atol=1e-6)
    assert len(divided.maps([])) == 0


def test_maps_do_not_depend_on_how_many_images_are_prepared_together(tmp_path, dataset, model, monkeypatch):
    prepared = []
    monkeypatch.setattr(Explainer, "prepare", lambda self, images: prepared.append(len(images)) or whole(self, images))
    run(tmp_path / "one.json", dataset, model)
    assert prepared == [8, 8, 6]
    monkeypatch.setattr("camstudy.explain.run.AT_ONCE", 4)
    run(tmp_path / "pieces.json", dataset, model)
    assert prepared[3:] == [6, 2, 6, 2, 6]
    for one, pieces in zip(read(tmp_path / "one.json"), read(tmp_path / "pieces.json"), strict=True):
        np.testing.assert_array_equal(pieces, one)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([0, 2], r"3-of-3\.zarr: holds images 16 to 22 of 22 and does not continue .* end at 8"),
        ([0, 1, 1, 2], r"2-of-3\.zarr: holds images 8 to 16 .* end at 16"),
        ([0, 1], r"2-of-3\.zarr: the parts end at image 16 of 22"),
    ],
)
def test_parts_that_are_not_the_whole_are_refused(parts, chosen, message):
    with pytest.raises(CamstudyError, match=message):
        Heatmaps([parts[index] for index in chosen])


def test_parts_of_different_methods_are_refused(tmp_path, dataset, model, parts):
    settings = {"attrs": ATTRS | {"method": "other"}, "settings": SETTINGS, "identity": "g"}
    explain_dataset(parts[2], dataset, Explainer(model, layer_of(model), INPUTS, METHOD), images=PARTS[2], **settings)
    with pytest.raises(CamstudyError, match=r"3-of-3\.zarr: holds images 16 to 22 of 22 and does not continue"):
        Heatmaps(parts)
