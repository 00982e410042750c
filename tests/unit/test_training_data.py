"""Training data: an order of (seed, epoch) alone, and samples that depend on neither order nor worker processes."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from stores import INPUT, SIDE, squares, write_store
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import ATTRIBUTES, Dataset, open_dataset
from camstudy.data.formats import photographs as photographs_module
from camstudy.data.formats.files import Files
from camstudy.data.formats.photographs import Photograph, decode, write_photographs
from camstudy.training import data
from camstudy.training.data import BUFFER_CHUNKS, ChunkShuffle, TrainingLoader, TrainingSamples, augmentation
from camstudy.training.distributed import ALONE, Group

torch.set_num_threads(1)

N, CHUNK, BATCH = 46, 8, 10
STILL = {"scale": [1.0, 1.0], "flip": 0, "color_jitter": 0, "erase": 0}
LIVELY = {"scale": [0.3, 1.0], "flip": 0.5, "color_jitter": 0.3, "erase": 0.5}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Dataset:
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N), chunk=CHUNK)


def loader(store, augment=LIVELY, seed=0, workers=0, group=ALONE, passes=1, batch=BATCH):
    recipe = {"augment": augment, "batch_size": batch, "accumulate": passes, "hold_out": 0}
    return TrainingLoader(store, recipe, INPUT, seed, workers, group)


def transform(augment):
    return augmentation(augment, SIDE, INPUT["mean"], INPUT["std"])


def order(seed, epoch, n=N, chunk=CHUNK):
    sampler = ChunkShuffle(n, chunk, seed)
    sampler.epoch = epoch
    return list(sampler)


def normalised(images):
    """Return the images as the network is to get them, in plain numpy."""
    return ((images / 255 - INPUT["mean"]) / INPUT["std"]).astype(np.float32).transpose(0, 3, 1, 2)


def assert_equal_batches(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    for (images, labels), (others, other_labels) in zip(first, second, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_order_is_a_permutation():
    for n in (1, CHUNK - 1, CHUNK, N):
        assert sorted(order(0, 0, n=n)) == list(range(n))


def test_order_depends_on_seed_and_epoch_alone():
    sampler = ChunkShuffle(N, CHUNK, 3)
    orders = []
    for epoch in (0, 1, 2):
        sampler.epoch = epoch
        orders.append(list(sampler))
    torch.manual_seed(1)
    np.random.seed(1)
    assert order(3, 2) == orders[2]
    assert len({tuple(o) for o in [*orders, order(4, 0), list(range(N))]}) == 5


def test_chunks_are_shuffled_in_buffers():
    chunk, chunks = 4, 2 * BUFFER_CHUNKS + 5
    numbers = np.array(order(0, 0, n=chunk * chunks, chunk=chunk)) // chunk
    size = BUFFER_CHUNKS * chunk
    buffers = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    assert [len(set(buffer)) for buffer in buffers] == [BUFFER_CHUNKS, BUFFER_CHUNKS, 5]
    assert len(set(numbers)) == chunks
    for buffer in buffers:
        # Images of different chunks alternate: runs of one chunk would be as long as the chunk.
        assert (np.diff(buffer) != 0).mean() > 0.6
    assert sorted(set(buffers[0])) != list(range(BUFFER_CHUNKS))


def test_each_chunk_is_read_once_an_epoch(store, monkeypatch):
    monkeypatch.setattr(data, "BUFFER_CHUNKS", 2)
    read, images = [], Dataset.images
    monkeypatch.setattr(Dataset, "images", lambda self, part: (read.append(part), images(self, part))[1])
    found = loader(store)
    for _ in found.epoch(0):
        pass
    # The last images may be dropped with their batch, so that the last chunk is at most read less.
    starts = [part.start for part in read]
    assert len(set(starts)) == len(starts)
    assert set(starts) <= set(range(0, N, CHUNK))
    assert len(starts) >= -(-N // CHUNK) - 1


def test_samples_are_normalised_images_with_their_labels(store):
    images, labels = squares(N)
    samples = TrainingSamples(store, transform(STILL), 0)
    found = [samples[i] for i in range(N)]
    np.testing.assert_allclose(torch.stack([image for image, _ in found]), normalised(images), atol=1e-6)
    assert [label for _, label in found] == labels.tolist()
    assert len(samples) == N


def test_flip_and_erasing(store):
    images = normalised(squares(N)[0])
    flipped = TrainingSamples(store, transform(STILL | {"flip": 1}), 0)
    np.testing.assert_allclose(flipped[5][0], images[5, :, :, ::-1], atol=1e-6)
    erased = TrainingSamples(store, transform(STILL | {"erase": 1}), 0)[5][0].numpy()
    changed = np.abs(erased - images[5]).max(0) > 1e-6
    assert 0 < changed.sum() < changed.size
    assert (erased[:, changed] == 0).all()


def test_a_crop_with_padding_is_a_shifted_image(store):
    """Each is a window of the image within a border of black, which no interpolation has touched."""
    samples = TrainingSamples(store, transform(STILL | {"padding": 4}), seed=0)
    found = set()
    for index in range(20):
        bordered = normalised(np.pad(store.images()[index][None], ((0, 0), (4, 4), (4, 4), (0, 0))))[0]
        windows = np.lib.stride_tricks.sliding_window_view(bordered, (3, SIDE, SIDE))[0]
        equal = np.isclose(windows, samples[index][0].numpy(), atol=1e-6).all((2, 3, 4))
        assert equal.sum() == 1
        found.add(tuple(np.argwhere(equal)[0]))
    assert len(found) > 10
    # Without one, an image of the input's size stays what it is.
    whole = TrainingSamples(store, transform(STILL | {"padding": 0}), seed=0)
    np.testing.assert_allclose(whole[3][0], normalised(store.images()[[3]])[0], atol=1e-6)


def test_a_rotation_turns_by_at_most_so_many_degrees():
    """The angle of a line through the middle, of many samples, is spread evenly over both directions."""
    image = torch.zeros(3, 65, 65, dtype=torch.uint8)
    image[:, 31:34] = 255
    turn = augmentation(STILL | {"padding": 0, "rotation": 15}, 65, [0.0] * 3, [1.0] * 3)
    torch.manual_seed(0)
    angles = []
    for _ in range(200):
        rows, columns = np.nonzero(turn(image)[0].numpy() > 0.5)
        angles.append(np.degrees(np.arctan(np.polyfit(columns - 32, rows - 32, 1)[0])))
    assert 13 < np.max(angles) < 15.5
    assert -15.5 < np.min(angles) < -13
    assert abs(np.mean(angles)) < 2


def test_augmentation_without_the_later_keys_draws_as_before(store):
    """Absent, null and 0 are one: the same random numbers, the same samples."""
    stated = transform(LIVELY | {"padding": None, "rotation": 0})
    for index in range(5):
        first, second = (TrainingSamples(store, one, seed=3)[index][0] for one in (transform(LIVELY), stated))
        assert torch.equal(first, second)


def test_augmentation_varies_with_epoch_seed_and_image(store):
    samples = TrainingSamples(store, transform(LIVELY), 0)
    first = samples[3][0]
    samples.epoch = 1
    second = samples[3][0]
    third = TrainingSamples(store, transform(LIVELY), 1)[3][0]
    assert len({image.numpy().tobytes() for image in (first, second, third, samples[6][0])}) == 4
    assert first.shape == (3, SIDE, SIDE)
    assert first.dtype == torch.float32


def test_samples_do_not_depend_on_what_was_drawn_before(store):
    forward = TrainingSamples(store, transform(LIVELY), 0)
    backward = TrainingSamples(store, transform(LIVELY), 0)
    images = [forward[i][0] for i in range(N)]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    for i in reversed(range(N)):
        assert torch.equal(backward[i][0], images[i])
    assert torch.equal(torch.get_rng_state(), state)


def test_epochs_do_not_depend_on_earlier_ones(store):
    used = loader(store)
    for epoch in (0, 1):
        list(used.epoch(epoch))
    assert_equal_batches(used.epoch(2), loader(store).epoch(2))
    assert_equal_batches(used.epoch(0), loader(store).epoch(0))


def test_any_number_of_workers_gives_the_same_batches(store):
    assert_equal_batches(loader(store).epoch(1), loader(store, workers=2).epoch(1))


def test_batches_hold_the_images_of_the_order_and_an_incomplete_one_is_dropped(store):
    images, labels = squares(N)
    batches = list(loader(store, STILL, seed=7).epoch(3))
    assert len(loader(store)) == len(batches) == N // BATCH
    expected = order(7, 3)[: N // BATCH * BATCH]
    assert torch.cat([batch for _, batch in batches]).tolist() == labels[expected].tolist()
    np.testing.assert_allclose(torch.cat([batch for batch, _ in batches]), normalised(images[expected]), atol=1e-6)


@pytest.mark.parametrize("size", [2, 5])
def test_processes_share_the_images_of_every_batch(store, size):
    whole = list(loader(store).epoch(1))
    parts = [loader(store, group=Group(rank, size)) for rank in range(size)]
    assert {len(part) for part in parts} == {len(whole)}
    for (images, labels), *shares in zip(whole, *(part.epoch(1) for part in parts), strict=True):
        assert [len(share) for _, share in shares] == [BATCH // size] * size
        assert sorted(torch.cat([share for _, share in shares]).tolist()) == sorted(labels.tolist())
        shared = torch.cat([share for share, _ in shares])
        assert {image.numpy().tobytes() for image in shared} == {image.numpy().tobytes() for image in images}


@pytest.mark.parametrize("size", [1, 2, 4])
def test_passes_and_processes_share_the_images_of_every_batch(store, size):
    """Which images are in a pass does not depend on the number of processes."""
    whole = list(loader(store, batch=16).epoch(1))
    alone = list(loader(store, batch=16, passes=4).epoch(1))
    shares = [loader(store, batch=16, passes=4, group=Group(rank, size)) for rank in range(size)]
    assert {len(share) for share in shares} == {len(alone)} == {4 * len(whole)}
    together = list(zip(*(share.epoch(1) for share in shares), strict=True))
    for number, parts in enumerate(together):
        assert [len(labels) for _, labels in parts] == [4 // size] * size
        assert torch.equal(torch.cat([images for images, _ in parts]), alone[number][0])
        assert torch.equal(torch.cat([labels for _, labels in parts]), alone[number][1])
    for number, (images, labels) in enumerate(whole):
        pieces = alone[4 * number : 4 * number + 4]
        assert sorted(torch.cat([piece for _, piece in pieces]).tolist()) == sorted(labels.tolist())
        found = {image.numpy().tobytes() for piece, _ in pieces for image in piece}
        assert found == {image.numpy().tobytes() for image in images}


def test_a_pass_of_a_process_reads_few_chunks(store, monkeypatch):
    """Of a batch over all chunks, each of eight pieces lies in two chunks at most."""
    read, images = [], Dataset.images
    monkeypatch.setattr(Dataset, "images", lambda self, part: (read.append(part), images(self, part))[1])
    for rank in range(8):
        read.clear()
        list(loader(store, batch=40, group=Group(rank, 8)).epoch(0))
        assert 1 <= len(read) <= 2


@pytest.mark.parametrize(("size", "passes", "multiple"), [(3, 1, 3), (1, 4, 4), (2, 2, 4)])
def test_a_batch_that_cannot_be_divided_is_an_error(store, size, passes, multiple):
    message = (
        rf"train\.batch_size: 10 images .* evenly .* {size} processes.* {passes} passes.* multiple of {multiple},.*gpu`"
    )
    with pytest.raises(CamstudyError, match=message):
        loader(store, group=Group(0, size), passes=passes)


# Photographs of all sizes, kept as files

SIZES = [(40, 64), (64, 40), (16, 16), (130, 21), (21, 130), (15, 9), (33, 32), (50, 51), (17, 90)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Dataset:
    """Eighteen JPEG files of several kinds, and a PNG among them that is called a JPEG, in chunks of four."""
    root = tmp_path_factory.mktemp("photographs")
    items = []
    for index in range(2 * len(SIZES)):
        pixels = np.random.default_rng(index).integers(0, 256, (*SIZES[index % len(SIZES)], 3), np.uint8)
        image = Image.fromarray(pixels).convert({3: "L", 4: "CMYK"}.get(index, "RGB"))
        options = {"subsampling": index % 3, "quality": 50 + 3 * index, "progressive": index % 2 == 0}
        image.save(root / f"{index}.jpeg", **{"format": "PNG"} if index == 7 else {"format": "JPEG", **options})
        items.append(Photograph(f"{index}.jpeg", index % 3))
    return write_files(root, items)


def write_files(root, items) -> Dataset:
    manifest = root.parent / f"{root.name}.json"
    write_photographs(manifest, Files(root), items, attrs=dict.fromkeys(ATTRIBUTES), identity="f", chunk=4)
    return open_dataset(manifest)


def pixels_of(photographs, index):
    """Return a photograph as Pillow decodes it, from the bytes of the store."""
    offsets = photographs.group["image_file_offset"][:]
    content = photographs.group["image_file"][offsets[index] : offsets[index + 1]].tobytes()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_pixels_are_those_of_pillow(photographs):
    samples = TrainingSamples(photographs, v2.Identity(), 0)
    for index in range(len(samples)):
        pixels = samples[index][0]
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), pixels_of(photographs, index)), index
        pixels.zero_()
        assert samples[index][0].any(), "a transform that works in place would spoil the stored image"


def test_a_photograph_whole_is_its_resized_pixels(photographs):
    """The whole image, whatever its shape, where the crop's area and proportions leave no choice."""
    samples = TrainingSamples(photographs, transform(STILL), 0)
    square = samples[2][0]
    np.testing.assert_allclose(square, normalised(pixels_of(photographs, 2)[None])[0], atol=1e-6)
    assert samples[2][1] == photographs.labels[2]
    assert len(samples) == len(photographs.labels)
    # Of 33x32 a crop of that area and of sides 3:4 to 4:3 is the whole.
    wide, _ = samples[6]
    image = torch.from_numpy(pixels_of(photographs, 6).copy()).permute(2, 0, 1)
    expected = F.resize(image, [SIDE, SIDE], antialias=True)
    np.testing.assert_allclose(wide, normalised(expected.permute(1, 2, 0)[None].numpy())[0], atol=1e-6)


