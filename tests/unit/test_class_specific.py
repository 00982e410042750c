"""Figures of two classes of an image: which images they show, what is where in them, and data that have none."""

import numpy as np
import pytest
import yaml
from conftest import ROOT

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.clickme import select
from camstudy.figures import FIGURES
from camstudy.figures.choice import chosen_images
from camstudy.figures.pictures import overlay
from camstudy.figures.scanpaths import draw_path, runs
from camstudy.figures.style import panels
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate

SOURCES = np.array([0, 1, 1, 3, 3, 3, 6, 7, 7])  # items of 1, 2, 3, 1 and 2 classes
RNG = np.random.default_rng(0)


def test_images_of_several_classes_come_as_pairs_of_items():
    record = FIGURES["class_specific"]
    assert chosen_images(SOURCES, {"n_images": 9, "seed": 0}, record).tolist() == [1, 2, 3, 4, 7, 8]
    seen = set()
    for seed in range(20):
        pair = chosen_images(SOURCES, {"n_images": 1, "seed": seed}, record).tolist()
        assert pair in ([1, 2], [3, 4], [7, 8])
        seen.add(pair[0])
    assert seen == {1, 3, 7}
    with pytest.raises(CamstudyError, match="figure `class_specific`: no image of the dataset has two classes"):
        chosen_images(np.arange(4), {"n_images": 2, "seed": 0}, record)


def test_other_figures_show_images_as_they_come():
    found = chosen_images(SOURCES, {"n_images": 4, "seed": 3}, FIGURES["method_grid"])
    np.testing.assert_array_equal(found, select(9, 4, 3))


def test_each_class_has_a_row_with_its_map_and_path():
    images = np.repeat(RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), 2, axis=0)
    maps = {("net", name): RNG.random((4, 7, 7), dtype=np.float32) for name in ("Grad-CAM", "FovEx")}
    paths = RNG.uniform(0.1, 0.9, (4, 3, 2))
    paths[2] = np.nan  # went nowhere
    figure = FIGURES["class_specific"].function(
        images, None, maps, ["cat", "cup", "dog", "fox"], scanpaths={("net", "FovEx"): paths}, scores={}
    )
    axes = np.array(figure.axes[:12]).reshape(4, 3)  # the last is the scale of heat
    for row, (image, cam, seen) in enumerate(axes):
        assert image.images
        assert not image.lines
        for panel, name in ((cam, "Grad-CAM"), (seen, "FovEx")):
            expected = overlay(maps["net", name][row], images[row], (0.0, 0.0, 1.0, 1.0))
            np.testing.assert_allclose(panel.images[0].get_array(), expected)
        assert not cam.lines
        if row == 2:
            assert not any(len(line.get_xdata()) for line in seen.lines)
        else:
            np.testing.assert_allclose(seen.lines[0].get_xydata(), paths[row][:, ::-1] * 224 - 0.5)
    labels = [text for text in figure.texts if text.get_text() in ("cat", "cup", "dog", "fox")]
    assert [text.get_text() for text in sorted(labels, key=lambda text: -text.get_position()[1])] == [
        "cat",
        "cup",
        "dog",
        "fox",
    ]
    # Between the second row and the third is a rule.
    (rule,) = figure.artists
    assert axes[2, 0].get_position().y1 < rule.get_ydata()[0] < axes[1, 0].get_position().y0


def test_labels_of_near_steps_are_one():
    assert [runs(numbers) for numbers in ([1], [1, 2], [1, 2, 3, 7, 9, 10])] == ["1", "1,2", "1–3,7,9,10"]
    _, (panel,) = panels(1, 2, 2)
    near = np.array([[0.5, 0.5], [0.2, 0.8], [0.51, 0.52], [0.49, 0.5], [0.2, 0.9]])
    draw_path(panel, near, (224, 224))
    assert [text.get_text() for text in panel.texts] == ["1,3,4", "2", "5"]


def test_data_of_one_class_an_image_have_no_such_figure():
    text = (ROOT / "config/studies/fovex_demo.yaml").read_text()
    study = yaml.safe_load(text) | {"figures": ["class_specific"]}
    with pytest.raises(
        CamstudyError, match=r"`class_specific` shows images of two classes, but images of `digits_fovex`"
    ):
        validate(with_catalogs(study, ROOT), check_files=False)
    voc = yaml.safe_load((ROOT / "config/studies/fovex_voc.yaml").read_text())
    assert "class_specific" in validate(with_catalogs(voc, ROOT), check_files=False)["figures"]
