"""Prediction: plain float32 whatever is set around it, batches that shrink with memory, and labels that fit."""

import numpy as np
import pytest
import torch
from stores import CLASSES, INPUT, squares, write_store
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset
from camstudy.metrics.predicting import predict

torch.set_num_threads(1)
N = 22


class Net(nn.Module):
    """A small network that notes how it is run, and has no memory for more images than it is told."""

    def __init__(self, room=100, classes=CLASSES):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head, self.room, self.seen = nn.Linear(8, classes), room, []

    def forward(self, x):
        flags = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
        self.seen.append((len(x), torch.is_autocast_enabled("cpu"), *flags))
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Dataset:
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


def net(**options):
    torch.manual_seed(0)
    return Net(**options)


def expected(store):
    """Return the logits of the network in one batch, of images normalised in numpy."""
    images = ((store.images() / 255 - INPUT["mean"]) / INPUT["std"]).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return net().eval()(torch.from_numpy(images.copy())).numpy()


def test_logits_are_those_of_the_network(store):
    model = net()
    found = predict(model, INPUT, store, batch_size=8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(store), atol=1e-5)
    assert [size for size, *_ in model.seen] == [8, 8, 6]
    assert model.training  # as it was


@pytest.mark.parametrize(("room", "sizes"), [(4, [8, 4, 4, 4, 4, 4, 2]), (3, [8, 4, *[2] * 11])])
def test_batches_are_halved_when_memory_runs_out(store, room, sizes):
    model = net(room=room)
    np.testing.assert_allclose(predict(model, INPUT, store, batch_size=8), expected(store), atol=1e-5)
    assert [size for size, *_ in model.seen] == sizes


def test_memory_for_not_even_one_image_is_an_error(store):
    with pytest.raises(CamstudyError, match="out of memory with one image"):
        predict(net(room=0), INPUT, store, batch_size=8)


def test_the_network_runs_in_plain_float32(store, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    model = net()
    with torch.autocast("cpu", torch.bfloat16):
        found = predict(model, INPUT, store, batch_size=32)
    np.testing.assert_allclose(found, expected(store), atol=1e-5)
    assert model.seen == [(N, False, False, True, False)]


def test_labels_that_the_model_lacks_are_found_with_the_first_batch(store):
    model = net(classes=2)
    with pytest.raises(CamstudyError, match=r"squares\.zarr: has labels up to 2, but the model has 2 classes"):
        predict(model, INPUT, store, batch_size=8)
    assert len(model.seen) == 1