def test_every_photograph_becomes_a_sample_of_the_same_shape(photographs):
    samples = TrainingSamples(photographs, transform(LIVELY), 0)
    for index in range(len(samples)):
        image, label = samples[index]
        assert (image.shape, image.dtype, label) == ((3, SIDE, SIDE), torch.float32, index % 3)


def test_samples_of_photographs_depend_on_seed_epoch_and_image_alone(photographs):
    samples = TrainingSamples(photographs, transform(LIVELY), 0)
    first = [samples[index][0] for index in range(len(samples))]
    again = TrainingSamples(photographs, transform(LIVELY), 0)
    for index in reversed(range(len(samples))):
        assert torch.equal(again[index][0], first[index])
    again.epoch = 1
    assert not torch.equal(again[0][0], first[0])
    assert not torch.equal(TrainingSamples(photographs, transform(LIVELY), 1)[0][0], first[0])


def test_workers_and_epochs_do_not_change_batches_of_photographs(photographs):
    used = loader(photographs, passes=2, batch=6)
    list(used.epoch(0))
    assert_equal_batches(used.epoch(1), loader(photographs, passes=2, batch=6, workers=2).epoch(1))


def test_only_photographs_whose_turn_it_is_are_decoded_and_each_chunk_is_read_once(photographs, monkeypatch):
    decoded, read, images = [], [], Dataset.images
    monkeypatch.setattr(Dataset, "images", lambda self, part: (read.append(part.start), images(self, part))[1])
    monkeypatch.setattr(
        photographs_module, "decode", lambda *given, **how: (decoded.append(given[1]), decode(*given, **how))[1]
    )
    samples = TrainingSamples(photographs, transform(LIVELY), 0)
    samples[6], samples[5]
    assert read == [4]
    assert decoded == [f"{photographs.path}, image 6", f"{photographs.path}, image 5"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_photograph_is_named_without_a_traceback(tmp_path, workers, monkeypatch):
    # Preparing checks the files, so that one in a store breaks later.
    monkeypatch.setattr(photographs_module, "check_image", lambda content, where, upright: (200, 200))
    root = tmp_path / "images"
    root.mkdir()
    for index in range(4):
        Image.fromarray(np.full((200, 200, 3), 50 * index, np.uint8)).save(root / f"{index}.jpg")
    whole = (root / "2.jpg").read_bytes()
    (root / "2.jpg").write_bytes(whole[: len(whole) // 2])
    broken = write_files(root, [Photograph(f"{index}.jpg", index) for index in range(4)])
    with pytest.raises(CamstudyError) as error:
        list(loader(broken, batch=2, workers=workers).epoch(0))
    assert re.fullmatch(r"\S*images\.zarr, image 2: cannot be decoded \(.*\); fetch it again", str(error.value))
