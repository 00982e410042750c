"""Seconds per image of a method: what is run, how often, and what is made of it. No test looks at a time."""

import json

import numpy as np
import pytest
import torch
from test_randomization import IMAGES, LABELS, N, explainer

from camstudy.explain import timing
from camstudy.models.speed import Timing

torch.set_num_threads(1)


@pytest.fixture
def measured(monkeypatch):
    """Runs are made once each; the method takes 6 seconds, a forward pass 2."""
    asked = []

    def timed(run, device, *, repeats, seconds):
        asked.append((repeats, seconds))
        run()
        return Timing([6.0, 2.0][len(asked) - 1], 3, 1)

    monkeypatch.setattr(timing, "timed", timed)
    return asked


@pytest.mark.parametrize("name", ["gradcam", "score_cam"])
@pytest.mark.parametrize(("batch_size", "expected"), [(2, 2), (64, N)])
def test_the_method_is_timed_beside_a_forward_pass(measured, name, batch_size, expected):
    tried = explainer(name)
    passes = []
    tried.model.register_forward_hook(
        lambda _, inputs, __: passes.append((len(inputs[0]), torch.is_grad_enabled(), tried.model.training))
    )
    tried.model.train()
    found = timing.time_method(tried, IMAGES, LABELS, batch_size=batch_size, repeats=7, seconds=5)
    assert measured == [(7, 5), (7, 5)]
    assert found["seconds_per_image"] == 6 / N
    assert found["forward_seconds_per_image"] == 2 / N
    assert (found["ratio"], found["batch_size"], found["repeats"], found["warm_up"]) == (3, expected, 3, 1)
    batches = [2, 2, 1] if batch_size == 2 else [N]
    assert passes[-len(batches) :] == [(size, False, False) for size in batches]
    assert len(passes) > len(batches)
    assert tried.model.training
    assert all(parameter.requires_grad for parameter in tried.model.parameters())
    json.dumps(found)


def test_it_runs_as_in_a_study():
    """Not one clock is replaced."""
    found = timing.time_method(explainer(), IMAGES, LABELS, batch_size=4, repeats=2, seconds=1000)
    assert (found["repeats"], found["warm_up"]) == (2, 3)
    assert found["ratio"] == pytest.approx(found["seconds_per_image"] / found["forward_seconds_per_image"])
    once = timing.time_method(explainer(), IMAGES, LABELS, batch_size=4, repeats=2, seconds=1e-9)
    assert (once["repeats"], once["warm_up"]) == (1, 0)


def test_memory_that_shrinks_the_batch_is_recorded(measured, monkeypatch):
    tried = explainer()
    real = tried.model.forward

    def forward(images):
        if len(images) > 3:
            raise torch.cuda.OutOfMemoryError
        return real(images)

    monkeypatch.setattr(tried.model, "forward", forward)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    found = timing.time_method(tried, IMAGES, np.asarray(LABELS), batch_size=N, repeats=1, seconds=1)
    assert found["batch_size"] == 2
