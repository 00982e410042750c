"""ImageNet in miniature, in each layout in which people have it: always the same labels."""

import re
import tarfile

import numpy as np
import pytest
import scipy.io
from timm.data import ImageNetInfo
from trees import (
    CONTENTS,
    GROUPS,
    LABELS,
    NAMES,
    WORDS,
    as_classes,
    as_distributed,
    as_files,
    as_folders,
    as_train,
    write_devkit,
    write_images,
)
from trees import jpeg as picture

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.imagenet import read_imagenet

PAPER = "toilet tissue, toilet paper, bathroom tissue"


@pytest.mark.parametrize("layout", [as_classes, as_files, as_folders, as_distributed])
def test_every_layout_gives_the_same_images_and_labels(tmp_path, layout):
    layout(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    files, photographs, class_names = read_imagenet(tmp_path, num_classes=4)
    assert [item.label for item in photographs] == LABELS
    assert [files.read(item.name) for item in photographs] == list(CONTENTS.values())
    # timm's table has another name of one of them.
    assert class_names == (WORDS if layout is not as_classes else [*WORDS[:3], PAPER])
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked


def test_training_images_are_mixed_and_have_the_labels_of_their_folders(tmp_path):
    as_train(tmp_path)
    files, photographs, class_names = read_imagenet(tmp_path, num_classes=4, split="train")
    names = [item.name for item in photographs]
    assert sorted(names) == sorted(path.relative_to(files.path).as_posix() for path in files.path.rglob("*.JPEG"))
    assert class_names == [*WORDS[:3], PAPER]
    assert [item.label for item in photographs] == [sorted(GROUPS).index(name.split("/")[0]) for name in names]
    # Sorted by class, 3 of 31 neighbours would differ; in a random order, three in four.
    assert np.mean(np.diff([item.label for item in photographs]) != 0) > 0.5
    again = read_imagenet(tmp_path, num_classes=4, split="train")[1]
    assert [item.name for item in again] == names


@pytest.mark.parametrize("val", [as_distributed, lambda root: as_classes(root / "val")], ids=["distributed", "folders"])
def test_both_splits_lie_in_one_root(tmp_path, val):
    as_train(tmp_path)
    val(tmp_path)
    files, photographs, _ = read_imagenet(tmp_path, num_classes=4)
    assert [item.label for item in photographs] == LABELS
    assert [files.read(item.name) for item in photographs] == list(CONTENTS.values())
    assert len(read_imagenet(tmp_path, num_classes=4, split="train")[1]) == sum(GROUPS.values())


def test_one_split_is_not_taken_for_the_other(tmp_path):
    as_train(tmp_path / "train only")
    with pytest.raises(CamstudyError, match=r"only: has `train`, but neither ILSVRC2012_img_val nor `val`"):
        read_imagenet(tmp_path / "train only", num_classes=4)
    as_classes(tmp_path / "val only")
    with pytest.raises(CamstudyError, match=r"val only: has no `train`"):
        read_imagenet(tmp_path / "val only", num_classes=4, split="train")


def test_training_images_without_a_class_or_a_class_without_images_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(CamstudyError, match=r"no images found"):
        read_imagenet(tmp_path, num_classes=4, split="train")
    as_train(tmp_path)
    with pytest.raises(CamstudyError, match="has 4 classes, expected 999"):
        read_imagenet(tmp_path, num_classes=999, split="train")
    write_images(tmp_path / "train/fish", NAMES[:1])
    with pytest.raises(CamstudyError, match=rf"train, fish/{NAMES[0]}: in no folder named by synset"):
        read_imagenet(tmp_path, num_classes=4, split="train")


def test_classes_of_timms_weights_are_the_sorted_synsets():
    synsets = ImageNetInfo("imagenet-1k").label_names()
    assert len(synsets) == 1000
    assert synsets == sorted(synsets)


def test_part_of_the_images_keeps_its_labels(tmp_path):
    write_images(tmp_path, NAMES[2:5])
    write_devkit(tmp_path)
    _, photographs, _ = read_imagenet(tmp_path, num_classes=4)
    assert [item.label for item in photographs] == LABELS[2:5]


def test_nothing_there_says_what_to_put_there(tmp_path):
    with pytest.raises(CamstudyError, match=r"no images found"):
        read_imagenet(tmp_path)
    write_images(tmp_path)
    with pytest.raises(CamstudyError, match=r"images in no folders named by synset, and no ILSVRC2012_devkit_t12"):
        read_imagenet(tmp_path)


def test_some_of_the_classes_keep_their_numbers_and_names(tmp_path):
    as_classes(tmp_path)
    _, photographs, names = read_imagenet(tmp_path)
    place = ImageNetInfo("imagenet-1k").label_names()
    assert [item.label for item in photographs] == [place.index(item.name.split("/")[-2]) for item in photographs]
    assert {names[item.label] for item in photographs} == {*WORDS[:3], PAPER}
    assert (len(names), names[0], names[212], names[999]) == (1000, WORDS[0], WORDS[1], PAPER)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["n01440764/images/a.JPEG", "n02102040/images/b.jpe"], [0, 217]),  # as Tiny ImageNet
        (["val/n02102040/a.JPEG", "train/n01440764/b.JPEG"], [217]),
        (["n01440764/a.JPEG", "n02102040/b.webp"], [0, 217]),  # to be named when it is decoded
        (
            ["val.X/n02102040/a.JPEG", "train.X1/n01440764/b.JPEG"],
            "in train.X1, val.X; name as `root` that of",
        ),
        (["n01440764/a.JPEG", "more/b.JPEG"], "more/b.JPEG: in no folder named by synset, as others are; move it"),
        (["n01440764/a.JPEG", "n99999999/b.JPEG"], "are missing (n99999999 is none of ImageNet-1k's); complete the"),
    ],
)
def test_layouts_of_parts_of_imagenet(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(picture(1))
    if isinstance(expected, list):
        assert [item.label for item in read_imagenet(tmp_path)[1]] == expected
    else:
        with pytest.raises(CamstudyError, match=re.escape(expected)):
            read_imagenet(tmp_path)


def test_missing_classes_are_no_smaller_classes(tmp_path):
    as_classes(tmp_path)
    with pytest.raises(CamstudyError, match="has 4 classes, expected 5: labels follow the sorted synsets"):
        read_imagenet(tmp_path, num_classes=5)
    (tmp_path / "n99999999").mkdir()
    (tmp_path / "n99999999/x.JPEG").write_bytes(picture(1))
    with pytest.raises(CamstudyError, match="has 5 classes, expected 1000: labels follow the sorted synsets"):
        read_imagenet(tmp_path)


def test_foreign_names_and_numbers_are_refused(tmp_path):
    as_files(tmp_path)
    (tmp_path / NAMES[0]).rename(tmp_path / "cat.JPEG")
    with pytest.raises(CamstudyError, match=r"cat\.JPEG: expected a name like ILSVRC2012_val_00000001\.JPEG"):
        read_imagenet(tmp_path, num_classes=4)
    (tmp_path / "cat.JPEG").rename(tmp_path / "ILSVRC2012_val_00000008.JPEG")
    with pytest.raises(CamstudyError, match="with a number of 1 to 7"):
        read_imagenet(tmp_path, num_classes=4)


@pytest.mark.parametrize("truth", [[3, 1, 2, 2, 4, 3, 6], [3, 1, 2, 2, 4, 3, "x"]], ids=["inner node", "text"])
def test_ground_truth_that_does_not_fit_is_refused(tmp_path, truth):
    write_images(tmp_path)
    write_devkit(tmp_path, truth)
    with pytest.raises(CamstudyError, match=r"devkit_t12: meta\.mat and the ground truth do not fit together"):
        read_imagenet(tmp_path, num_classes=4)


def test_incomplete_and_damaged_kits_are_refused(tmp_path):
    as_files(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12/data/meta.mat").write_bytes(b"MATLAB 5.0, or not")
    with pytest.raises(CamstudyError, match=r"data/meta\.mat: not a MATLAB file with synsets"):
        read_imagenet(tmp_path, num_classes=4)
    scipy.io.savemat(tmp_path / "ILSVRC2012_devkit_t12/data/meta.mat", {"synsets": np.arange(3)})
    with pytest.raises(CamstudyError, match="do not fit together"):
        read_imagenet(tmp_path, num_classes=4)
    (tmp_path / "ILSVRC2012_devkit_t12/data/meta.mat").unlink()
    with pytest.raises(CamstudyError, match=r"has no data/meta\.mat"):
        read_imagenet(tmp_path, num_classes=4)


def test_an_archive_with_fewer_images_than_the_development_kit_knows_is_damaged(tmp_path):
    write_images(tmp_path / "images", NAMES[2:5])
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        archive.add(tmp_path / "images", ".")
    write_devkit(tmp_path)
    message = r"ILSVRC2012_img_val\.tar: has 3 images, but the development kit knows 7; fetch it again"
    with pytest.raises(CamstudyError, match=message):
        read_imagenet(tmp_path, num_classes=4)
