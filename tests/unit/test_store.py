"""The chunked store: what survives a kill, what is wiped, what is refused."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray
import zarr

from camstudy.core.damage import set_aside
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.files import remove
from camstudy.core.provenance import read_json, write_json
from camstudy.core.store import ArraySpec, StoreWriter, open_store, store_path

ARRAYS = {
    "heatmap": ArraySpec("float32", (7, 7), ("y", "x")),
    "target": ArraySpec("int64"),
}
NAMES = ["é.jpg", *(f"{number}.jpg" for number in range(9))]
MAPS = np.random.default_rng(0).normal(size=(10, 7, 7)).astype(np.float32)


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "deep" / "gradcam.json"


def writer(manifest, identity="one", n=10, chunk=4, **attrs):
    fixed = {"image": (("image",), NAMES[:n] + ["more"] * (n - 10)), "label": (("image",), np.arange(n) - 1)}
    return StoreWriter(manifest, n=n, chunk=chunk, arrays=ARRAYS, attrs=attrs, identity=identity, fixed=fixed)


def fill(store, *parts):
    for part in parts or store.pending():
        store.write(part, heatmap=MAPS[part], target=np.arange(part.start, part.stop))


def test_a_finished_store_is_read_back(manifest):
    store = writer(manifest, method="gradcam", crop_box=[0.0, 0.0, 1.0, 1.0])
    assert store.pending() == [slice(0, 4), slice(4, 8), slice(8, 10)]
    fill(store)
    store.finish(sha256="abc")
    group = open_store(manifest, require=("heatmap", "target"))
    assert np.array_equal(group["heatmap"][:], MAPS)
    assert group["target"][:].tolist() == list(range(10))
    assert group.attrs["crop_box"] == [0.0, 0.0, 1.0, 1.0]
    assert read_json(manifest) == {
        "store": "gradcam.zarr",
        "format": 2,
        "n_images": 10,
        "arrays": ["heatmap", "image", "label", "target"],
        "identity": "one",
        "sha256": "abc",
        "sums": "sha256",
    }


def test_killed_writer_leaves_its_finished_chunks(manifest):
    # The second chunk dies between its two arrays: it must count as missing.
    code = f"""
        import os, signal, numpy as np
        from camstudy.core.store import ArraySpec, StoreWriter
        arrays = {{"heatmap": ArraySpec("float32", (7, 7), ("y", "x")), "target": ArraySpec("int64")}}
        fixed = {{"image": (("image",), {NAMES!r}), "label": (("image",), np.arange(10) - 1)}}
        store = StoreWriter({str(manifest)!r}, n=10, chunk=4, arrays=arrays, attrs={{}}, identity="one", fixed=fixed)

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


def test_another_identity_wipes_the_store(manifest):
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
        steps.append((manifest.exists(), json.loads(path.read_text()).get("n_images"), path.parent, target))
        return replace(path, target)

    monkeypatch.setattr(type(manifest), "replace", spy)
    store.finish()
    assert [step for step in steps if step[3] == manifest] == [(False, 10, manifest.parent, manifest)]
    assert steps[-1][3] == manifest
    assert sorted(path.name for path in manifest.parent.iterdir()) == ["gradcam.json", "gradcam.zarr"]


def test_store_opens_in_xarray_with_named_dimensions(manifest):
    store = writer(manifest, method="gradcam")
    fill(store)
    store.finish()
    dataset = xarray.open_zarr(store_path(manifest), consolidated=False)
    assert dataset["heatmap"].dims == ("image", "y", "x")
    assert dataset["target"].dims == ("image",)
    assert dataset.attrs == {"method": "gradcam", "format": 2, "identity": "one"}
    assert np.array_equal(dataset["heatmap"].values, MAPS)


def test_readers_refuse_what_does_not_belong_together(manifest):
    with pytest.raises(CamstudyError, match=r"gradcam\.json: no such file; run the rule"):
        open_store(manifest)
    store = writer(manifest)
    fill(store)
    store.finish()
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: has no array `mask`; it holds heatmap, image, "):
        open_store(manifest, require=("heatmap", "mask"))
    # A new run that wiped the store and died: the old manifest must not vouch for it.
    other = writer(manifest, identity="two")
    fill(other, slice(0, 4))
    with pytest.raises(Damaged, match=r"gradcam\.zarr/progress/files\.json: the list of the store's files is gone"):
        open_store(manifest)
    fill(other)
    content = manifest.read_bytes()
    other.finish()
    manifest.write_bytes(content)
    with pytest.raises(Damaged, match=r"gradcam\.zarr: does not belong to"):
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
    with pytest.raises(TypeError, match="item assignment"):
        open_store(manifest)["target"][0] = 5


