"""ClickMe records and human maps against TensorFlow, torch, torchvision, OpenCV and cases worked by hand."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.data.formats.clickme import ClickMe, blur_human_map, encode_example, select
from camstudy.data.formats.tfrecord import write_shard

torch.set_num_threads(1)


def scene(seed):
    """A smooth colour image and a smooth heatmap: JPEG changes them by a few grey levels only."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_LINEAR)
    heatmap = cv2.resize(np.ascontiguousarray(coarse[..., 0]), (256, 256), interpolation=cv2.INTER_LINEAR)
    return image, heatmap


def jpeg(pixels, mode=None, **options):
    buffer = BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shards_of(tmp_path, *counts):
    paths, number = [], 0
    for part, count in enumerate(counts):
        paths.append(tmp_path / f"val-{part}.tfrecords")
        write_shard(paths[-1], [encode_example(*scene(number + i), number + i) for i in range(count)])
        number += count
    return paths


def read_clickme(shards, **options):
    """Read every record."""
    source = ClickMe(shards, **options)
    return source.read(range(source.n))


def kernel():
    """The 10x10 kernel as Harmonization builds it: a meshgrid of x = -5..4 and y = 4..-5."""
    x, y = np.meshgrid(np.arange(-5, 5), np.arange(4, -6, -1))
    weights = np.exp(-(x**2 + y**2) / 200)
    return weights / weights.sum()


def test_records_come_back_in_order_with_their_places(tmp_path):
    shards = shards_of(tmp_path, 3, 2)
    records = list(read_clickme(shards))
    assert [record.label for record in records] == [0, 1, 2, 3, 4]
    assert [(record.shard, record.index) for record in records[2:4]] == [
        (str(shards[0]), 2),
        (str(shards[1]), 0),
    ]
    for number, record in enumerate(records):
        image, heatmap = scene(number)
        assert record.image.shape == (256, 256, 3)
        assert record.heatmap.shape == (256, 256)
        assert record.image.dtype == record.heatmap.dtype == np.uint8
        assert record.halves is None
        assert np.abs(record.image.astype(int) - image).max() <= 6
        assert np.abs(record.heatmap.astype(int) - heatmap).max() <= 3


