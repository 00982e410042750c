"""Training data: an order of (seed, epoch) alone, and samples that depend on neither order nor worker processes."""

import numpy as np
import pytest
import torch
from stores import INPUT, SIDE, squares, write_store

from camstudy.data.store import Dataset
from camstudy.errors import CamstudyError
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


def loader(store, augment=LIVELY, seed=0, workers=0, group=ALONE):
    return TrainingLoader(store, {"augment": augment, "batch_size": BATCH}, INPUT, seed, workers, group)


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


def test_a_batch_that_cannot_be_divided_is_an_error(store):
    with pytest.raises(CamstudyError, match=r"train\.batch_size: 10 images .* evenly .* 3 processes.*`train\.gpu`"):
        loader(store, group=Group(0, 3))
