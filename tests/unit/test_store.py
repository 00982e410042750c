"""The chunked store: what survives a kill, what is wiped, what is refused."""

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray
import zarr

from camstudy.errors import CamstudyError
from camstudy.store import ArraySpec, StoreWriter, open_store, store_path

ARRAYS = {
    "heatmap": ArraySpec("float32", (7, 7), ("y", "x"), fill_value=np.nan),
    "target": ArraySpec("int64"),
}
MAPS = np.random.default_rng(0).normal(size=(10, 7, 7)).astype(np.float32)


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "deep" / "gradcam.json"


def writer(manifest, identity="one", n=10, chunk=4, **attrs):
    return StoreWriter(manifest, n=n, chunk=chunk, arrays=ARRAYS, attrs=attrs, identity=identity)


def fill(store, *parts):
    for part in parts or store.pending():
        store.write(part, heatmap=MAPS[part], target=np.arange(part.start, part.stop))


def test_a_finished_store_is_read_back(manifest):
    store = writer(manifest, method="gradcam", crop_box=[0.0, 0.0, 1.0, 1.0])
    assert store.pending() == [slice(0, 4), slice(4, 8), slice(8, 10)]
    fill(store)
    store.finish(seconds=1.5)
    group = open_store(manifest, require=("heatmap", "target"))
    assert np.array_equal(group["heatmap"][:], MAPS)
    assert group["target"][:].tolist() == list(range(10))
    assert group.attrs["crop_box"] == [0.0, 0.0, 1.0, 1.0]
    assert json.loads(manifest.read_text()) == {
        "store": "gradcam.zarr",
        "n_images": 10,
        "identity": "one",
        "seconds": 1.5,
    }


