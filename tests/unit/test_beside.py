"""Masks and human maps of one's own photographs: found by name, checked, kept, and compared with maps where seen."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from PIL import Image
from test_folder import png, tree, write

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.core.ledger import outside, table_of
from camstudy.data.archives import missing_beside
from camstudy.data.formats.beside import decode_mask
from camstudy.data.formats.files import Root
from camstudy.data.formats.folder import read_folder
from camstudy.data.formats.photographs import note_read, readable
from camstudy.data.reading import open_data
from camstudy.data.sources import SOURCES
from camstudy.explain.methods.controls import human_split_half
from camstudy.metrics.agreement import spearman
from camstudy.metrics.masks import object_masks
from camstudy.metrics.scoring import Batch
from camstudy.metrics.scoring.agreement import agreement

RNG = np.random.default_rng(0)
SIZES = {"cat/1": (40, 64), "cat/2": (64, 40), "dog/3": (50, 50)}
VIEWS = np.array([[0.0, 0.1875, 1.0, 0.8125], [0.1875, 0.0, 0.8125, 1.0], [0.0, 0.0, 1.0, 1.0]])  # centre crops
MASK = {name: RNG.random(size) < 0.3 for name, size in SIZES.items()}
HUMAN = {name: RNG.integers(0, 60000, (2 * height, 2 * width)) for name, (height, width) in SIZES.items()}


def encoded(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)


@pytest.fixture
def photos(tmp_path):
    """Three photographs, their masks inside of the root, and beside it human maps and those of two halves."""
    for number, (name, size) in enumerate(SIZES.items()):
        put(tmp_path / f"photos/{name}.jpg", png(number, size))
        put(tmp_path / f"photos/masks/{name}.png", encoded(MASK[name].astype(np.uint8) * 7))
        put(tmp_path / f"people/{name}.png", encoded(HUMAN[name].astype(np.uint16)))
        for half in "ab":
            put(tmp_path / f"{half}/{name[4:]}.npy", RNG.random(SIZES[name]))
    return tmp_path / "photos"


ALL = {"masks": ["masks"], "human_maps": ["../people"], "human_halves": ["../a", "../b"]}


def stored(photos, **keys):
    found = read_folder(photos, beside=keys)
    order = {name: position for position, name in enumerate(SIZES)}
    items = sorted(found.photographs, key=lambda item: order[item.name[:-4]])
    return write(photos.parent / "data/d.json", found.files, items)


def work(dataset, reference=None):
    return SimpleNamespace(dataset=dataset, heatmaps=SimpleNamespace(attrs={"reference": reference}))


def antialiased(values, shape=(128, 128)):
    """What torch makes of an image."""
    image = torch.from_numpy(np.asarray(values, np.float32))[None, None]
    return F.interpolate(image, shape, mode="bilinear", antialias=True)[0, 0].numpy()


def cropped(values, view):
    """The part of an array in fractions (top, left, bottom, right), resized to 224x224 by torch."""
    steps = (torch.arange(224, dtype=torch.float64) + 0.5) / 224
    y, x = (view[axis] + steps * (view[axis + 2] - view[axis]) for axis in (0, 1))
    grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], -1)[None]
    image = torch.from_numpy(np.asarray(values, float))[None, None]
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)[0, 0].numpy()


def test_what_lies_beside_photographs_is_kept_and_is_no_photograph(photos, tmp_path):
    dataset = stored(photos, **ALL)
    assert [*dataset.names()] == [f"{name}.jpg" for name in SIZES]
    for mask, expected in zip(dataset.masks(), MASK.values(), strict=True):
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, expected)
    assert np.array_equal(dataset.masks([2])[0], MASK["dog/3"])
    for found, given in zip(dataset.human_map(), HUMAN.values(), strict=True):
        assert np.allclose(found, antialiased(given), rtol=1e-4, atol=1)
    assert dataset.human_half().shape == (3, 2, 128, 128)
    for number in range(3):
        for half, folder in enumerate("ab"):
            given = np.load(tmp_path / f"{folder}/{number + 1}.npy")
            assert np.allclose(dataset.human_half()[number, half], antialiased(given), rtol=0, atol=1e-5)
    assert np.array_equal(human_split_half([1], dataset.group), dataset.human_half()[[1], 0])
    opened = open_data("d", results=tmp_path)
    assert np.array_equal(opened["mask"][1].item(), MASK["cat/2"])


def test_maps_in_the_stores_own_shape_stay_as_they_are(photos):
    given = RNG.random((128, 128))
    put(photos.parent / "people/dog/3.npy", given)
    (photos.parent / "people/dog/3.png").unlink()
    dataset = stored(photos, masks=["masks"], human_maps=["../people"])
    assert np.array_equal(dataset.human_map()[2], given.astype(np.float32))
    assert "human_half" not in dataset.group


def test_maps_agree_with_human_maps_as_scipy_says(photos):
    """Crops of photographs of other proportions are of other parts of their maps."""
    dataset = stored(photos, **ALL)
    maps = RNG.random((3, 7, 7)).astype(np.float32)
    batch = Batch(slice(0, 3), np.zeros(3), maps, np.zeros(3), VIEWS)
    found = agreement(work(dataset))(batch).arrays
    for number, (given, view) in enumerate(zip(HUMAN.values(), VIEWS, strict=True)):
        human = cropped(antialiased(given), view)
        expected = scipy.stats.spearmanr(cropped(maps[number], VIEWS[2]), human, axis=None).statistic
        assert spearman(found["heatmap"], found["human_map"])[number] == pytest.approx(expected, abs=1e-4)
    halves = agreement(work(dataset, "human_half"))(batch).arrays["human_map"]
    assert np.allclose(halves[2], resample(dataset.human_half()[2, 1]), rtol=0, atol=1e-6)


def test_masks_are_cut_as_the_model_saw_them(photos):
    dataset = stored(photos, masks=["masks"])
    batch = Batch(slice(0, 3), np.zeros(3), None, None, VIEWS)
    found = object_masks(work(dataset), batch)
    for one, mask, view in zip(found, MASK.values(), VIEWS, strict=True):
        expected = cropped(mask, view)
        clear = np.abs(expected - 0.5) > 1e-6
        assert clear.mean() > 0.9
        assert np.array_equal(one[clear], expected[clear] > 0.5)


def test_photographs_that_are_turned_have_upright_masks(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    put(tmp_path / "photos/1.png", encoded(np.zeros((4, 6), np.uint8), exif=exif))
    put(tmp_path / "masks/1.png", encoded(np.eye(6, 4, dtype=np.uint8)))
    found = read_folder(tmp_path / "photos", labels=None, beside={"masks": ["../masks"]})
    assert len(readable(found.files, found.photographs, upright=True)[0]) == 1
    (text,) = readable(found.files, found.photographs)[1]
    assert text.endswith(
        "masks, 1.png: is a mask of 6 rows and 4 columns, and its photograph, upright, is 4 rows and 6 columns; masks "
        "have the pixels of their photographs"
    )


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_masks_are_not_black_whatever_they_are_stored_as(mode):
    mask = np.array([[0, 1, 0], [0, 0, 200]], np.uint8)
    image = Image.fromarray(mask.astype(np.uint16) * 256 if mode == "I;16" else mask)
    if mode == "1":
        image = Image.fromarray(mask > 0)
    elif mode == "P":
        image = Image.fromarray((mask == 0).astype(np.uint8), "P")  # by the palette, not by its numbers
        image.putpalette([0, 9, 0, 0, 0, 0])
    elif mode == "RGB":
        image = Image.fromarray(np.stack([mask * 0, mask, mask * 0], -1))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert Image.open(buffer).mode == mode
    assert decode_mask(buffer.getvalue(), "x").tolist() == [[0, 1, 0], [0, 0, 1]]


GOOD = np.arange(100.0).reshape(10, 10)
WRONG = {
    "masks": {
        "missing": (None, "masks: has no mask of the image cat/1.jpg; put cat/1.png there"),
        "size": (encoded(np.eye(10, 9, dtype=np.uint8)), "is a mask of 10 rows and 9 columns, and its photograph, upr"),
        "empty": (encoded(np.zeros((10, 10), np.uint8)), "is a mask without an object, black everywhere; draw it"),
        "cut": (encoded(np.eye(10, dtype=np.uint8))[:-30], "cat/1.png: cannot be read as a PNG file ("),
        "web": (b"<html>", "(it is a web page); its address asks for something first"),
        "alpha": (encoded(np.zeros((10, 10, 4), np.uint8)), "has transparency, which may mean anything; save it wit"),
    },
    "human_maps": {
        "missing": (None, "has no human map of the image cat/1.jpg; put cat/1.png or cat/1.npy there"),
        "proportions": (
            np.eye(20, 30),
            "is a human map of 20 rows and 30 columns, and its photograph, upright, is 10 ",
        ),
        "constant": (np.full((10, 10), 0.5), "is a human map that is 0.5 everywhere; leave its image out"),
        "negative": (GOOD - 1, "is a human map with negative values, down to -1; they begin at 0"),
        "nan": (np.where(GOOD < 3, np.nan, GOOD), "is a human map with 3 values that are NaN, infinite or beyond flo"),
        "large": (GOOD * 1e38, "is a human map with 96 values that are NaN, infinite or beyond float32"),
        "colored": (encoded(RNG.integers(0, 9, (10, 10, 3), np.uint8)), "is uint8 (10, 10, 3), expected numbers (heig"),
        "text": (np.array([["a"]]), "is <U1 (1, 1), expected numbers (height, width)"),
        "cut": (encoded(np.eye(10, dtype=np.uint8))[:-30], "cat/1.png: cannot be read as a PNG or TIFF or JPEG file ("),
        "pointer": (
            b"version https://git-lfs.github.com/spec/v1",
            "of Git LFS instead of the file); run `git lfs pull`",
        ),
    },
}


@pytest.mark.parametrize(("key", "case"), [(key, case) for key, cases in WRONG.items() for case in cases])
def test_what_is_wrong_costs_its_image_alone(tmp_path, key, case):
    content, message = WRONG[key][case]
    for name in ("cat/1", "cat/2"):
        put(tmp_path / f"photos/{name}.jpg", png(3, (10, 10)))
        put(tmp_path / f"{key}/{name}.png", encoded(GOOD.astype(np.uint8)))
    (tmp_path / f"{key}/cat/1.png").unlink()
    if content is not None:
        put(tmp_path / f"{key}/cat/1{'.png' if isinstance(content, bytes) else '.npy'}", content)
    found = read_folder(tmp_path / "photos", beside={key: [str(tmp_path / key)]})
    kept, (text,) = readable(found.files, found.photographs)
    assert [item.name for item in kept] == ["cat/2.jpg"]
    assert text.startswith(str(tmp_path / key))
    assert message in text
    with pytest.raises(CamstudyError) as raised:
        write(tmp_path / "d.json", found.files, found.photographs)
    assert str(raised.value) == text


def test_all_that_is_wrong_is_named_at_once(photos):
    for name in ("cat/1", "dog/3"):
        (photos / f"masks/{name}.png").unlink()
    found = read_folder(photos, beside=ALL)
    with pytest.raises(CamstudyError) as raised:
        write(photos.parent / "d.json", found.files, found.photographs)
    first, *lines = str(raised.value).splitlines()
    assert first == "2 files cannot be used; with `on_error: skip` they are left out:"
    assert sorted(line.partition("of the image ")[2][:5] for line in lines) == ["cat/1", "dog/3"]
    (photos / "masks/cat/2.png").unlink()
    put(photos / "masks/other.png", encoded(MASK["cat/2"]))
    with pytest.raises(
        CamstudyError, match=r"masks: has no mask of any image, and files called other\.png; call them as"
    ):
        read_folder(photos, beside=ALL)


def matched(root, *names, **options):
    for name in names:
        put(root / "masks" / name, png(1))
    found = read_folder(root / "photos", labels=None, beside={"masks": ["../masks"]}, **options)
    return {item.name: item.beside.mask.name if item.beside else None for item in found.photographs}


def test_files_are_found_by_the_names_of_images(tmp_path):
    tree(tmp_path / "photos", "a/1.png", "a/1.jpg", "a/2.png", "b/2.png", "b/u\u0308.png", "4.png", "a/4.png")
    assert matched(tmp_path, "a/1.jpg.PNG", "a/1.png", "a/2.png", "2.png", "\u00fc.png", "4.png") == {
        "a/1.jpg": "a/1.jpg.PNG",
        "a/1.png": None,  # of which of them?
        "a/2.png": "a/2.png",
        "b/2.png": None,
        "b/u\u0308.png": "\u00fc.png",
        "4.png": "4.png",
        "a/4.png": None,
    }


def test_files_of_several_roots(tmp_path):
    tree(tmp_path / "photos", "a/1.png", "a/2.png")
    tree(tmp_path / "more", "a/2.png", "a/3.png")
    more = {"more_roots": [str(tmp_path / "more")]}
    assert matched(tmp_path, "a/1.png", "photos/a/2.png", "a/2.png", "more/a/3.png", **more) == {
        "photos/a/1.png": "a/1.png",
        "photos/a/2.png": "photos/a/2.png",
        "more/a/2.png": None,
        "more/a/3.png": "more/a/3.png",
    }


def test_their_content_decides_what_the_data_are(photos):
    keys = {"masks": ["masks"], "human_maps": ["../people"]}
    root, table = Root(photos), table_of(photos.parent / "d.json")
    found = read_folder(root, beside=keys)
    note_read(found.files, found.photographs)
    root.record(table, "")
    same = outside(table, photos)
    assert same == ""
    for path in (photos / "masks/cat/1.png", photos.parent / "people/cat/1.png"):
        before = path.read_bytes()
        path.write_bytes(encoded(np.eye(40, 64, dtype=np.uint8)))
        assert outside(table, photos) != same
        path.write_bytes(before)
        assert outside(table, photos) == same
    for name in ("new.png", "new.npy"):  # which may be what was missing
        put(photos.parent / "people" / name, png(2))
        assert outside(table, photos) != same
        (photos.parent / "people" / name).unlink()


def test_folders_that_are_not_there_are_told(photos, monkeypatch):
    source, entry = SOURCES["folder"], {"source": "folder", "root": str(photos), "labels": "folders"}
    assert source.truths(entry) == {"labels"}
    monkeypatch.setenv("PEOPLE", str(photos.parent / "people"))
    entry |= {"masks": "masks", "human_maps": "$PEOPLE", "human_halves": ["../a", "../c"]}
    assert source.truths(entry) == {"labels", "masks", "human_maps", "human_halves"}
    assert dict(missing_beside(entry)) == {
        "human_halves": f"no directory `../c` below the root, {photos}; make it, or correct the path"
    }
    with pytest.raises(CamstudyError, match=r"no directory `\.\./c` there, of `human_halves`; make it, or correct"):
        read_folder(photos, beside={"human_halves": ["../a", "../c"]})
    with pytest.raises(CamstudyError, match="`masks` names the folder of the images; put the masks into one of their"):
        read_folder(photos, beside={"masks": ["../photos"]})
