"""Sources: what each says of itself, and training images in an order that mixes classes."""

import subprocess
import sys

import numpy as np
import pytest
from trees import CUB, as_train, cat2000, cub200, mit1003, salicon, voc2012

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.cub import read_cub
from camstudy.data.formats.photographs import Photograph, mixed
from camstudy.data.sources import SOURCES
from camstudy.training.data import ChunkShuffle


def test_an_unknown_source_is_named_with_the_nearest():
    with pytest.raises(CamstudyError, match="unknown source `imagenet1k`, did you mean `imagenet`"):
        SOURCES["imagenet1k"]


def test_one_source_is_known_without_the_others_and_without_what_reads_files():
    code = (
        "import sys; from camstudy.data.sources import SOURCES; record = SOURCES['cub200']; "
        "print(record.images({'split': 'train'}), record.layout({})); "
        "print([name for name in sys.modules if name.startswith('camstudy.data.')], 'numpy' in sys.modules)"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].startswith("5994 put CUB_200_2011.tgz")
    assert lines[1] == "['camstudy.data.sources', 'camstudy.data.sources.cub200'] False"


@pytest.mark.parametrize(
    ("name", "entry", "truths"),
    [
        ("digits", {}, {"labels", "human_maps", "human_halves", "boxes", "masks"}),
        ("digits", {"fixations": True}, {"labels", "human_maps", "human_halves", "boxes", "masks", "fixations"}),
        ("clickme", {}, {"labels", "human_maps"}),
        ("imagenet", {"boxes": False}, {"labels"}),
        ("imagenet", {"boxes": True}, {"labels", "boxes"}),
        ("voc2012", {}, {"labels", "boxes"}),
        ("cub200", {}, {"labels", "boxes"}),
        ("mit1003", {}, {"human_maps", "fixations"}),
        ("folder", {"labels": "folders", "masks": "masks", "human_maps": None}, {"labels", "masks"}),
    ],
)
def test_what_is_known_of_images(name, entry, truths):
    assert SOURCES[name].truths(entry) == truths


@pytest.mark.parametrize(
    ("name", "tree", "entry", "count"),
    [
        ("imagenet", as_train, {"num_classes": 4, "split": "train", "boxes": False}, 32),
        ("voc2012", voc2012, {"split": "val", "keep_difficult": False}, 4),
        ("cub200", cub200, {"split": "test", "num_classes": 3}, 3),
        ("mit1003", mit1003, {"sigma": None}, 2),
        ("salicon", salicon, {"sigma": None}, 2),
        ("cat2000", cat2000, {"sigma": None}, 4),
    ],
)
def test_photographs_are_read_as_they_say(tmp_path, name, tree, entry, count):
    """Labels, boxes and fixations are there where the record says so, and only there."""
    tree(tmp_path)
    source = SOURCES[name]
    found, truths = source.function(entry, tmp_path), source.truths(entry)
    assert source.kind == "photographs"
    assert len(found.photographs) == count
    for item in found.photographs:
        assert (item.label >= 0) == ("labels" in truths)
        assert (item.boxes is not None) == ("boxes" in truths)
        assert (item.fixations is not None) == ("fixations" in truths)
        assert item.name in found.files.sizes
    assert (found.density is not None) == ("human_maps" in truths)
    assert (found.class_names is not None) == ("labels" in truths)


def test_mixing_keeps_items_of_an_image_together():
    items = [Photograph(f"{number // 3}.jpg", number % 3) for number in range(60)]
    found = mixed(items)
    assert sorted((item.name, item.label) for item in found) == sorted((item.name, item.label) for item in items)
    assert [item.label for item in found] == [0, 1, 2] * 20
    assert [item.name for item in found[::3]] != [item.name for item in items[::3]]
    assert found == mixed(items)


def birds(root, kinds, each):
    """CUB in its own order, by class, of as many training images; the content of files plays no part."""
    base = root / "CUB_200_2011"
    (base / "images").mkdir(parents=True)
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    for number in range(kinds * each):
        (base / f"images/{number}.jpg").touch()
        values = (f"{number}.jpg", number // each + 1, 1, "0 0 5 5")
        for name, value in zip(lists, values, strict=True):
            lists[name].append(f"{number + 1} {value}\n")
    lists["classes"] = [f"{kind + 1} {kind + 1:03d}.Bird\n" for kind in range(kinds)]
    for name, rows in lists.items():
        (base / f"{name}.txt").write_text("".join(rows))


def classes_per_batch(labels, batch=64):
    order = np.array(list(ChunkShuffle(len(labels), 64, seed=0)))
    batches = order[: len(order) // batch * batch].reshape(-1, batch)
    return np.mean([len(np.unique(labels[one])) for one in batches])


def test_batches_of_birds_have_as_many_classes_as_a_true_shuffle(tmp_path):
    birds(tmp_path, kinds=200, each=30)
    labels = np.array([item.label for item in read_cub(tmp_path, split="train")[1]])
    shuffled = np.random.default_rng(1).permutation(labels)[: 93 * 64].reshape(-1, 64)
    expected = np.mean([len(np.unique(batch)) for batch in shuffled])
    assert expected == pytest.approx(55, abs=1)
    assert classes_per_batch(np.sort(labels)) < 40  # as they lie in the distributors' list
    assert classes_per_batch(labels) == pytest.approx(expected, abs=1)
    # The first images are a random subset: of 600, each class has three or so.
    assert len(np.unique(labels[:600])) > 180


def test_images_for_evaluation_stay_in_their_order(tmp_path):
    cub200(tmp_path)
    found = read_cub(tmp_path, num_classes=3)[1]
    assert [item.name.rpartition("/")[2] for item in found] == [row[1].rpartition("/")[2] for row in CUB if not row[3]]


SPLITS = {"imagenet": ["val", "train"], "voc2012": ["val", "train"], "cub200": ["test", "train"]}
SPLITS |= {"mit67": ["test", "train"]}
PHOTOGRAPHS = [name for name in SOURCES if SOURCES[name].kind == "photographs"]


@pytest.mark.parametrize(("name", "split"), [(name, split) for name in PHOTOGRAPHS for split in SPLITS.get(name, [""])])
def test_what_is_not_there_is_said_with_what_to_put_there(tmp_path, name, split):
    entry = {"split": split, "boxes": False, "num_classes": 3, "keep_difficult": False, "sigma": None, "table": "a.csv"}
    entry |= {"more_roots": [], "labels": "folders", "classes": None, "subset": None}
    entry |= {"scenes": None, "images_per_scene": None}
    with pytest.raises(CamstudyError) as error:
        SOURCES[name].read(entry, tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert str(error.value).endswith(f"; {SOURCES[name].layout(entry)}")
