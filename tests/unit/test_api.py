"""Maps in a notebook: those of the engine, in the geometry of timm, and the network is left as it was."""

import copy

import numpy as np
import pytest
import torch
from lite0 import LAST, PHOTOGRAPHS, lite0, photograph, photographs
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from camstudy.api import explain
from camstudy.core.errors import CamstudyError


@pytest.fixture(scope="module")
def model():
    return lite0()


def test_real_photographs_and_a_trained_network(model, tmp_path):
    before = copy.deepcopy(model.state_dict())
    found = explain(model, [photograph(name) for name in PHOTOGRAPHS], batch_size=3)
    seen = photographs()
    with torch.no_grad():
        answers = model(seen).softmax(1)
    for index, (name, one) in enumerate(zip(PHOTOGRAPHS, found, strict=True)):
        assert one.target == one.predicted in PHOTOGRAPHS[name]
        assert one.probability == pytest.approx(answers[index, one.target].item(), rel=1e-4)
        height, width = one.image.shape[:2]
        top, left, bottom, right = one.view
        # The central square that is 0.875 of the shorter side.
        side = 0.875 * min(height, width)
        np.testing.assert_allclose([(bottom - top) * height, (right - left) * width], side, rtol=0.01)
    layer = model.get_submodule(LAST)
    with GradCAM(model, [layer]) as library:
        targets = [ClassifierOutputTarget(one.target) for one in found]
        expected = library(seen, targets)
    for one, other in zip(found, expected, strict=True):
        upsampled = np.asarray(Image.fromarray(one.values).resize((224, 224), Image.Resampling.BILINEAR))
        assert np.corrcoef(upsampled.ravel(), other.ravel())[0, 1] > 0.999
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    found[0].overlay().save(tmp_path / "map.png")
    assert Image.open(tmp_path / "map.png").size == (224, 224)


def test_files_arrays_and_pictures_are_one(model, tmp_path):
    pixels = photograph("coffee")
    Image.fromarray(pixels).save(tmp_path / "coffee.png")
    one, two, three = explain(model, [tmp_path / "coffee.png", pixels, Image.fromarray(pixels)], "layer_cam")
    np.testing.assert_allclose(one.values, two.values, atol=1e-6 * one.values.max())
    np.testing.assert_allclose(one.values, three.values, atol=1e-6 * one.values.max())


def test_any_class_layer_method_and_parameter(model):
    cat = photograph("chelsea")
    (other,) = explain(model, [cat], "threshold_gradcam", targets=[657], layer="blocks.4")
    assert (other.target, other.values.shape) == (657, (14, 14))
    assert other.probability < 0.01 < explain(model, [cat])[0].probability
    (masks,) = explain(model, [cat], "rise", n_masks=4, grid=3)
    assert masks.values.shape == (224, 224)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "gradcm"}, "unknown explanation method `gradcm`, did you mean `gradcam`?"),
        ({"method": "rise", "masks": 3}, "unknown parameter of method `rise`: `masks`"),
        ({"layer": "bn3"}, "bn3"),
        ({"targets": [1000]}, "1000 classes"),
    ],
)
def test_mistakes_are_told(model, options, text):
    with pytest.raises(CamstudyError, match=text.replace("?", r"\?")):
        explain(model, [photograph("coffee")], **options)


def test_pictures_are_upright_and_not_cut_off_as_files_are(model, tmp_path):
    pixels, exif = photograph("coffee"), Image.Exif()
    exif[0x112] = 6  # lies on its left side
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    for name, expected in {"turned.png": pixels, "grey.png": np.repeat(grey[..., None], 3, 2)}.items():
        with Image.open(tmp_path / name) as picture:
            for one in explain(model, [tmp_path / name, picture], "gradcam"):
                np.testing.assert_array_equal(one.image, expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            [np.zeros((8, 8, 3), np.float32)],
            r"images: found an array of float32 \(8, 8, 3\), expected uint8 \(height, width",
        ),
        ([np.zeros((3, 8, 8), np.uint8)], r"images: found an array of uint8 \(3, 8, 8\), expected"),
        ([np.zeros((8, 8), np.uint8)], r"images: found an array of uint8 \(8, 8\), expected"),
        ([torch.zeros(3, 8, 8)], r"images: found a Tensor, expected paths, pictures of PIL or arrays"),
        (["no/such.jpg"], r"images: no/such\.jpg cannot be read \(No such file or directory\); correct the path"),
        ("photo.jpg", r"images: found none or one alone, expected a list of them"),
        ([], r"images: found none or one alone"),
    ],
)
def test_what_is_no_picture_is_told(model, images, message):
    with pytest.raises(CamstudyError, match=message):
        explain(model, images)
