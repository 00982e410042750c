"""Photographs of all sizes: kept byte for byte, seen by models through timm's own transform, compared in their crop."""

import io
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray
from PIL import Image
from timm.data import create_transform
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample, resample_in_boxes
from camstudy.core.ledger import listing_of
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.files import Files, start
from camstudy.data.formats.photographs import Photograph, check_image, decode, readable, write_photographs
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.models.inputs import crop_boxes, prepare

torch.set_num_threads(1)

SIZES = [(500, 375), (333, 500), (75, 56), (224, 224), (101, 640), (640, 101), (256, 257), (1, 1), (299, 301)]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def picture(height, width, seed=0):
    """Smooth colours with noise, and a diagonal that a shift by a pixel would move."""
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[:height, :width]
    base = np.stack([y % 256, x % 256, 128 + 100 * np.sin((x + 2 * y) / 9)], -1)
    return np.clip(base + rng.normal(0, 9, base.shape), 0, 255).astype(np.uint8)


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for index, size in enumerate(SIZES):
        save(path / f"{index}.jpg", picture(*size), quality=90)
    return path


@pytest.fixture(scope="module")
def dataset(folder):
    items = [Photograph(f"{index}.jpg", index % 3) for index in range(len(SIZES))]
    return write(folder.parent / "data/toy.json", folder, items)


def write(manifest, folder, items, **options):
    attrs = dict.fromkeys(ATTRIBUTES)
    write_photographs(manifest, Files(folder), items, attrs=attrs, identity="f", **{"chunk": 4, **options})
    return open_dataset(manifest)


def test_files_are_kept_as_they_are(folder, dataset):
    offsets, content = dataset.group["image_file_offset"][:], dataset.group["image_file"][:]
    for index in range(len(SIZES)):
        stored = content[offsets[index] : offsets[index + 1]].tobytes()
        assert stored == (folder / f"{index}.jpg").read_bytes()
    assert dataset.sizes.tolist() == [list(size) for size in SIZES]
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]


@pytest.mark.filterwarnings("error")
def test_xarray_opens_the_store(folder, dataset):
    found = xarray.open_zarr(dataset.path, consolidated=False)
    assert set(found.coords) == {"image", "label"}
    assert set(found.data_vars) == {"image_size", "image_file", "image_file_offset"}
    assert found.indexes["image"].tolist() == [f"{index}.jpg" for index in range(len(SIZES))]
    assert found["image_size"].sel(image="3.jpg").values.tolist() == list(SIZES[3])


def test_classes_are_named_where_they_have_names(tmp_path, folder):
    items = [Photograph("0.jpg", 1), Photograph("1.jpg"), Photograph("2.jpg", 0, item="a")]
    attrs = dict.fromkeys(ATTRIBUTES) | {"class_names": ["a", "b"]}
    write_photographs(tmp_path / "toy.json", Files(folder), items, attrs=attrs, identity="f")
    found = xarray.open_zarr(tmp_path / "toy.zarr", consolidated=False)
    assert found["class_name"].values.tolist() == ["b", "", "a"]
    assert found["image"].values.tolist() == ["0.jpg", "1.jpg", "2.jpg#a"]


@pytest.mark.parametrize("name", ["image", "label", "image_size", "image_file", "image_file_offset"])
def test_a_missing_chunk_is_named(tmp_path, folder, dataset, name):
    manifest = shutil.copy(dataset.path.with_suffix(".json"), tmp_path)
    shutil.copytree(dataset.path, tmp_path / "toy.zarr")
    chunk = next((tmp_path / "toy.zarr" / name).glob("c.0*"))
    chunk.unlink()
    with pytest.raises(CamstudyError, match=rf"toy\.zarr: lacks chunk {chunk.name} of array `{name}`"):
        open_dataset(manifest)


