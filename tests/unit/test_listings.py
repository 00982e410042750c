"""The number of images of a dataset comes from its files, before it is prepared, and then from what was prepared."""

import json

import numpy as np
import pytest
import trees
from conftest import TINY
from test_pipeline import study

from camstudy.data.formats import imagenet
from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.files import Files
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.sources import SOURCES, Listing
from camstudy.pipeline import paths
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.jobs import Jobs
from camstudy.pipeline.listings import Listings
from camstudy.pipeline.sources import Sources
from camstudy.study.study import Study

PHOTOS = {"source": "imagenet", "root": "photos", "num_classes": 4}


def entry(**changes):
    defaults = {"split": "val", "boxes": False, "keep_difficult": False, "n_images": None, "class_names": None}
    return {**defaults, "num_classes": 1000, "licence": "", **changes}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listings(planned="code=1", **entries):
    return Listings({name: entry(**one) for name, one in entries.items()}, lambda _: planned)


def touch(folder, count, first=0):
    """Make files by name alone: a list of them reads none."""
    for number in range(first, count):
        wnid = sorted(wnid for _, wnid, _, children in trees.SYNSETS if not children)[number % 4]
        (folder / wnid).mkdir(parents=True, exist_ok=True)
        (folder / wnid / f"{number}.JPEG").touch()


@pytest.mark.parametrize("count", [5, 1024, 1500])
def test_parts_are_those_of_the_photographs_that_are_there(here, count):
    touch(here / "photos", count)
    catalog = {"datasets": {"mine": PHOTOS}}
    catalog["models"] = {"tiny_resnet": TINY["catalog"]["models"]["tiny_resnet"] | {"num_classes": 4}}
    config = study(catalog=catalog).config
    config["dataset"] = "mine"
    found = Study(config, lambda: known)
    known = Listings(found.catalog["datasets"], Identities(found, Sources(found)).dataset)
    parts = ["/00000-01023", "/01024-01499"] if count == 1500 else [""]
    assert found.images("mine") == found.expected_images("mine") == count
    assert found.map_parts("mine", "tiny_resnet", "score_cam") == parts
    assert found.score_parts("mine", "faithfulness") == parts
    assert found.map_parts("mine", "tiny_resnet", "gradcam") == [""]
    # What jobs ask for follows: a second an image.
    found.config["resources"]["rules"]["prepare_photographs"] |= {"seconds_per_image": 1, "minutes": 0}
    found.config["resources"] |= {"safety": 1, "least_minutes": 0.001}
    assert Jobs(found)._request("prepare_photographs", {"dataset": "mine"}, 1)["runtime"] == -(-count // 60)


def test_another_photograph_counts_at_once(here):
    touch(here / "photos", 7)
    assert listings(mine=PHOTOS).images("mine") == 7
    touch(here / "photos", 9, first=7)
    assert listings(mine=PHOTOS).images("mine") == 9
    assert listings(mine=PHOTOS | {"n_images": 3}).images("mine") == 3


def test_an_archive_is_listed_once(here, monkeypatch):
    (here / "photos").mkdir()
    trees.as_distributed(here / "photos")
    expected = Listing(7, sorted(wnid for _, wnid, _, children in trees.SYNSETS if not children))
    assert listings(mine=PHOTOS).listing("mine") == expected

    def never(*_):
        raise AssertionError("opened once more")

    monkeypatch.setattr(Files, "__init__", never)
    assert listings(mine=PHOTOS).listing("mine") == expected
    # Another entry, or a folder that came beside the archive, is another list.
    with pytest.raises(AssertionError, match="opened once more"):
        listings(mine=PHOTOS | {"num_classes": 9}).listing("mine")
    (here / "photos/ILSVRC2012_img_val").mkdir()
    with pytest.raises(AssertionError, match="opened once more"):
        listings(mine=PHOTOS).listing("mine")


def test_a_prepared_dataset_says_itself_how_many(here):
    touch(here / "photos", 7)
    manifest = here / paths.dataset("mine")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"identity": "code=1 content=ab", "n_images": 5}))
    assert listings("code=1", mine=PHOTOS).images("mine") == 5
    # It is to be made anew: of what there is now.
    assert listings("code=2", mine=PHOTOS).images("mine") == 7
    # Of what is not there, as little as of what is downloaded, is there a better guess.
    assert listings("code=2", mine=PHOTOS | {"root": "elsewhere"}).images("mine") == 5
    shards = {"source": "clickme", "shards": {"url": "https://a/{i}", "count": 2}}
    assert listings("code=2", mine=shards).images("mine") == 5
    assert listings("code=2", other=shards).images("other") == 2 * 3072


