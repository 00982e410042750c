"""Maps made elsewhere: matched with images by name, read as they are, and refused in words."""

import re

import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.core.ledger import outside, read_header
from camstudy.explain.methods import bind
from camstudy.explain.methods.files import note

NAMES = np.array(["cat/1.jpg", "dog/1.jpg", "dog/two.png"])
MAPS = np.random.default_rng(0).random((3, 4, 6)).astype(np.float32)
SIZES = np.array([[40, 60], [400, 610], [20, 30]])
DATA = {"image": NAMES, "image_size": SIZES}


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "maps" / name).mkdir(parents=True)
    np.save(tmp_path / "maps/cat/1.npy", MAPS[0])
    np.save(tmp_path / "maps/dog/1.npy", MAPS[1].astype(np.float64)[None])
    np.save(tmp_path / "maps/two.npy", MAPS[2])  # the only one of this name
    return tmp_path / "maps"


def maps(path, ids=(0, 1, 2), data=DATA, **parameters):
    return bind("files", {"path": str(path), **parameters})(np.array(ids), data)


def test_maps_of_a_folder_belong_to_the_images_of_their_names(folder, monkeypatch):
    assert np.array_equal(maps(folder), MAPS)
    assert np.array_equal(maps(folder, (2, 0)), MAPS[[2, 0]])
    monkeypatch.setenv("MAPS", str(folder))
    assert np.array_equal(maps("$MAPS", (1,)), MAPS[1:2])


def test_pictures_and_stores(folder, tmp_path):
    (folder / "two.npy").unlink()
    grey = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
    Image.fromarray(grey).save(folder / "dog/two.png")
    assert np.array_equal(maps(folder, (2,))[0], grey)
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    group.create_array("heatmap", data=MAPS[[2, 0, 1]])
    group.create_array("image", data=NAMES[[2, 0, 1]])
    assert np.array_equal(maps(tmp_path / "m.zarr"), MAPS)
    del group["image"]
    with pytest.raises(CamstudyError, match=r"m\.zarr has no array image; call maps and names so"):
        maps(tmp_path / "m.zarr", data={"image": NAMES[:2]})


def test_several_shapes_are_resampled_as_torch_does(folder):
    other = np.random.default_rng(1).random((8, 12)).astype(np.float32)
    np.save(folder / "two.npy", other)
    with pytest.raises(CamstudyError, match="has maps of several shapes; set the parameter `size`"):
        maps(folder)
    found = maps(folder, size=5)
    for one, expected in zip(found, [MAPS[0], MAPS[1], other], strict=True):
        options = {"size": (5, 5), "mode": "bilinear", "align_corners": False}
        expected = torch.nn.functional.interpolate(torch.from_numpy(expected)[None, None], **options)[0, 0]
        assert np.allclose(one, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((6, 4)), "has 6 rows and 4 columns, its image 40 x 60; its rows are columns: transpose it"),
        (np.zeros((3, 9)), "has 3 rows and 9 columns, its image 40 x 60; make it square, or as its image is"),
        (
            np.full((4, 6), 1e300),
            "cat/1.npy: is a map with 24 values that are NaN, infinite or beyond float32; give numbers",
        ),
        (
            np.array([[0, np.nan], [1, -np.inf]]),
            "cat/1.npy: is a map with 2 values that are NaN, infinite or beyond float32",
        ),
        (np.zeros((4, 6), complex), "is complex128 (4, 6), expected numbers (height, width)"),
        (
            np.array([{}, 1]),
            "cat/1.npy: cannot be read as a NumPy array (Object arrays cannot be loaded when allow_pickle=False)",
        ),
        (
            np.arange(72.0).reshape(4, 6, 3),
            "is float64 (4, 6, 3), expected numbers (height, width): the map itself, not a colored",
        ),
        (np.array([["a", "b"]] * 2), "expected numbers (height, width)"),
        (np.zeros((1, 1)), "is 1 x 1, expected at least 2 x 2"),
        (None, "cat/1.npy: cannot be read as a NumPy array ("),
    ],
)
def test_what_is_no_map_of_its_image_is_told(folder, content, message):
    if content is None:
        (folder / "cat/1.npy").write_bytes(b"no numbers")
    else:
        np.save(folder / "cat/1.npy", content)
    with pytest.raises(CamstudyError, match=re.escape(message)):
        maps(folder, (0,))