@pytest.mark.parametrize("part", [slice(None), slice(2, 7), slice(8, 20), [3], [7, 0, 4], np.array([1, 2, 3]), []])
def test_parts_are_slices_or_positions(folder, dataset, part):
    images = dataset.images(part)
    expected = np.arange(len(SIZES))[part]
    assert len(images) == len(expected)
    for image, index in zip(images, expected, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(folder / f"{index}.jpg")))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.9, 0.875])
@pytest.mark.parametrize("size", [224, 65])
def test_models_see_the_very_pixels_of_timms_transform(folder, dataset, size, crop_pct, interpolation):
    config = {"size": size, "crop_pct": crop_pct, "interpolation": interpolation, "mean": MEAN, "std": STD}
    transform = create_transform(
        (3, size, size), is_training=False, interpolation=interpolation, mean=MEAN, std=STD, crop_pct=crop_pct
    )
    expected = [transform(Image.open(folder / f"{index}.jpg").convert("RGB")) for index in range(len(SIZES))]
    found = prepare(dataset.images(), config)
    assert found.shape == (len(SIZES), 3, size, size)
    assert torch.allclose(found, torch.stack(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (101, 640), (299, 301)])
def test_crop_boxes_say_where_the_crop_is(size):
    """An image of its own rows, and one of its columns: their means over the crop lie in the middle of the box."""
    config = {"size": 96, "crop_pct": 0.75, "interpolation": "bilinear", "mean": [0] * 3, "std": [1] * 3}
    (box,) = crop_boxes(config, [size])
    for axis in (0, 1):
        ramp = np.indices(size)[axis] / size[axis] * 255
        image = np.repeat(ramp.round().astype(np.uint8)[..., None], 3, -1)
        crop = prepare([image], config)[0, 0].numpy()
        profile = crop.mean(axis=1 - axis) + 0.5 / size[axis]
        pixel = (box[axis + 2] - box[axis]) / 96
        assert profile[0] == pytest.approx(box[axis] + pixel / 2, abs=0.004)
        assert profile[-1] == pytest.approx(box[axis + 2] - pixel / 2, abs=0.004)


def test_maps_are_compared_each_in_its_own_box():
    maps = np.random.default_rng(0).normal(size=(2, 9, 13))
    boxes = np.array([[0.0, 0.1, 0.9, 1.0], [0.2, 0.0, 0.8, 0.6]])
    found = resample_in_boxes(maps, boxes, (20, 20))
    for one, (top, left, bottom, right), result in zip(maps, boxes, found, strict=True):
        y = top + (torch.arange(20, dtype=torch.float64) + 0.5) / 20 * (bottom - top)
        x = left + (torch.arange(20, dtype=torch.float64) + 0.5) / 20 * (right - left)
        grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], -1)[None]
        sample = F.grid_sample(torch.from_numpy(one)[None, None], grid, padding_mode="border", align_corners=False)
        assert np.allclose(result, sample[0, 0].numpy(), rtol=0, atol=1e-12)
    assert np.array_equal(resample_in_boxes(maps, boxes[[0, 0]]), resample(maps, box=tuple(boxes[0])))


