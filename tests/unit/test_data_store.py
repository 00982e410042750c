"""The dataset store end to end: ClickMe shards in, arrays out, also after an interruption."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray
import zarr

from camstudy.core.errors import CamstudyError
from camstudy.core.store import store_path
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.clickme import ClickMe, blur_human_map, encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.writing import write_dataset

N = 11
ATTRS = {
    "dataset": "toy",
    "source": "tests",
    "licence": "MIT",
    "human_maps": "simulated",
    "class_names": ["a", "b", "c"],
}


def smooth(rng, *shape):
    """Blocks of 32x32 pixels, to which JPEG is kind."""
    return rng.integers(0, 256, shape, dtype=np.uint8).repeat(32, -2).repeat(32, -1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """ClickMe's folder in miniature: three shards, and what was put into them."""
    folder, rng = tmp_path_factory.mktemp("click-me"), np.random.default_rng(0)
    images = np.moveaxis(smooth(rng, N, 3, 8, 8), 1, -1)
    halves = smooth(rng, N, 2, 8, 8)
    heatmaps = halves.mean(1).astype(np.uint8)
    labels = np.arange(N) % 3
    shards = []
    for first, last in ((0, 4), (4, 9), (9, N)):
        shards.append(folder / "val" / f"val-{len(shards)}.tfrecords")
        rows = range(first, last)
        write_shard(shards[-1], [encode_example(images[i], heatmaps[i], labels[i], halves[i]) for i in rows])
    return shards, images, heatmaps, halves, labels


def prepare(manifest, shards, seen=None, stop=None, **options):
    """Prepare the tree; ``seen`` collects the positions read, and reading fails at position ``stop``."""
    source = ClickMe(shards)

    def records(part):
        for position in range(part.start, part.stop):
            if position == stop:
                raise KeyboardInterrupt
            if seen is not None:
                seen.append(position)
            yield from source.read([position])

    write_dataset(manifest, records, **{"n": N, "attrs": ATTRS, "identity": "f", "chunk": 4, **options})


def test_clickme_tree_comes_back_from_the_store(tmp_path, tree):
    shards, images, heatmaps, halves, labels = tree
    manifest = tmp_path / "toy.json"
    prepare(manifest, shards, has_halves=True)
    data = open_dataset(manifest)
    assert data.n == N
    assert data.labels.tolist() == labels.tolist()
    assert data.images().dtype == np.uint8
    assert np.abs(data.images().astype(int) - images).max() <= 12
    assert np.abs(data.human_map() - blur_human_map(heatmaps)).max() < 0.5
    assert np.abs(data.human_half()[:, 1] - blur_human_map(halves[:, 1])).max() < 0.5
    assert {name: data.attrs[name] for name in ATTRS} == ATTRS
    assert json.loads(manifest.read_text())["n_images"] == N


def test_parts_are_slices_or_positions(tmp_path, tree):
    manifest = tmp_path / "toy.json"
    prepare(manifest, tree[0], has_halves=True)
    data = open_dataset(manifest)
    every = data.images()
    assert np.array_equal(data.images(slice(3, 9)), every[3:9])
    assert np.array_equal(data.images([10, 2]), every[[10, 2]])
    assert np.array_equal(data.human_map([10, 2]), data.human_map()[[10, 2]])
    assert np.array_equal(data.human_half(slice(9, None)), data.human_half()[9:])


NAMES = [f"val-{shard}.tfrecords#{index}" for shard, count in enumerate([4, 5, 2]) for index in range(count)]


@pytest.mark.filterwarnings("error")
def test_store_opens_in_xarray(tmp_path, tree):
    prepare(tmp_path / "toy.json", tree[0], has_halves=True)
    dataset = xarray.open_zarr(tmp_path / "toy.zarr", consolidated=False)
    assert set(dataset.coords) == {"image", "label", "class_name"}
    assert set(dataset.data_vars) == {"pixels", "human_map", "human_half"}
    assert dataset.indexes["image"].tolist() == NAMES == open_dataset(tmp_path / "toy.json").names().tolist()
    assert dataset["label"].values.tolist() == tree[-1].tolist()
    assert dataset["class_name"].values.tolist() == ["abc"[label] for label in tree[-1]]
    assert dataset["pixels"].dims == ("image", "y", "x", "channel")
    assert dataset["human_map"].dims == ("image", "map_y", "map_x")
    assert dataset["human_half"].dims == ("image", "half", "map_y", "map_x")
    assert dataset["human_map"].shape == (N, 64, 64)
    assert dataset.attrs["licence"] == "MIT"


