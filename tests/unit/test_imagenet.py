"""ImageNet's validation set in miniature, in each layout in which people have it: always the same labels."""

import numpy as np
import pytest
import scipy.io
from timm.data import ImageNetInfo
from trees import (
    CONTENTS,
    LABELS,
    NAMES,
    SYNSETS,
    WORDS,
    as_classes,
    as_distributed,
    as_files,
    as_folders,
    write_devkit,
    write_images,
)

from camstudy.data.imagenet import read_imagenet
from camstudy.errors import CamstudyError


@pytest.mark.parametrize("layout", [as_classes, as_files, as_folders, as_distributed])
def test_every_layout_gives_the_same_images_and_labels(tmp_path, layout):
    layout(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    files, photographs, class_names = read_imagenet(tmp_path, num_classes=4)
    assert [item.label for item in photographs] == LABELS
    assert [files.read(item.name) for item in photographs] == list(CONTENTS.values())
    assert class_names == (WORDS if layout is not as_classes else sorted(wnid for _, wnid, _, n in SYNSETS if n == 0))
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked


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
    with pytest.raises(CamstudyError, match=r"no images found; put .*ILSVRC2012_img_val\.tar .*ILSVRC2012_devkit_t12"):
        read_imagenet(tmp_path)
    write_images(tmp_path)
    with pytest.raises(CamstudyError, match=r"images without class folders, and no ILSVRC2012_devkit_t12; put"):
        read_imagenet(tmp_path)


def test_missing_classes_are_no_smaller_classes(tmp_path):
    as_classes(tmp_path)
    with pytest.raises(CamstudyError, match="has 4 classes, expected 1000: labels follow the sorted synsets"):
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