def test_images_that_differ_in_their_endings_have_maps_by_their_whole_names(tmp_path):
    names = np.array(["a.jpg", "a.png", "u\u0308.jpg"])
    data = {"image": names, "image_size": SIZES[[0, 0, 0]]}
    for name, each in zip(("a", "\u00fc"), MAPS, strict=False):
        np.save(tmp_path / f"{name}.npy", each)
    with pytest.raises(
        CamstudyError,
        match=r"no map of 2 of 3 images: a\.jpg, a\.png; it has maps called a\.npy, ü\.npy; .*: `a\.jpg\.npy`",
    ):
        maps(tmp_path, data=data)
    for name, each in zip(("a.jpg", "a.png"), MAPS[1:], strict=True):
        np.save(tmp_path / f"{name}.npy", each)
    assert np.array_equal(maps(tmp_path, data=data), MAPS[[1, 2, 1]])
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    group.create_array("heatmap", data=MAPS[[1, 0, 2]])
    group.create_array("image", data=np.array(["a.png", "a.jpg", "\u00fc.png"]))
    assert np.array_equal(maps(tmp_path / "m.zarr", data=data), MAPS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"heatmap": MAPS, "image": NAMES[[0, 1, 1]]}, "m.zarr has two maps called dog/1.jpg; keep one of them"),
        ({"heatmap": MAPS.astype(complex), "image": NAMES}, "`heatmap` is complex128 (3, 4, 6) for 3 names, expected"),
        ({"heatmap": MAPS[:2], "image": NAMES}, "`heatmap` is float32 (2, 4, 6) for 3 names, expected numbers (names,"),
        ({"heatmap": MAPS * np.nan, "image": NAMES}, "m.zarr, number 0: is a map with 24 values that are NaN"),
        (None, "m.zarr is no zarr group that can be read ("),
    ],
)
def test_stores_that_are_none_of_maps_are_told(tmp_path, arrays, message):
    if arrays is None:
        zarr.create_array(tmp_path / "m.zarr", data=MAPS)
    else:
        group = zarr.open_group(tmp_path / "m.zarr", mode="w")
        for name, values in arrays.items():
            group.create_array(name, data=values)
    with pytest.raises(CamstudyError, match=re.escape(message)):
        maps(tmp_path / "m.zarr")


def test_what_is_missing_is_named_whichever_images_are_asked_for(folder):
    (folder / "dog/1.npy").unlink()  # `cat/1.npy` is no map of `dog/1.jpg`
    with pytest.raises(
        CamstudyError, match=r"no map of 1 of 3 images: dog/1\.jpg; it has maps called cat/1\.npy, two\.npy; call"
    ):
        maps(folder, (0,))
    many = {"image": np.array([f"x{number}.jpg" for number in range(12)])}
    with pytest.raises(CamstudyError, match=r"of 12 of 12 images: x0\.jpg, .*x9\.jpg and 2 more; it has maps called"):
        maps(folder, (0,), many)
    # That of another folder is another image's, though no other here is called two.
    (folder / "two.npy").rename(folder / "cat/two.npy")
    with pytest.raises(
        CamstudyError, match=r"no map of 1 of 2 images: dog/two\.png; it has maps called cat/1\.npy, cat"
    ):
        maps(folder, data={"image": NAMES[[0, 2]]})
    for name in ("all/cat/two.jpg", "two.jpg"):
        assert np.array_equal(maps(folder, (0,), {"image": np.array([name]), "image_size": SIZES[2:]}), MAPS[2:])
    with pytest.raises(CamstudyError, match=r"no folder or zarr store .*nowhere; correct the parameter `path`"):
        maps(folder / "nowhere")
    np.save(folder / "dog/1.npy", MAPS[1])
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(folder / "dog/1.png")
    with pytest.raises(CamstudyError, match=r"has dog/1\.npy and dog/1\.png of the image dog/1\.jpg; keep one"):
        maps(folder, (0,), {"image": NAMES[[0, 2, 1]]})


def test_other_content_is_noticed(folder, tmp_path):
    table = tmp_path / "t.sources.jsonl"
    note(table, str(folder), "")
    assert read_header(table)["accepted"] == outside(table, folder) == ""
    (folder / "readme.txt").write_text("no map")
    assert outside(table, folder) == ""
    np.save(folder / "two.npy", MAPS[0])
    assert outside(table, folder) != ""