def test_interrupted_preparation_reads_only_what_is_missing(tmp_path, tree):
    prepare(tmp_path / "whole.json", tree[0])
    manifest, seen = tmp_path / "toy.json", []
    with pytest.raises(KeyboardInterrupt):
        prepare(manifest, tree[0], seen, stop=10)
    assert seen == list(range(10))
    assert not manifest.exists()
    with pytest.raises(CamstudyError, match=r"toy\.json: no such file"):
        open_dataset(manifest)

    seen.clear()
    prepare(manifest, tree[0], seen)
    assert seen == [8, 9, 10]
    assert np.array_equal(open_dataset(manifest).images(), open_dataset(tmp_path / "whole.json").images())

    seen.clear()
    prepare(manifest, tree[0], seen)
    assert seen == []


def test_any_number_of_threads_gives_the_same_store(tmp_path, tree):
    stores = []
    for threads in (1, 3):
        prepare(tmp_path / f"{threads}.json", tree[0], has_halves=True, chunk=2, threads=threads)
        stores.append(open_dataset(tmp_path / f"{threads}.json"))
    for name in ("image", "pixels", "label", "class_name", "human_map", "human_half"):
        assert np.array_equal(*(store.group[name][:] for store in stores))


def test_first_fault_cancels_what_has_not_begun(tmp_path):
    seen = []

    def records(part):
        seen.append(part.start)
        time.sleep(0.02)  # what has begun meanwhile goes on to its end
        raise CamstudyError("damaged")

    with pytest.raises(CamstudyError, match="damaged"):
        write_dataset(tmp_path / "toy.json", records, n=999, attrs=ATTRS, identity="f", chunk=1, threads=2)
    assert len(seen) < 500


@pytest.mark.parametrize("name", ["image", "pixels", "label", "class_name", "human_map"])
def test_a_missing_chunk_is_named_and_read_again_alone(tmp_path, tree, name):
    manifest, seen = tmp_path / "toy.json", []
    prepare(manifest, tree[0])
    (chunk,) = (store_path(manifest) / name).glob("c.1*")
    chunk.unlink()
    with pytest.raises(CamstudyError, match=rf"toy\.zarr: lacks chunk {chunk.name} of array `{name}`"):
        open_dataset(manifest)
    manifest.unlink()
    prepare(manifest, tree[0], seen)
    assert seen == [4, 5, 6, 7]
    assert open_dataset(manifest).labels.tolist() == tree[-1].tolist()


def test_sources_without_names_of_classes_have_labels_alone(tmp_path, tree):
    prepare(tmp_path / "toy.json", tree[0], attrs=ATTRS | {"class_names": None})
    dataset = xarray.open_zarr(tmp_path / "toy.zarr", consolidated=False)
    assert set(dataset.coords) == {"image", "label"}


def test_gap_in_the_middle_is_filled_with_the_right_records(tmp_path, tree):
    manifest = tmp_path / "toy.json"
    prepare(manifest, tree[0])
    before = open_dataset(manifest).images()
    writable = zarr.open_group(store_path(manifest), mode="r+", use_consolidated=False)
    for part in (slice(0, 4), slice(8, N)):
        writable["pixels"][part], writable["progress/written"][part] = 0, 0
    seen = []
    prepare(manifest, tree[0], seen)
    assert sorted(set(seen)) == [0, 1, 2, 3, 8, 9, 10]
    assert np.array_equal(open_dataset(manifest).images(), before)


def test_too_few_records_leave_no_manifest(tmp_path, tree):
    manifest = tmp_path / "toy.json"
    source = ClickMe(tree[0])
    with pytest.raises(CamstudyError, match="20 images asked for, but the source has 11"):
        write_dataset(manifest, lambda _: source.read(range(N)), n=20, attrs=ATTRS, identity="f", chunk=20)
    assert not manifest.exists()


