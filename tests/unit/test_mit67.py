"""MIT-67 as its owners publish it: lists, scenes, images read in place; damage is told in words."""

import re

import pytest
from trees import MIT67, mit67

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.files import Root
from camstudy.data.formats.mit67 import read_mit67
from camstudy.data.formats.photographs import write_photographs
from camstudy.data.sources import SOURCES, expected_images

ENTRY = {"source": "mit67", "split": "test", "scenes": None, "images_per_scene": None, "n_images": None}
ABOVE = "indoorCVPR_09/Images/"


@pytest.mark.parametrize("packed", [False, True])
def test_images_are_those_of_the_lists_in_their_order(tmp_path, packed):
    mit67(tmp_path, packed)
    files, photographs = read_mit67(tmp_path)
    place = ABOVE if packed else "Images/"
    assert [item.name for item in photographs] == [place + name for name in MIT67["TestImages.txt"]]
    assert [item.caption for item in photographs] == ["winecellar", "corridor", "winecellar", "corridor", "corridor"]
    assert {item.label for item in photographs} == {-1}
    assert files.read(photographs[3].name)[:2] == b"\xff\xd8"
    _, train = read_mit67(tmp_path, "train")
    assert sorted(item.name for item in train) == sorted(place + name for name in MIT67["TrainImages.txt"])


def test_some_scenes_and_the_first_images_of_each(tmp_path):
    mit67(tmp_path, packed=True)

    def names(**options):
        return [item.name.removeprefix(ABOVE) for item in read_mit67(tmp_path, **options)[1]]

    corridors = ["corridor/4.jpg", "corridor/int 5.jpg", "corridor/6.jpg"]
    assert names(scenes=["corridor"]) == corridors
    assert names(scenes=["winecellar", "corridor"]) == ["winecellar/a.jpg", "winecellar/3.jpg", *corridors]
    assert names(scenes=["corridor", "winecellar"], images_per_scene=1) == ["corridor/4.jpg", "winecellar/a.jpg"]
    assert names(images_per_scene=2) == ["winecellar/a.jpg", "corridor/4.jpg", "winecellar/3.jpg", "corridor/int 5.jpg"]
    entry = ENTRY | {"scenes": ["corridor", "winecellar"], "images_per_scene": 2}
    source = SOURCES["mit67"]
    assert source.listing(entry, Root(tmp_path)).images == expected_images(entry) == 4
    assert (expected_images(ENTRY), expected_images(ENTRY | {"split": "train"})) == (1340, 5360)
    assert source.truths(entry) == set()


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (lambda root: (root / "TestImages.txt").unlink(), {}, "has no TestImages.txt; put indoorCVPR_09.tar of MIT's"),
        (
            lambda root: (root / "indoorCVPR_09.tar").unlink(),
            {},
            "has no indoorCVPR_09; put indoorCVPR_09.tar of MIT's",
        ),
        (
            lambda root: (root / "TestImages.txt").write_text("corridor\n"),
            {},
            "found the line 'corridor', expected scene/",
        ),
        (
            lambda root: (root / "TestImages.txt").write_text("../x.jpg\n"),
            {},
            "found the line '../x.jpg', expected scene",
        ),
        (lambda root: (root / "TestImages.txt").write_text("\n"), {}, "found no lines, expected scene/file; fetch it"),
        (
            lambda root: (root / "TestImages.txt").write_text("corridor/4.jpg\ncorridor/4.jpg\n"),
            {},
            "TestImages.txt: has corridor/4.jpg more than once; fetch it again",
        ),
        (
            lambda root: (root / "TestImages.txt").write_text("corridor/4.jpg\nbar/1.jpg\n"),
            {},
            "lacks 1 images of TestImages.txt, such as bar/1.jpg; fetch it again",
        ),
        (
            lambda root: (root / "indoorCVPR_09.tar").write_bytes((root / "indoorCVPR_09.tar").read_bytes()[:3000]),
            {},
            "cannot be read as a folder, tar or zip archive",
        ),
        (lambda root: None, {"scenes": ["coridor"]}, "unknown scene `coridor`, did you mean `corridor`?"),
        (lambda root: None, {"images_per_scene": 3}, "has 2 images of winecellar, and `images_per_scene` asks for 3"),
    ],
)
def test_damage_is_told(tmp_path, damage, options, message):
    mit67(tmp_path, packed=True)
    damage(tmp_path)
    with pytest.raises(CamstudyError, match=re.escape(message)):
        SOURCES["mit67"].read(ENTRY | options, Root(tmp_path))


def test_a_prepared_store_says_what_its_images_show(tmp_path):
    mit67(tmp_path, packed=True)
    files, photographs = read_mit67(tmp_path, scenes=["winecellar", "corridor"], images_per_scene=1)
    attrs = {"dataset": "rooms", "source": "mit67", "source_records": 2, "licence": "", "human_maps": None}
    manifest = tmp_path / "rooms.json"
    write_photographs(manifest, files, photographs, attrs=attrs | {"class_names": None}, identity="a=b", facts=dict)
    dataset = open_dataset(manifest)
    assert dataset.shown().tolist() == ["winecellar", "corridor"]
    assert dataset.shown([1]).tolist() == ["corridor"]
    assert dataset.labels.tolist() == [-1, -1]
    assert dataset.shapes.tolist() == [[23, 30], [24, 30]]
