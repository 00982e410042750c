"""Files that belong to images: one set of rules for names, and one reader of grey pictures."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.companions import by_name, in_store, match, read_grey, wanted

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


@pytest.mark.parametrize(
    ("images", "files", "expected"),
    [
        (["cat/1.jpg"], ["cat/1.npy"], ["cat/1.npy"]),
        (["cat/1.jpg"], ["cat/1.jpg.npy"], ["cat/1.jpg.npy"]),
        (["cat/1.jpg"], ["1.npy"], ["1.npy"]),
        (["photos/cat/1.jfif"], ["1.npy", "cat/1.npy"], ["cat/1.npy"]),  # the fewest folders lack
        (["cat/1.jpg"], ["all/cat/1.png"], ["all/cat/1.png"]),
        (["cat/1.jpg"], ["a/cat/1.png", "b/cat/1.png"], [""]),
        (["cat/1.jpg"], ["dog/1.png", "cat/1.webp.png"], [""]),
        (["1.jpg", "cat/1.jpg"], ["1.npy"], ["1.npy", ""]),
        (["1.jpg", "cat/1.jpg"], ["all/cat/1.npy"], ["", "all/cat/1.npy"]),
        (["cat/1.jpg", "dog/1.jpg"], ["1.npy"], ["", ""]),
        (["1.jpg", "1.png"], ["1.npy", "1.png.npy"], ["", "1.png.npy"]),
        (["1.jpg", "1.jpg.png"], ["1.jpg.npy"], ["", ""]),
        (["u\u0308.jpg"], ["\u00fc.npy"], ["\u00fc.npy"]),
        (["Cat/1.jpg"], ["cat/1.npy"], [""]),
        (["1.JPG"], ["1.NPY"], ["1.NPY"]),
        (["0.tfrecord#7"], ["0.tfrecord#7.npy"], ["0.tfrecord#7.npy"]),
        (["1.jpg"], ["1.npy", "1.jpg"], ["1.npy"]),  # an overlay beside its map
        (["1.jpg"], ["1.npy", "1.png"], ["1.npy 1.png"]),
        (["1.jpg"], [".png"], [""]),
    ],
)
def test_names_of_files(images, files, expected):
    found = match(images, by_name(files))
    assert [" ".join(found[image]) for image in images] == expected


def test_stores_call_their_maps_as_images_are_called_with_endings_or_without():
    images = ["cat/1.jpg", "dog/2.png", "dog/2.jpg", "3.jpg"]
    found = match(images, in_store(["3", "dog/2.jpg", "cat/1.png", "dog/2.png"]))
    assert [found[image] for image in images] == [[2], [3], [1], [0]]
    assert match(["1.jpg"], in_store(["1.png", "1.tif"])) == {"1.jpg": [0, 1]}
    assert [wanted(images, image, ".npy") for image in images[:2]] == ["cat/1.npy", "dog/2.png.npy"]


def content(picture, format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_grey_pictures_and_arrays_of_any_kind():
    picture = Image.fromarray(GREY)
    indexed = Image.fromarray(255 - GREY)
    indexed.putpalette([255 - level for level in range(256) for _ in "rgb"])  # the colors are `GREY`, not the indices
    for each in (picture, picture.convert("RGB"), indexed):
        assert np.array_equal(read_grey(content(each), "1.png", "map"), GREY)
    assert np.array_equal(read_grey(content(picture, "TIFF"), "1.png", "map"), GREY)  # whatever it is called
    assert np.array_equal(read_grey(content(Image.fromarray(GREY * 0 + 9), "JPEG"), "1.jpg", "map"), GREY * 0 + 9)
    for values in (GREY.astype(np.uint16) * 250, GREY.astype(np.float32) / 7):
        format = "PNG" if values.dtype == np.uint16 else "TIFF"
        assert np.array_equal(read_grey(content(Image.fromarray(values), format), "1.png", "map"), values)
    for values in (GREY[None], GREY[..., None], GREY > 50, GREY.astype(">f8"), np.repeat(GREY[..., None], 3, -1)):
        found = read_grey(array(values), "1.npy", "map")
        assert found.dtype == np.float32
        assert np.array_equal(found, values[..., 0] if values.shape[-1] == 3 else values.squeeze())


COLORED = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("stored", "name", "message"),
    [
        (array(GREY)[:-9], "1.npy", "1.npy: cannot be read as a NumPy array ("),
        (b"", "1.npy", "1.npy: cannot be read as a NumPy array (it is an empty file); fetch it again"),
        (b"version https://git-lfs.github.com/spec", "1.npy", "(it is a pointer of Git LFS instead of the file); run"),
        (b"PK\3\4 no archive", "1.npy", "cannot be read as a NumPy array (File is not a zip file); make it again"),
        (
            content(Image.fromarray(GREY), "TIFF")[:-20],
            "1.tif",
            "1.tif: cannot be read as a PNG or TIFF or JPEG file (",
        ),
        (b"GIF89a", "1.png", "cannot be read as a PNG or TIFF or JPEG file (it is a GIF file); save it as JPEG or PNG"),
        (
            content(Image.fromarray(COLORED)),
            "1.png",
            "1.png: is uint8 (4, 6, 3), expected numbers (height, width): the",
        ),
        (content(Image.fromarray(GREY).convert("LA")), "1.png", "has transparency, which may mean anything; save it"),
        (
            content(Image.fromarray(GREY), "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
            "1.tif",
            "1.tif: has 2 pictures in it; save the one that is meant",
        ),
        (array(GREY * np.nan), "1.npy", "1.npy: is a map with 24 values that are NaN, infinite or beyond float32"),
    ],
)
def test_what_is_no_map_is_told(stored, name, message):
    with pytest.raises(CamstudyError, match=re.escape(message)):
        read_grey(stored, name, "map")


def test_a_picture_of_too_many_pixels_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(CamstudyError, match=r"cannot be read as a PNG or TIFF or JPEG file \(Image size"):
        read_grey(content(Image.fromarray(GREY)), "1.png", "map")


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what it makes of it
def test_random_damage_is_told_or_does_no_harm():
    random = np.random.default_rng(1)
    whole = [array(GREY), *(content(Image.fromarray(GREY), format) for format in ("PNG", "TIFF", "JPEG"))]
    told = 0
    for number in range(800):
        damaged = bytearray(whole[number % 4])
        for place in random.integers(0, min(len(damaged), 130), random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        try:
            found = read_grey(bytes(damaged), "1.npy" if number % 4 == 0 else "1.png", "map")
            assert found.ndim == 2
        except CamstudyError:
            told += 1
    assert 100 < told < 800