def test_records_without_halves_are_named(tmp_path, tree):
    shard = tmp_path / "val-0.tfrecords"
    write_shard(shard, [encode_example(tree[1][0], tree[2][0], 0)])
    with pytest.raises(CamstudyError, match=rf"{shard}, record 0: has no maps of two halves"):
        write_dataset(
            tmp_path / "toy.json",
            lambda _: ClickMe([shard]).read([0]),
            n=1,
            attrs=ATTRS,
            identity="f",
            has_halves=True,
        )


def test_bad_shard_stops_preparation(tmp_path, tree):
    cut = tmp_path / "val-2.tfrecords"
    cut.write_bytes(tree[0][2].read_bytes()[:-1])
    with pytest.raises(CamstudyError, match=f"{cut}, record 1 at byte [0-9]+: the shard ends"):
        prepare(tmp_path / "toy.json", [*tree[0][:2], cut])
    assert not (tmp_path / "toy.json").exists()


def test_missing_arrays_are_named(tmp_path, tree):
    prepare(tmp_path / "toy.json", tree[0])
    data = open_dataset(tmp_path / "toy.json")
    with pytest.raises(CamstudyError, match=r"toy\.zarr: has no array `human_half`; it holds class_name, human_map"):
        data.human_half()


def test_incomplete_attributes_are_a_programming_error(tmp_path):
    attrs = {name: value for name, value in ATTRS.items() if name not in ("licence", "human_maps")}
    with pytest.raises(ValueError, match=r"\['human_maps', 'licence'\] are missing"):
        write_dataset(tmp_path / "toy.json", lambda _: [], n=1, attrs=attrs, identity="f")


def test_reading_data_does_not_import_torch_or_tensorflow():
    code = "import sys, camstudy.data.dataset; print({'torch', 'timm', 'tensorflow'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def objects(n_boxes):
    """Boxes and a mask of their pixels."""
    boxes = np.array([[10, 20, 30, 60], [100, 0, 256, 256], [0, 5, 1, 6]])[:n_boxes]
    mask = np.zeros((256, 256), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return boxes, mask


def with_objects(shard, tree, *truths):
    _, images, heatmaps, halves, labels = tree
    write_shard(shard, [encode_example(images[i], heatmaps[i], labels[i], halves[i], *t) for i, t in enumerate(truths)])


def test_boxes_and_masks_come_back_from_the_store(tmp_path, tree):
    truths = [objects(1), objects(3), objects(0)]
    with_objects(tmp_path / "a.tfrecords", tree, *truths)
    source = ClickMe([tmp_path / "a.tfrecords"])
    write_dataset(tmp_path / "toy.json", lambda _: source.read(range(3)), n=3, attrs=ATTRS, identity="f", max_boxes=3)
    data = open_dataset(tmp_path / "toy.json")
    for number, (boxes, mask) in enumerate(truths):
        assert data.boxes()[number, : len(boxes)].tolist() == boxes.tolist()
        assert (data.boxes()[number, len(boxes) :] == -1).all()
        assert (data.masks([number])[0] == mask).all()
    assert (data.boxes().shape, data.masks().dtype) == ((3, 3, 4), np.uint8)
    dataset = xarray.open_zarr(tmp_path / "toy.zarr", consolidated=False)
    assert (dataset["box"].dims, dataset["mask"].dims) == (("image", "object", "edge"), ("image", "y", "x"))


@pytest.mark.parametrize(
    ("truth", "message"),
    [((None, None), "no boxes or no mask"), (objects(1)[:1], "no boxes or no mask"), (objects(3), "3 boxes, expected")],
)
def test_records_without_boxes_or_with_too_many_are_named(tmp_path, tree, truth, message):
    shard = tmp_path / "a.tfrecords"
    with_objects(shard, tree, truth)
    with pytest.raises(CamstudyError, match=rf"{shard}, record 0: has {message}"):
        write_dataset(
            tmp_path / "toy.json", lambda _: ClickMe([shard]).read([0]), n=1, attrs=ATTRS, identity="f", max_boxes=2
        )