def test_one_chunk_is_one_file_per_array(manifest):
    fill(writer(manifest))
    assert zarr.open_group(store_path(manifest), mode="r", use_consolidated=False)["heatmap"].chunks == (
        4,
        7,
        7,
    )
    files = sorted(path.name for path in (store_path(manifest) / "heatmap").iterdir())
    assert files == ["c.0.0.0", "c.1.0.0", "c.2.0.0", "zarr.json"]


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
    monkeypatch.setattr("camstudy.core.store.RAGGED_CHUNK", 4)  # parts begin and end within chunks
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
    monkeypatch.setattr("camstudy.core.store.RAGGED_CHUNK", 4)
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


@pytest.mark.parametrize("number", range(4))
def test_images_with_elements_in_a_lost_ragged_chunk_are_written_anew(manifest, monkeypatch, number):
    monkeypatch.setattr("camstudy.core.store.RAGGED_CHUNK", 4)
    parts = ragged(manifest).pending()
    for part in parts:
        ragged(manifest).write(part, point=points(part), label=np.arange(part.start, part.stop))
    (store_path(manifest) / f"point/c.{number}.0").unlink()
    elements = range(4 * number, 4 * number + 4)
    lost = {image for image in range(6) for element in range(EDGES[image], EDGES[image + 1]) if element in elements}
    again = ragged(manifest)
    assert again.pending() == [part for part in parts if lost & set(range(part.start, part.stop))]
    # What it lacks is remembered, should this writer die, too.
    again.write(again.pending()[0], point=points(again.pending()[0]), label=np.arange(2) + again.pending()[0].start)
    again = ragged(manifest)
    for part in again.pending():
        again.write(part, point=points(part), label=np.arange(part.start, part.stop))
    again.finish()
    assert np.array_equal(open_store(manifest)["point"][:], VALUES)


# What can go wrong with the files of a finished store

CHUNKS = {
    "heatmap": ["c.0.0.0", "c.1.0.0", "c.2.0.0"],
    "target": ["c.0", "c.1", "c.2"],
    "image": ["c.0"],
    "label": ["c.0"],
}
FILES = [(name, chunk) for name, chunks in CHUNKS.items() for chunk in chunks]


@pytest.fixture
def finished(manifest):
    store = writer(manifest)
    fill(store)
    store.finish()
    return store_path(manifest)


def intact(manifest):
    store = open_store(manifest)
    assert np.array_equal(store["heatmap"][:], MAPS)
    assert store["target"][:].tolist() == list(range(10))
    assert store["image"][:].tolist() == NAMES
    assert store["label"][:].tolist() == list(range(-1, 9))


def test_chunks_that_hold_only_fill_values_are_written(manifest):
    store = writer(manifest)
    for part in store.pending():
        size = part.stop - part.start
        store.write(part, heatmap=np.full((size, 7, 7), np.nan), target=np.full(size, np.iinfo("int64").min))
    store.finish()
    for name, chunk in FILES:
        assert (store_path(manifest) / name / chunk).is_file()
    assert np.isnan(open_store(manifest)["heatmap"][:]).all()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", np.nan), ("float64", np.nan), ("int64", -(2**63)), ("int16", -(2**15)), ("uint8", 255), ("str", "")],
)
def test_what_was_never_written_is_no_data(manifest, dtype, value):
    StoreWriter(manifest, n=3, chunk=2, arrays={"a": ArraySpec(dtype)}, attrs={}, identity="one")
    found = zarr.open_group(store_path(manifest), mode="r", use_consolidated=False)["a"][:]
    assert np.array_equal(found, np.full(3, value, found.dtype), equal_nan=dtype.startswith("float"))


@pytest.mark.parametrize(("name", "chunk"), FILES)
def test_a_missing_chunk_is_named_when_the_store_is_opened_and_made_anew(manifest, finished, name, chunk):
    (finished / name / chunk).unlink()
    with pytest.raises(CamstudyError, match=rf"gradcam\.zarr: lacks chunk {chunk} of array `{name}`;"):
        open_store(manifest)
    manifest.unlink()
    store = writer(manifest)
    pending = store.pending()
    assert len(pending) == (1 if name in ARRAYS else 0)
    fill(store, *pending)
    store.finish()
    intact(manifest)