def test_what_cannot_be_listed_is_guessed_until_the_job_says_what_is_wrong(here):
    (here / "photos").mkdir()
    assert listings(mine=PHOTOS).images("mine") == 50_000
    assert listings(mine=PHOTOS).listing("mine") is None


def test_only_the_studys_own_dataset_is_listed_for_estimates(here):
    touch(here / "photos", 7)
    own = study(catalog={"datasets": {"mine": PHOTOS}})
    known = Listings(own.catalog["datasets"], Identities(own, Sources(own)).dataset)
    found = Study(own.config, lambda: known)
    assert found.expected_images("mine") == 50_000
    assert found.images("mine") == 7


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mit1003", "salicon", "cat2000"])
def test_gaze(here, name, packed):
    _, photographs = getattr(trees, name)(here, packed)
    assert listings(d={"source": name, "root": "."}).listing("d") == Listing(len(photographs))


def test_observers_of_gaze(here):
    trees.mit1003_observers(here)
    trees.gaze_table(here)
    known = listings(
        eyes={"source": "mit1003", "root": "."}, own={"source": "gaze_table", "root": ".", "table": "fixations.csv"}
    )
    assert known.images("eyes") == 2
    # Those of the other data set lie below the same folder.
    assert known.images("own") == 5


@pytest.mark.parametrize("packed", [False, True])
def test_boxes(here, packed):
    trees.voc2012(here, packed)
    trees.cub200(here, packed)
    known = listings(
        voc={"source": "voc2012", "root": ".", "num_classes": 20},
        cub={"source": "cub200", "root": ".", "num_classes": 3, "split": "test"},
        many={"source": "cub200", "root": ".", "num_classes": 200, "split": "test"},
    )
    assert known.images("voc") == len(trees.VOC_ITEMS) == 4
    assert known.listing("voc").classes[11] == "dog"
    names = ["Black footed Albatross", "Laysan Albatross", "Sooty Albatross"]
    assert known.listing("cub") == Listing(len(trees.CUB_TEST), names)
    assert known.listing("many") is None


def test_own_shards(here):
    image, heat = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8)
    for name, count in (("a", 3), ("b", 2)):
        write_shard(f"{name}.tfrecords", [encode_example(image, heat, 0) for _ in range(count)])
    mine = {"source": "clickme", "shards": ["a.tfrecords", "b.tfrecords"]}
    assert listings(mine=mine).images("mine") == 5
    assert listings(mine=mine | {"shards": ["b.tfrecords"]}).images("mine") == 2
    assert listings(mine=mine | {"shards": ["c.tfrecords"]}).images("mine") == 3072


def test_listed_images_are_those_that_are_read(here):
    """Of both layouts and of training images, in the same order before these are mixed."""
    trees.as_files(here / "val")
    trees.as_train(here / "more")
    assert imagenet.list_imagenet(here / "val").labels == trees.LABELS
    listed = imagenet.list_imagenet(here / "more", "train")
    read = imagenet.read_imagenet(here / "more", 4, "train")[1]
    assert sorted(zip(listed.names, listed.labels, strict=True)) == sorted((item.name, item.label) for item in read)
    assert SOURCES["imagenet"].listing(entry(split="train"), here / "more").images == sum(trees.GROUPS.values())


def test_masks_that_come_into_an_entry_are_no_images_any_more(here):
    for name in ("cat/1.jpg", "dog/2.jpg", "masks/cat/1.png", "masks/dog/2.png"):
        (here / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "photos" / name).touch()
    keys = {"labels": "folders", "classes": None, "subset": None, "more_roots": [], "num_classes": None}
    mine = keys | {"source": "folder", "root": "photos", "masks": None}
    assert listings(mine=mine).listing("mine") == Listing(4, ["cat", "dog", "masks"])
    assert listings(mine=mine | {"masks": "masks"}).listing("mine") == Listing(2, ["cat", "dog"])