class Net(nn.Module):
    """A small classifier with a convolutional trunk."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 5, 4, 2), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.trunk(x).mean((2, 3)))


SETTINGS = {"batch_size": 2, "chunk_size": 4}
CONFIG = {"size": 64, "crop_pct": 0.8, "interpolation": "bicubic", "mean": MEAN, "std": STD}
ATTRS = dict.fromkeys(("dataset", "model", "method", "parameters", "layer", "target_policy", "reference"))


def explain(manifest, dataset, target):
    torch.manual_seed(0)
    model = Net().eval()
    layer = resolve_target_layer(model, "trunk.3", size=64)
    method = {"method": "gradcam", "parameters": {}, "target": target, "geometry": "aligned"}
    rest = {"images": slice(0, dataset.n), "settings": SETTINGS, "attrs": ATTRS, "identity": "f"}
    explain_dataset(manifest, dataset, Explainer(model, layer, CONFIG, method), **rest)
    return Heatmaps([manifest])


def test_photographs_are_explained_and_their_crops_recorded(tmp_path, dataset):
    heatmaps = explain(tmp_path / "gradcam.json", dataset, "label")
    maps = heatmaps.maps()
    assert maps.shape == (len(SIZES), 8, 8)
    assert np.isfinite(maps).all()
    assert heatmaps.targets().tolist() == dataset.labels.tolist()
    assert np.array_equal(heatmaps.boxes(), crop_boxes(CONFIG, dataset.sizes))
    assert np.array_equal(heatmaps.boxes([3, 1]), crop_boxes(CONFIG, dataset.sizes)[[3, 1]])


def test_images_without_classes_are_explained_for_the_predicted_one(tmp_path, folder):
    items = [Photograph("0.jpg"), Photograph("1.jpg")]
    dataset = write(tmp_path / "gaze.json", folder, items)
    heatmaps = explain(tmp_path / "gradcam.json", dataset, "predicted")
    assert set(heatmaps.targets()) <= {0, 1, 2}
    with pytest.raises(CamstudyError, match=r"gaze\.zarr: has no labels to explain; set `target: predicted`"):
        explain(tmp_path / "other.json", dataset, "label")


def test_grey_cmyk_and_transparent_files_become_rgb(tmp_path):
    pixels = picture(20, 30)
    save(tmp_path / "grey.jpg", pixels, "L", quality=95)
    save(tmp_path / "cmyk.jpg", pixels, "CMYK", quality=95)
    save(tmp_path / "palette.png", pixels, "P")
    save(tmp_path / "alpha.png", pixels, "RGBA")
    for name in ("grey.jpg", "cmyk.jpg", "palette.png", "alpha.png"):
        expected = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert np.array_equal(decode((tmp_path / name).read_bytes(), name), expected)
        assert expected.shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 99])
def test_what_a_camera_held_on_its_side_is_upright_where_asked(tmp_path, orientation, kind):
    pixels = np.kron(np.array([[250, 10, 120], [60, 200, 90]], np.uint8), np.ones((16, 16), np.uint8))
    # What the values mean, by EXIF 2.32, 4.6.4: where the stored first row and column are in the picture.
    meant = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T, 6: np.rot90(pixels, -1)}
    meant |= {7: np.rot90(pixels, 2).T, 8: np.rot90(pixels)}
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(buffer, kind, exif=exif.tobytes())
    content, expected = buffer.getvalue(), meant.get(orientation, pixels)
    for upright, found in ((True, expected), (False, pixels)):
        assert check_image(content, "x", upright=upright) == found.shape
        assert np.abs(decode(content, "x", upright=upright)[..., 0].astype(int) - found).max() <= 8
    (tmp_path / "a.jpg").write_bytes(content)
    attrs, box = dict.fromkeys(ATTRIBUTES), np.array([[0, 0, *expected.shape]])
    items = [Photograph("a.jpg", 0, boxes=box)]
    write_photographs(tmp_path / "d.json", Files(tmp_path), items, attrs=attrs | {"upright": True}, identity="f")
    dataset = open_dataset(tmp_path / "d.json")
    assert dataset.sizes.tolist() == [[*expected.shape]]
    assert dataset.boxes().tolist() == [box.tolist()]
    assert dataset.images()[0].shape == (*expected.shape, 3)
    assert len(readable(Files(tmp_path), items, upright=True)[0]) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_turns_nothing():
    buffer = io.BytesIO()
    Image.fromarray(picture(8, 12)).save(buffer, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12")
    assert decode(buffer.getvalue(), "x", upright=True).shape == (8, 12, 3)


def test_interrupted_preparation_goes_on(tmp_path, folder, dataset):
    class Failing(Files):
        def read(self, name):
            if name == "5.jpg":
                raise KeyboardInterrupt
            seen.append(name)
            return super().read(name)

    seen, items = [], [Photograph(f"{index}.jpg", index % 3) for index in range(len(SIZES))]
    manifest, attrs = tmp_path / "toy.json", dict.fromkeys(ATTRIBUTES)
    with pytest.raises(KeyboardInterrupt):
        write_photographs(manifest, Failing(folder), items, attrs=attrs, identity="f", chunk=4)
    assert not manifest.exists()
    assert len(seen) == 5
    found = write(manifest, folder, items)
    assert np.array_equal(found.group["image_file"][:], dataset.group["image_file"][:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a nothing", "neither a JPEG nor a PNG file"),
        (b"", "neither a JPEG nor a PNG file"),
    ],
)
def test_files_that_are_no_images_stop_the_preparation(tmp_path, content, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/bad.jpg").write_bytes(content)
    with pytest.raises(CamstudyError, match=rf"images, bad\.jpg: {message}"):
        write(tmp_path / "toy.json", tmp_path / "images", [Photograph("bad.jpg", 0)])
    assert not (tmp_path / "toy.json").exists()


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {})],
    ids=["baseline", "progressive", "fine", "png"],
)
def test_truncated_images_are_named_and_stop_the_preparation(tmp_path, kind, options, kept):
    buffer = io.BytesIO()
    Image.fromarray(picture(200, 300)).save(buffer, kind, **options)
    content = buffer.getvalue()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/whole.jpg").write_bytes(content)
    (tmp_path / "images/cut.jpg").write_bytes(content[: int(kept * len(content))])
    write(tmp_path / "whole.json", tmp_path / "images", [Photograph("whole.jpg", 0)])
    with pytest.raises(CamstudyError, match=r"images, cut\.jpg: cannot be decoded .*; fetch it again"):
        write(tmp_path / "toy.json", tmp_path / "images", [Photograph("whole.jpg", 0), Photograph("cut.jpg", 0)])
    assert not (tmp_path / "toy.json").exists()


def test_a_jpeg_without_its_end_is_cut_off():
    buffer = io.BytesIO()
    Image.fromarray(picture(20, 30)).save(buffer, "JPEG")
    assert buffer.getvalue()[-2:] == b"\xff\xd9"
    assert check_image(buffer.getvalue(), "whole.jpg") == (20, 30)
    with pytest.raises(CamstudyError, match=r"cut\.jpg: cannot be decoded \(image file is truncated"):
        check_image(buffer.getvalue()[:-2], "cut.jpg")


@pytest.mark.parametrize("replaced", [True, False])
def test_an_attempt_goes_on_only_if_all_files_are_as_they_were(tmp_path, replaced):
    """The first file is packed, then the job is killed at the second; meanwhile the first is repaired, in its size."""

    class Failing(Files):
        def read(self, name):
            if name == "5.png":
                raise KeyboardInterrupt
            return super().read(name)

    folder, manifest = tmp_path / "images", tmp_path / "data/toy.json"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.png").write_bytes(flat(number))
    items, attrs = [Photograph(f"{number}.png", 0) for number in range(8)], dict.fromkeys(ATTRIBUTES)
    files = Failing(folder)
    start(manifest, listing_of(files.stats))
    with pytest.raises(KeyboardInterrupt):
        write_photographs(manifest, files, items, attrs=attrs, identity="f", chunk=4)
    if replaced:
        (folder / "0.png").write_bytes(flat(100))
        assert len(flat(100)) == len(flat(0))
    files = Files(folder)
    start(manifest, listing_of(files.stats))
    write_photographs(manifest, files, items, attrs=attrs, identity="f", chunk=4)
    assert open_dataset(manifest).images()[0][0, 0].tolist() == [100 if replaced else 0] * 3
    assert ("0.png" in files.hashes) == replaced  # else it was there already


def flat(level):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