def test_killed_writer_leaves_its_finished_chunks(manifest):
    # The second chunk dies between its two arrays: it must count as missing.
    code = f"""
        import os, signal, numpy as np
        from camstudy.store import ArraySpec, StoreWriter
        arrays = {{"heatmap": ArraySpec("float32", (7, 7), ("y", "x")), "target": ArraySpec("int64")}}
        store = StoreWriter({str(manifest)!r}, n=10, chunk=4, arrays=arrays, attrs={{}}, identity="one")

        class Deadly:
            shape = (4,)
            def __array__(self, *_, **__):
                os.kill(os.getpid(), signal.SIGKILL)

        store.write(slice(0, 4), heatmap=np.ones((4, 7, 7)), target=np.arange(4))
        store.write(slice(4, 8), heatmap=np.ones((4, 7, 7)), target=Deadly())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not manifest.exists()
    with pytest.raises(CamstudyError, match="no such file"):
        open_store(manifest)

    store = writer(manifest)
    assert store.pending() == [slice(4, 8), slice(8, 10)]
    fill(store)
    store.finish()
    found = open_store(manifest)["heatmap"][:]
    assert (found[:4] == 1).all()
    assert np.array_equal(found[4:], MAPS[4:])


def test_other_fingerprint_wipes_the_store(manifest):
    fill(writer(manifest, method="old"), slice(0, 4))
    leftover = store_path(manifest) / "leftover"
    leftover.touch()
    store = writer(manifest, identity="two", method="new")
    assert len(store.pending()) == 3
    assert not leftover.exists()
    fill(store)
    store.finish()
    assert open_store(manifest).attrs["method"] == "new"


@pytest.mark.parametrize(
    "change", [{"n": 12}, {"chunk": 5}, {"arrays": {**ARRAYS, "probability": ArraySpec("float32")}}]
)
def test_other_layout_wipes_the_store(manifest, change):
    fill(writer(manifest))
    layout = {"n": 10, "chunk": 4, "arrays": ARRAYS, **change}
    store = StoreWriter(manifest, attrs={}, identity="one", **layout)
    assert store.pending()[0].start == 0
    with pytest.raises(CamstudyError, match="chunks are missing"):
        store.finish()


def test_unfinished_creation_is_wiped(manifest):
    fill(writer(manifest), slice(0, 4))
    metadata = store_path(manifest) / "zarr.json"
    # As a kill between creating the arrays and setting the attributes leaves it.
    record = json.loads(metadata.read_text())
    record["attributes"] = {}
    metadata.write_text(json.dumps(record))
    assert len(writer(manifest).pending()) == 3


@pytest.mark.parametrize("damage", ["", "{"])
def test_broken_metadata_is_wiped(manifest, damage):
    fill(writer(manifest), slice(0, 4))
    (store_path(manifest) / "zarr.json").write_text(damage)
    assert len(writer(manifest).pending()) == 3


@pytest.mark.parametrize("part", [slice(1, 5), slice(0, 3), slice(0, 8), slice(8, 12), slice(2, 4)])
def test_unaligned_writes_are_refused(manifest, part):
    store, size = writer(manifest), part.stop - part.start
    with pytest.raises(ValueError, match="is not one whole chunk"):
        store.write(part, heatmap=np.zeros((size, 7, 7)), target=np.zeros(size))
    assert len(store.pending()) == 3


def test_writes_of_other_arrays_or_shapes_are_refused(manifest):
    store = writer(manifest)
    with pytest.raises(ValueError, match="of every array"):
        store.write(slice(0, 4), heatmap=MAPS[:4])
    with pytest.raises(ValueError, match=r"`heatmap` has shape \(3, 7, 7\), expected \(4, 7, 7\)"):
        store.write(slice(0, 4), heatmap=MAPS[:3], target=np.arange(4))
    with pytest.raises(ValueError, match=r"`target` has shape \(1,\), expected \(4,\)"):
        store.write(slice(0, 4), heatmap=MAPS[:4], target=np.zeros(1))
    assert len(store.pending()) == 3


def test_incomplete_store_gets_no_manifest(manifest):
    store = writer(manifest)
    fill(store, slice(0, 4), slice(8, 10))
    with pytest.raises(CamstudyError, match="1 chunks are missing"):
        store.finish()
    assert not manifest.exists()


def test_manifest_comes_last_and_in_one_step(manifest, monkeypatch):
    store = writer(manifest)
    fill(store)
    assert not manifest.exists()
    steps = []
    replace = type(manifest).replace

    def spy(path, target):
        # Before the rename the whole text is there under another name, in the same folder.
        steps.append((manifest.exists(), json.loads(path.read_text())["n_images"], path.parent, target))
        return replace(path, target)

    monkeypatch.setattr(type(manifest), "replace", spy)
    store.finish()
    assert steps == [(False, 10, manifest.parent, manifest)]
    assert sorted(path.name for path in manifest.parent.iterdir()) == ["gradcam.json", "gradcam.zarr"]


def test_store_opens_in_xarray_with_named_dimensions(manifest):
    store = writer(manifest, method="gradcam")
    fill(store)
    store.finish()
    dataset = xarray.open_zarr(store_path(manifest), consolidated=False)
    assert dataset["heatmap"].dims == ("image", "y", "x")
    assert dataset["target"].dims == ("image",)
    assert dataset.attrs == {"method": "gradcam", "identity": "one"}
    assert np.array_equal(dataset["heatmap"].values, MAPS)


def test_readers_refuse_what_does_not_belong_together(manifest):
    with pytest.raises(CamstudyError, match=r"gradcam\.json: no such file; run the rule"):
        open_store(manifest)
    store = writer(manifest)
    fill(store)
    store.finish()
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: has no array `mask`; it holds heatmap, target"):
        open_store(manifest, require=("heatmap", "mask"))
    # A new run that wiped the store and died: the old manifest must not vouch for it.
    fill(writer(manifest, identity="two"), slice(0, 4))
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: does not belong to"):
        open_store(manifest)
    store_path(manifest).rename(manifest.with_name("elsewhere"))
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: no such store"):
        open_store(manifest)
    manifest.write_text("{")
    with pytest.raises(CamstudyError, match="not valid JSON"):
        open_store(manifest)


def test_readers_cannot_write(manifest):
    store = writer(manifest)
    fill(store)
    store.finish()
    with pytest.raises(ValueError, match="read-only"):
        open_store(manifest)["target"][0] = 5


def test_one_chunk_is_one_file_per_array(manifest):
    fill(writer(manifest))
    assert zarr.open_group(store_path(manifest), mode="r", use_consolidated=False)["heatmap"].chunks == (
        4,
        7,
        7,
    )
    assert len([path for path in (store_path(manifest) / "heatmap" / "c").rglob("*") if path.is_file()]) == 3


def test_a_store_smaller_than_its_chunk(manifest):
    store = writer(manifest, n=3, chunk=64)
    assert store.pending() == [slice(0, 3)]
    fill(store)
    store.finish()
    assert open_store(manifest)["heatmap"].shape == (3, 7, 7)


@pytest.mark.parametrize(("n", "chunk"), [(0, 4), (10, 0)])
def test_stores_without_images_are_refused(manifest, n, chunk):
    with pytest.raises(CamstudyError, match="a store needs images"):
        writer(manifest, n=n, chunk=chunk)


# Ragged arrays

LENGTHS = [3, 0, 5, 1, 0, 4]
EDGES = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
VALUES = np.arange(2 * EDGES[-1], dtype=np.float32).reshape(-1, 2)


def ragged(manifest, edges=EDGES):
    arrays = {
        "point": ArraySpec("float32", (2,), ("coordinate",), offsets=edges),
        "label": ArraySpec("int64"),
    }
    return StoreWriter(manifest, n=6, chunk=2, arrays=arrays, attrs={}, identity="one")


def points(part):
    return VALUES[EDGES[part.start] : EDGES[part.stop]]


def test_ragged_arrays_come_back_whatever_the_chunks(manifest, monkeypatch):
    monkeypatch.setattr("camstudy.store.RAGGED_CHUNK", 4)  # parts begin and end within chunks
    store = ragged(manifest)
    for part in reversed(store.pending()):
        store.write(part, point=points(part), label=np.arange(part.start, part.stop))
    store.finish()
    group = open_store(manifest)
    assert group["point"].chunks == (4, 2)
    assert np.array_equal(group["point"][:], VALUES)
    assert group["point_offset"][:].tolist() == EDGES.tolist()
    assert group["label"][:].tolist() == [0, 1, 2, 3, 4, 5]
    assert xarray.open_zarr(store_path(manifest), consolidated=False)["point"].dims == ("point_element", "coordinate")


def test_unfinished_ragged_store_is_continued(manifest, monkeypatch):
    monkeypatch.setattr("camstudy.store.RAGGED_CHUNK", 4)
    first, *others = ragged(manifest).pending()
    ragged(manifest).write(first, point=points(first), label=np.arange(2))
    again = ragged(manifest)
    assert again.pending() == others
    for part in others:
        again.write(part, point=points(part), label=np.arange(part.start, part.stop))
    again.finish()
    assert np.array_equal(open_store(manifest)["point"][:], VALUES)


def test_ragged_arrays_may_be_empty(manifest):
    store = ragged(manifest, np.zeros(7, np.int64))
    for part in store.pending():
        store.write(part, point=np.empty((0, 2), np.float32), label=np.arange(part.start, part.stop))
    store.finish()
    assert open_store(manifest)["point"].shape == (0, 2)


def test_ragged_values_of_another_length_are_refused(manifest):
    store = ragged(manifest)
    with pytest.raises(ValueError, match=r"`point` has shape \(4, 2\), expected \(3, 2\)"):
        store.write(slice(0, 2), point=VALUES[:4], label=np.arange(2))
