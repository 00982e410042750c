"""Checkpoints and weights for which the disk has no room: the error is the system's, told in a line."""

import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from camstudy.core import files
from camstudy.core.provenance import write_json
from camstudy.models.weights.checkpoints import save_model
from camstudy.pipeline.disk import disk_mistake
from camstudy.training import loop

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")


def test_it_is_told_that_the_disk_is_full(tmp_path, monkeypatch):
    @contextmanager
    def full(path):
        yield Path("/dev/full")

    monkeypatch.setattr(loop, "replacing", full)
    state = SimpleNamespace(_parts=lambda: {"model": torch.nn.Linear(300, 300)}, history=[], best=None)
    with pytest.raises((OSError, RuntimeError)) as raised:
        loop._State.save(state, tmp_path / "checkpoint.pt", "f")
    assert "no space is left on its disk" in (disk_mistake(raised.value) or "")


@pytest.mark.parametrize("before", [None, b"weights of a run before"])
@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("model.safetensors", lambda path: save_model(torch.nn.Linear(300, 300), path)),
        ("model.json", lambda path: write_json(path, {"identity": "x" * 100_000})),
    ],
)
def test_nothing_is_half_written(tmp_path, monkeypatch, kind, write, before):
    path = tmp_path / kind
    if before:
        path.write_bytes(before)
    # The temporary file is the device that is always full.
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "full")
    (tmp_path / f".{kind}.{files._here()}.{os.getpid()}.full.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        write(path)
    told = disk_mistake(raised.value) or ""
    assert "no space is left on its disk" in told
    assert "\n" not in told
    assert [file.name for file in tmp_path.iterdir()] == ([kind] if before else [])
    assert not before or path.read_bytes() == before