def test_jpeg_decoding_agrees_with_opencv(tmp_path):
    (shard,) = shards_of(tmp_path, 1)
    example = encode_example(*scene(0), 0)
    (record,) = read_clickme([shard])
    image = cv2.imdecode(np.frombuffer(example["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    heatmap = cv2.imdecode(np.frombuffer(example["heatmap"], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(record.image.astype(int) - image).max() <= 1
    assert np.abs(record.heatmap.astype(int) - heatmap).max() <= 1


def test_halves_travel_with_the_record(tmp_path):
    image, heatmap = scene(0)
    halves = np.stack([heatmap, 255 - heatmap])
    write_shard(tmp_path / "a.tfrecords", [encode_example(image, heatmap, 0, halves)])
    (record,) = read_clickme([tmp_path / "a.tfrecords"])
    assert np.abs(record.halves.astype(int) - halves).max() <= 3


@pytest.mark.parametrize("positions", [[0, 2, 3, 6], [5], [], range(2, 7)])
def test_positions_select_over_all_shards(tmp_path, positions):
    source = ClickMe(shards_of(tmp_path, 3, 2, 2))
    assert source.n == 7
    assert [record.label for record in source.read(positions)] == list(positions)


def test_impossible_selections_are_refused(tmp_path):
    source = ClickMe(shards_of(tmp_path, 1, 2))
    with pytest.raises(CamstudyError, match="record 3 was asked for, but the 2 shards hold 3 records"):
        list(source.read([0, 3]))
    with pytest.raises(ValueError, match="ascending"):
        list(source.read([1, 0]))
    with pytest.raises(CamstudyError, match="no shards"):
        ClickMe([])
    with pytest.raises(CamstudyError, match="n_images: 4 images asked for, but the source has 3"):
        select(source.n, 4)


def test_selections_are_the_first_or_a_random_subset():
    assert select(9, None).tolist() == list(range(9))
    assert select(9, 4).tolist() == [0, 1, 2, 3]
    drawn = [tuple(select(9, 4, seed)) for seed in range(300)]
    assert all(sorted(set(part)) == list(part) for part in drawn)
    # Every record is drawn about 300 * 4 / 9 = 133 times; binomial standard deviation below 9.
    assert np.abs(np.bincount(np.ravel(drawn), minlength=9) - 300 * 4 / 9).max() < 45
    assert tuple(select(9, 4, 7)) == drawn[7]


def broken(**changes):
    """A good example with some features changed, or left out where the change is None."""
    example = {**encode_example(*scene(1), 1), **changes}
    return {name: value for name, value in example.items() if value is not None}


IMAGE, HEATMAP = scene(1)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (broken(image=None), "has no feature `image`; its features: heatmap, label"),
        (broken(heatmap=None), "has no feature `heatmap`; its features: image, label"),
        (broken(label=None), "has no feature `label`; its features: heatmap, image"),
        ({}, "has no feature `label`; its features: none"),
        (broken(label=b"7"), "`label` holds 1 bytes, expected 1 int"),
        (broken(label=0.5), "`label` holds 1 float, expected 1 int"),
        (broken(label=[1, 2]), "`label` holds 2 int, expected 1 int"),
        (broken(image=3), "`image` holds 1 int, expected 1 bytes"),
        (broken(image=[]), "`image` holds nothing, expected 1 bytes"),
        (broken(heatmap_halves=jpeg(HEATMAP)), "`heatmap_halves` holds 1 bytes, expected 2 bytes"),
        (broken(boxes=[1, 2, 3]), "`boxes` holds 3 values, expected four integers for each box"),
        (broken(boxes=[0.5] * 4), "`boxes` holds 4 values, expected four integers"),
        (broken(boxes=[5, 5, 5, 9]), r"`boxes` holds \[\[5, 5, 5, 9\]\], expected edges"),
        (broken(boxes=[0, 0, 9, 257]), "expected edges .* within 256 pixels"),
        (broken(mask=3), "`mask` holds 1 int, expected 1 bytes"),
        (broken(mask=b"PNG"), "`mask` cannot be decoded as PNG"),
        (broken(mask=png(HEATMAP)), r"`mask` is a PNG of uint8 \(256, 256\), expected 256x256 pixels of one bit"),
        (broken(mask=png(HEATMAP[:9] > 0)), r"`mask` is a PNG of bool \(9, 256\)"),
        (broken(label=10), "label 10 is out of range; expected 0 to 9"),
        (broken(label=-1), "label -1 is out of range; expected 0 to 9"),
        (broken(image=jpeg(IMAGE, "CMYK")), "`image` is a JPEG of 256x256 pixels in CMYK, expected"),
        (
            broken(heatmap=jpeg(IMAGE)),
            "`heatmap` is a JPEG of 256x256 pixels in RGB colour, expected .* grey",
        ),
        (broken(image=jpeg(IMAGE[:255])), "`image` is a JPEG of 256x255 pixels .*, expected 256x256"),
        (
            broken(heatmap=jpeg(HEATMAP[:, :200])),
            "`heatmap` is a JPEG of 200x256 pixels .*, expected 256x256",
        ),
        (broken(image=b"not a picture"), r"`image` is no JPEG: its 13 bytes begin with b'not '"),
        (broken(image=b""), "`image` is no JPEG: its 0 bytes"),
        (broken(image=jpeg(IMAGE)[:2000]), r"`image` cannot be decoded as JPEG \(2000 bytes\): .*truncated"),
    ],
)
def test_bad_records_name_shard_record_and_expectation(tmp_path, example, message):
    shard = tmp_path / "val-7.tfrecords"
    write_shard(shard, [broken(), example])
    with pytest.raises(CamstudyError, match=rf"{shard}, record 1:.*{message}"):
        list(read_clickme([shard], num_classes=10))


def test_grey_images_get_three_equal_channels(tmp_path):
    write_shard(tmp_path / "a.tfrecords", [broken(image=jpeg(HEATMAP, quality=95))])
    (record,) = read_clickme([tmp_path / "a.tfrecords"])
    grey = cv2.imdecode(np.frombuffer(jpeg(HEATMAP, quality=95), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert record.image.shape == (256, 256, 3)
    assert np.abs(record.image.astype(int) - grey[..., None]).max() <= 1


def test_malformed_message_names_shard_and_record(tmp_path, monkeypatch):
    shard = tmp_path / "val-7.tfrecords"
    with monkeypatch.context() as patch:
        patch.setattr("camstudy.data.formats.tfrecord.serialize_example", lambda _: b"\x0a\x7f")
        write_shard(shard, [{}])
    with pytest.raises(CamstudyError, match=rf"{shard}, record 0: not a valid tf\.train\.Example"):
        list(read_clickme([shard]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_human_maps_equal_the_published_preprocessing_in_torch(dtype):
    heatmaps = np.random.default_rng(0).integers(0, 256, (5, 256, 256)).astype(dtype)
    x = torch.from_numpy(heatmaps).double()[:, None]
    small = F.interpolate(x, (64, 64), mode="bilinear", align_corners=False, antialias=False)
    blurred = F.conv2d(F.pad(small, (4, 5, 4, 5)), torch.from_numpy(kernel())[None, None])
    full = F.interpolate(blurred, (224, 224), mode="bilinear", align_corners=False, antialias=False)
    found = blur_human_map(heatmaps)
    assert found.dtype == np.float32
    assert np.abs(found - blurred[:, 0].numpy()).max() < 255e-6
    assert np.abs(resample(found) - full[:, 0].numpy()).max() < 255e-6


def test_one_lit_cell_becomes_the_mirrored_kernel_around_it():
    heatmap = np.zeros((1, 256, 256), np.uint8)
    heatmap[0, 4 * 20 : 4 * 20 + 4, 4 * 30 : 4 * 30 + 4] = 200
    blurred = blur_human_map(heatmap)[0]
    # Cross-correlation: output (i, j) sees the cell at tap (20 - i + 4, 30 - j + 4).
    expected = np.zeros((64, 64))
    expected[15:25, 25:35] = 200 * kernel()[::-1, ::-1]
    assert np.allclose(blurred, expected, atol=1e-5)
    # Even kernel, off-centre padding: evidence moves up and left, by less than a cell.
    rows, columns = np.indices((64, 64))
    assert 19 < (rows * blurred).sum() / blurred.sum() < 20
    assert 29 < (columns * blurred).sum() / blurred.sum() < 30
    assert np.unravel_index(blurred.argmax(), blurred.shape) == (20, 29)


def test_only_the_middle_four_of_sixteen_pixels_are_sampled():
    for row in range(4):
        for column in range(4):
            heatmap = np.zeros((1, 256, 256))
            heatmap[0, 100 + row, 120 + column] = 1
            seen = row in (1, 2) and column in (1, 2)
            assert blur_human_map(heatmap).sum() == pytest.approx(0.25 if seen else 0)


def test_zero_padding_darkens_borders_by_the_missing_weight():
    blurred = blur_human_map(np.full((1, 256, 256), 100, np.uint8))[0]
    weights = kernel()
    assert np.allclose(blurred[4:59, 4:59], 100)
    assert blurred[0, 0] == pytest.approx(100 * weights[4:, 4:].sum())
    assert blurred[63, 63] == pytest.approx(100 * weights[:5, :5].sum())
    assert blurred[0, 30] == pytest.approx(100 * weights[4:, :].sum())
    assert blurred[30, 63] == pytest.approx(100 * weights[:, :5].sum())
    assert blurred[3, 30] < 100 > blurred[59, 30]


def test_heatmaps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 224, 224\), expected \(n, 256, 256\)"):
        blur_human_map(np.zeros((1, 224, 224)))


TENSORFLOW = np.load(Path(__file__).with_name("data") / "tf_clickme.npz")


@pytest.mark.parametrize("number", [0, 1])
def test_human_maps_equal_tensorflows_to_a_ten_thousandth_of_the_range(number):
    expected, full = TENSORFLOW[f"blurred_{number}"], TENSORFLOW[f"full_{number}"]
    found = blur_human_map(TENSORFLOW[f"decoded_{number}"][None])
    tolerance = 1e-4 * np.ptp(expected)
    assert np.abs(found[0] - expected).max() < tolerance
    assert np.abs(resample(found)[0, ::5, ::5] - full).max() < tolerance


@pytest.mark.parametrize(
    ("name", "largest", "mean"), [("image_420", 4, 1.1), ("image_444", 4, 1.1), ("image_grey", 2, 0.6)]
)
def test_images_differ_from_tensorflows_by_its_fast_decoding_only(tmp_path, name, largest, mean):
    """The bounds that docs/definitions.md states, in grey levels."""
    data = TENSORFLOW[name].tobytes()
    write_shard(tmp_path / "a.tfrecords", [broken(image=data)])
    (record,) = read_clickme([tmp_path / "a.tfrecords"])
    windows = np.stack([record.image[y : y + 32, x : x + 32] for y, x in ((88, 64), (224, 224))])
    difference = np.abs(windows.astype(int) - TENSORFLOW[f"{name}_windows"])
    assert difference.max() <= largest
    assert difference.mean() <= mean


@pytest.mark.parametrize("number", [0, 1])
def test_fast_decoding_moves_human_maps_by_half_a_percent_at_most(tmp_path, number):
    write_shard(tmp_path / "a.tfrecords", [broken(heatmap=TENSORFLOW[f"heatmap_{number}"].tobytes())])
    (record,) = read_clickme([tmp_path / "a.tfrecords"])
    difference = np.abs(record.heatmap.astype(int) - TENSORFLOW[f"decoded_{number}"])
    assert difference.max() <= 4
    assert difference.mean() <= 0.6
    expected = TENSORFLOW[f"blurred_{number}"]
    assert np.abs(blur_human_map(record.heatmap[None])[0] - expected).max() < 0.005 * np.ptp(expected)
    ours, theirs = resample(blur_human_map(record.heatmap[None])), resample(expected)
    assert scipy.stats.spearmanr(ours.ravel(), theirs.ravel()).statistic > 0.9999
