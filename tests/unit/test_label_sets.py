"""Multi-label data: items of images, the classes of each, and what the store of a dataset says of both."""

import numpy as np
import pytest
from trees import VOC_ITEMS, voc2012

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import open_dataset
from camstudy.data.digits import QUARTER, make_item
from camstudy.data.formats.clickme import ClickMe, encode_example
from camstudy.data.formats.photographs import write_photographs
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.formats.voc import CLASSES, read_voc
from camstudy.data.reading import open_data
from camstudy.data.writing import write_dataset

N = 13
ATTRS = {"dataset": "sets", "source": "digits", "licence": "", "human_maps": "simulated", "class_names": None}


@pytest.fixture(scope="module")
def items():
    return [make_item("val", index, 0) for index in range(N)]


def test_scenes_of_one_two_and_three_digits_take_turns(items):
    assert [len(item.label_set) for item in items] == [1, 2, 2, 3, 3, 3, 1, 2, 2, 3, 3, 3, 1]
    assert [item.place for item in items] == [0, 0, 1, 0, 1, 2, 0, 0, 1, 0, 1, 2, 0]
    for item in items:
        assert item.scene.label == item.label_set[item.place]
        assert list(item.label_set) == sorted({*item.label_set})
        # Each in a quarter of its own.
        (top, left, bottom, right) = item.scene.boxes[0]
        assert (top // QUARTER, left // QUARTER) == ((bottom - 1) // QUARTER, (right - 1) // QUARTER)
    for first, second in ((1, 2), (3, 5)):
        assert np.array_equal(items[first].scene.image, items[second].scene.image)
        assert not (items[first].scene.mask & items[second].scene.mask).any()
    # The class that has its turn is in each scene, and a scene is the same whatever came before it.
    assert all(number in items[index].label_set for number, index in enumerate((0, 1, 3, 6, 7, 9, 12)))
    assert np.array_equal(make_item("val", 4, 0).scene.image, items[4].scene.image)
    assert not np.array_equal(make_item("val", 4, 1).scene.image, items[4].scene.image)


def write(path, items, **options):
    shard = path / "0.tfrecord"
    scenes = [item.scene for item in items]
    examples = [
        encode_example(s.image, s.heatmap, s.label, s.halves, s.boxes, s.mask, None, item.label_set, item.place)
        for s, item in zip(scenes, items, strict=True)
    ]
    write_shard(shard, examples)
    records = ClickMe([shard], num_classes=10)
    manifest = path / "sets.json"
    write_dataset(
        manifest,
        lambda part: records.read(range(records.n)[part]),
        n=records.n,
        attrs=ATTRS,
        identity="code=x",
        max_boxes=1,
        chunk=4,
        **options,
    )
    return open_dataset(manifest)


def test_the_store_of_records_knows_the_classes_and_the_first_item_of_each_image(tmp_path, items):
    dataset = write(tmp_path, items, label_sets=10)
    assert dataset.sources.tolist() == [0, 1, 1, 3, 3, 3, 6, 7, 7, 9, 9, 9, 12]
    assert dataset.label_sets.dtype == np.int8
    assert [tuple(np.flatnonzero(row)) for row in dataset.label_sets] == [item.label_set for item in items]
    assert set(np.unique(dataset.label_sets)) == {0, 1}
    assert (dataset.label_sets[np.arange(N), dataset.labels] == 1).all()


def test_other_records_have_neither(tmp_path, items):
    dataset = write(tmp_path, items)
    assert dataset.label_sets is None
    assert dataset.sources.tolist() == list(range(N))


def test_a_set_without_the_label_is_told(tmp_path, items):
    scene = items[0].scene
    example = encode_example(scene.image, scene.heatmap, scene.label, label_set=[scene.label + 1])
    write_shard(tmp_path / "0.tfrecord", [example])
    with pytest.raises(CamstudyError, match=r"record 0: `label_set` holds \[1\], expected classes .*, 0 among them"):
        list(ClickMe([tmp_path / "0.tfrecord"], num_classes=10).read([0]))


def test_voc_counts_difficult_objects_as_neither(tmp_path):
    voc2012(tmp_path / "root")
    files, found, _ = read_voc(tmp_path / "root", label_sets=True)
    attrs = ATTRS | {"human_maps": None, "class_names": CLASSES}
    (tmp_path / "data").mkdir()
    write_photographs(tmp_path / "data/voc.json", files, found, attrs=attrs, identity="code=x")
    dataset = open_dataset(tmp_path / "data/voc.json")
    # tvmonitor; dog and person, one of whom is difficult; aeroplane, and a boat that is.
    present = [{19}, {11, 14}, {11, 14}, {0}]
    assert [{*np.flatnonzero(row == 1)} for row in dataset.label_sets] == present
    assert [{*np.flatnonzero(row == -1)} for row in dataset.label_sets] == [set(), set(), set(), {3}]
    assert dataset.sources.tolist() == [0, 1, 1, 3]
    kept = read_voc(tmp_path / "root", keep_difficult=True, label_sets=True)[1]
    assert not any((item.label_set == -1).any() for item in kept)
    assert all(item.label_set is None for item in read_voc(tmp_path / "root")[1])
    data = open_data("voc", results=tmp_path)
    assert data["label_set"].shape == (len(VOC_ITEMS), 20)
