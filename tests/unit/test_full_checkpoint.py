"""A checkpoint for which the disk has no room: the error is the system's, of which a user is told in a line."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from camstudy.pipeline.disk import disk_mistake
from camstudy.training import loop


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_it_is_told_that_the_disk_is_full(tmp_path, monkeypatch):
    @contextmanager
    def full(path):
        yield Path("/dev/full")

    monkeypatch.setattr(loop, "replacing", full)
    state = SimpleNamespace(_parts=lambda: {"model": torch.nn.Linear(300, 300)}, history=[], best=None)
    with pytest.raises((OSError, RuntimeError)) as raised:
        loop._State.save(state, tmp_path / "checkpoint.pt", "f")
    assert "no space is left on its disk" in (disk_mistake(raised.value) or "")