def made_again(manifest):
    """Write what is not sound once more, as a job does whose record is gone, and look at all of it."""
    manifest.unlink()
    store = writer(manifest)
    fill(store, *store.pending())
    store.finish()
    intact(manifest)


@pytest.mark.parametrize("kind", ["folder", "link", "link to itself"])
@pytest.mark.parametrize(("name", "chunk"), [*FILES, ("progress/written", "c.1"), ("progress", "files.json")])
def test_what_is_no_file_is_no_chunk(manifest, finished, name, chunk, kind):
    file = finished / name / chunk
    file.unlink()
    if kind == "folder":
        file.mkdir()
        (file / "file").touch()
    else:
        file.symlink_to("nowhere" if kind == "link" else chunk)
    if name != "progress/written":  # which readers do not read
        with pytest.raises(Damaged, match=r"gradcam\.zarr.* (lacks chunk|the list of the store's files is gone)"):
            open_store(manifest)
    made_again(manifest)


@pytest.mark.parametrize("where", [".", "zarr.json", "heatmap", "heatmap/zarr.json", "progress", "progress/written"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"[" * 100_000, b'{"attributes": 5, "shape": [1e99]}'])
def test_what_describes_no_store_is_wiped(manifest, finished, where, content):
    place = finished / where
    remove(place)
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    if not where.startswith("progress"):
        with pytest.raises(Damaged, match=r"gradcam\.zarr"):
            open_store(manifest)
    made_again(manifest)


@pytest.mark.parametrize("where", [".", "zarr.json", "heatmap", "heatmap/zarr.json", "progress", "progress/written"])
def test_what_leads_to_itself_describes_no_store(manifest, finished, where):
    place = finished / where
    remove(place)
    place.symlink_to(place.name)
    if not where.startswith("progress/"):
        with pytest.raises(Damaged, match=r"gradcam\.zarr"):
            open_store(manifest)
    made_again(manifest)


@pytest.mark.parametrize("arrays", [5, [{}], None, {"heatmap": 1}])
def test_a_manifest_that_names_no_arrays_is_damaged(manifest, finished, arrays):
    write_json(manifest, {**read_json(manifest), "arrays": arrays})
    with pytest.raises(Damaged, match=r"gradcam\.json: does not say which arrays its store has"):
        open_store(manifest)


def test_what_the_list_of_files_lacks_is_not_read(manifest, finished):
    sums = finished / "progress/files.json"
    whole = read_json(sums)["sha256"]
    write_json(sums, {"sha256": {}})
    with pytest.raises(Damaged, match=r"the list of the store's files is gone or damaged"):
        open_store(manifest)
    write_json(sums, {"sha256": {name: each for name, each in whole.items() if name != "heatmap/c.1.0.0"}})
    with pytest.raises(Damaged, match=r"chunk c\.1\.0\.0 of array `heatmap` is not in the list"):
        open_store(manifest)["heatmap"][4:8]
    write_json(sums, {"sha256": whole})
    shutil.copytree(finished / "heatmap", finished / "heatmap2")
    with pytest.raises(Damaged, match=r"description of array `heatmap2` is not in the list"):
        open_store(manifest)
    remove(finished / "heatmap2")
    intact(manifest)


def test_all_chunks_that_are_missing_are_counted(manifest, finished):
    for chunk in CHUNKS["target"]:
        (finished / "target" / chunk).unlink()
    with pytest.raises(CamstudyError, match=r"lacks chunk c\.0 of array `target` and 2 more;"):
        open_store(manifest)


def test_a_missing_array_is_named(manifest, finished):
    shutil.rmtree(finished / "label")
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: lacks the array `label`;"):
        open_store(manifest)


def test_a_chunk_that_vanishes_before_the_end_leaves_no_manifest(manifest):
    store = writer(manifest)
    fill(store)
    (store_path(manifest) / "heatmap/c.1.0.0").unlink()
    with pytest.raises(CamstudyError, match=r"lacks chunk c\.1\.0\.0 of array `heatmap`"):
        store.finish()
    assert not manifest.exists()
    assert writer(manifest).pending() == [slice(4, 8)]


