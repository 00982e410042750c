"""Measuring speed and memory: what is timed, what is waited for, what comes out. No test looks at a time."""

import json

import pytest
import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models import speed
from camstudy.models.variants.dcls import dcls_layers

ENTRY = {
    "arch": "timm.models.convnext.ConvNeXt",
    "kwargs": {"depths": [1, 1, 1, 1], "dims": [4, 8, 12, 16], "ls_init_value": None},
    "num_classes": 3,
}
DCLS = {"replace": "depthwise", "kernel_size": 9, "kernel_count": 5, "version": "v1", "init": "random"}
VARIANT = ENTRY | {"variant": {"dcls": DCLS}}
CPU = torch.device("cpu")


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, images):
        assert torch.is_inference_mode_enabled()
        self.runs += 1
        return images


def clock(monkeypatch, *durations):
    """Make runs take these times, one after another."""
    ticks = iter([tick for duration in durations for tick in (100, 100 + duration)])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(ticks))


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([1, 1, 1, 4, 1, 2], (2, 3, 3)),
        # The runs that count stop after ten seconds.
        ([1, 1, 1, 6, 8], (7, 2, 3)),
        ([1, 1, 1, 10], (10, 1, 3)),
        # So does the warm-up; a first run that takes more is the only one.
        ([10, 3, 4, 5], (4, 3, 1)),
        ([6, 6, 3, 3, 3], (3, 3, 2)),
        ([10.5], (10.5, 1, 0)),
    ],
)
def test_runs_stop_when_the_time_is_over(monkeypatch, durations, expected):
    clock(monkeypatch, *durations)
    runs = []
    found = speed.timed(lambda: runs.append(1), CPU, repeats=3, seconds=10)
    assert (found.seconds, found.repeats, found.warm_up) == expected
    assert len(runs) == len(durations)


def test_the_median_pass_counts(monkeypatch):
    clock(monkeypatch, 9, 9, 9, 4, 1, 2)
    model = Counting()
    assert speed.images_per_second(model, torch.zeros(6, 3, 8, 8), repeats=3) == 6 / 2
    assert model.runs == speed.WARM_UP + 3


@pytest.fixture
def measured(monkeypatch):
    """Which networks were timed, by the number of their DCLS layers; memory is made up."""
    seen = []

    def images_per_second(model, images, repeats):
        assert not model.training
        seen.append((len(list(dcls_layers(model))), tuple(images.shape), repeats))
        return 10.0 * len(seen)

    monkeypatch.setattr(speed, "images_per_second", images_per_second)
    monkeypatch.setattr(speed, "peak_memory_mb", lambda *_, folded: 100 if folded else 200)
    return seen


def test_dcls_models_are_measured_folded_and_unfolded(measured):
    found = speed.measure(VARIANT, 32, CPU, batch_size=2, repeats=7)
    assert measured == [(0, (2, 3, 32, 32), 7), (4, (2, 3, 32, 32), 7)]
    assert found["images_per_second"] == {"folded": 10, "unfolded": 20}
    assert found["peak_memory_mb"] == {"folded": 100, "unfolded": 200}
    assert (found["batch_size"], found["repeats"], found["warm_up"]) == (2, 7, speed.WARM_UP)
    assert str(torch.get_num_threads()) in found["device"]
    json.dumps(found)


def test_plain_models_have_nothing_to_unfold(measured):
    found = speed.measure(ENTRY, 32, CPU, batch_size=2, repeats=7)
    assert len(measured) == 1
    assert found["images_per_second"] == {"folded": 10, "unfolded": None}
    assert found["peak_memory_mb"] == {"folded": 100, "unfolded": None}


def test_memory_that_does_not_suffice_is_told(monkeypatch):
    def fail(*_):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(speed, "images_per_second", fail)
    with pytest.raises(CamstudyError, match=r"out of memory with 2 images; as `cost`, name a protocol"):
        speed.measure(ENTRY, 32, CPU, batch_size=2, repeats=1)


def test_peak_memory_is_that_of_a_process_with_these_images():
    """In two processes of their own, of which each takes seconds to start."""
    small, large = (speed.peak_memory_mb(VARIANT, 512, n, CPU, folded=True) for n in (1, 101))
    images = 100 * 3 * 512 * 512 * 4 / 2**20
    assert large - small > 0.9 * images