def flip(path, position, bits=0xFF):
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "chunk"), FILES)
def test_a_damaged_chunk_is_named_and_made_anew(manifest, finished, name, chunk):
    file = finished / name / chunk
    flip(file, file.stat().st_size // 2)
    store = open_store(manifest)
    message = rf"gradcam\.zarr: chunk {chunk} of array `{name}` is damaged"
    with pytest.raises(CamstudyError, match=message):
        store[name][:]
    number = int(chunk.split(".")[1])
    with pytest.raises(Damaged, match=message) as error:
        store[name][[4 * number]]
    if name in ARRAYS:
        others = np.delete(np.arange(10), slice(4 * number, 4 * number + 4))
        assert len(store[name][others]) == len(others)
    # What a job that meets it does; the next run makes this chunk anew, and no other.
    set_aside(error.value)
    assert not manifest.exists()
    again = writer(manifest)
    assert len(again.pending()) == (1 if name in ARRAYS else 0)
    fill(again, *again.pending())
    again.finish()
    intact(manifest)


@pytest.mark.parametrize(("name", "chunk"), [("heatmap", "c.2.0.0"), ("target", "c.1"), ("image", "c.0")])
def test_no_flipped_bit_and_no_cut_passes_for_data(manifest, finished, name, chunk):
    file = finished / name / chunk
    content, store, errors = file.read_bytes(), open_store(manifest), 0
    good = store[name][:]
    for position in range(len(content)):
        flip(file, position, 1 << position % 8)
        try:
            assert np.array_equal(store[name][:], good)
        except CamstudyError:
            errors += 1
        file.write_bytes(content[:position])
        with pytest.raises(CamstudyError, match="is damaged"):
            store[name][:]
        file.write_bytes(content)
    assert errors == len(content)
    intact(manifest)


def test_a_writer_makes_a_damaged_chunk_anew(manifest, monkeypatch):
    monkeypatch.setattr("camstudy.core.store.RAGGED_CHUNK", 4)
    first, second, _ = ragged(manifest).pending()
    store = ragged(manifest)
    store.write(first, point=points(first), label=np.arange(2))
    flip(store_path(manifest) / "point/c.0.0", 10)
    # The second part has elements in that chunk, too.
    with pytest.raises(Damaged, match=r"chunk c\.0\.0 of array `point` is damaged"):
        store.write(second, point=points(second), label=np.arange(2, 4))
    assert first in ragged(manifest).pending()


def test_stores_of_an_earlier_format_are_refused(manifest, finished):
    metadata = finished / "zarr.json"
    record = json.loads(metadata.read_text())
    del record["attributes"]["format"]
    metadata.write_text(json.dumps(record))
    with pytest.raises(Damaged, match="the description of the store is damaged"):
        open_store(manifest)
    write_json(manifest, {**read_json(manifest), "sums": None})
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: has format an earlier one, expected 2; delete it and"):
        open_store(manifest)
    assert len(writer(manifest).pending()) == 3


@pytest.mark.parametrize("damage", ["", "{"])
def test_a_damaged_description_of_an_array_is_an_error_that_says_so(manifest, finished, damage):
    (finished / "heatmap/zarr.json").write_text(damage)
    with pytest.raises(CamstudyError, match=r"gradcam\.zarr: the description of array `heatmap` is damaged"):
        open_store(manifest)
    write_json(manifest, {**read_json(manifest), "sums": None})
    with pytest.raises(Damaged, match=r"gradcam\.zarr: its description cannot be read"):
        open_store(manifest)
    assert len(writer(manifest).pending()) == 3


# What users see


@pytest.mark.filterwarnings("error")
def test_a_store_is_a_labelled_dataset_without_a_warning(manifest):
    store = writer(manifest, method="gradcam")
    fill(store)
    store.finish()
    found = xarray.open_zarr(store_path(manifest), consolidated=False)
    assert set(found.coords) == {"image", "label"}
    assert set(found.data_vars) == {"heatmap", "target"}
    assert found.indexes["image"].tolist() == NAMES
    assert np.array_equal(found["heatmap"].sel(image="é.jpg").values, MAPS[0])
    assert found["target"].where(found.label == 3, drop=True).values.tolist() == [4]
    assert found["label"].dtype == np.int64
