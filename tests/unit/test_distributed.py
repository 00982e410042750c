"""Processes that train together: they end up where one does, and go on, fail and end as one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
import workers
from stores import CLASSES, INPUT, squares, write_store
from timm.layers import BatchNormAct2d
from timm.models.convnext import ConvNeXt
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.variants import dcls
from camstudy.training.distributed import ALONE, Group, launch
from camstudy.training.norms import synchronise_norms
from camstudy.training.run import train_entry

torch.set_num_threads(1)

N, KERNEL, BATCH, EPOCHS = 45, 5, 10, 3
STEPS = N // BATCH
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# Everything that looks at gradients, positions or weights after a step; no dropout, no batch norm.
RECIPE = {
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "accumulate": 1,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "min_learning_rate": 0.0001,
    "warmup_epochs": 1,
    "weight_decay": 0.05,
    "momentum": 0.9,
    "trainable": None,
    "drops": None,
    "decay_all": False,
    "nesterov": True,
    "hold_out": 0,
    "select": "last",
    "label_smoothing": 0.1,
    "ema_decay": 0.8,
    "clip_grad_norm": 0.5,
    "backward": "plain",
    "divergence": "error",
    "log_gradient_norm": False,
    "precision": "float32",
    "augment": {"scale": [0.5, 1.0], "flip": 0.5, "color_jitter": 0.2, "erase": 0.2},
    "positions": {"learning_rate_factor": 5, "repulsive_loss": True, "repulsive_from_epoch": 1},
}
VARIANT = {"replace": "depthwise", "kernel_size": KERNEL, "kernel_count": 9, "version": "v1", "init": "random"}
ENTRY = {
    "arch": "test_distributed.Network",
    "num_classes": CLASSES,
    "input": INPUT | {"size": 32},
    "weights": "random_fan_in",
    "variant": {"dcls": VARIANT},
    "seed": 0,
    "train": RECIPE,
}
BROKEN = "CAMSTUDY_TEST_BROKEN"


class Network(ConvNeXt):
    """A small ConvNeXt with a layer that is never used; on demand, the second process fails after the first epoch."""

    def __init__(self, num_classes: int) -> None:
        sizes = {"depths": [1, 1, 1, 1], "dims": [8, 8, 12, 12], "kernel_sizes": KERNEL}
        super().__init__(**sizes, ls_init_value=None, num_classes=num_classes)
        self.unused = nn.Linear(2, 2)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        # Not in the first step of the epoch: the first process may not have saved the one before.
        if os.environ.get(BROKEN) and torch.distributed.get_rank() == 1 and self.calls > STEPS + 1:
            raise CamstudyError("train.dataset: image 3 is broken; mend it")
        return super().forward(images)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    manifest = tmp_path_factory.mktemp("data") / "squares.json"
    write_store(manifest, *squares(N))
    return str(manifest)


def run(dataset, checkpoint: Path, processes: int, accumulate: int = 1):
    entry = ENTRY | {"train": RECIPE | {"accumulate": accumulate}}
    job = {"weights": None, "dataset": dataset, "threads": 1, "fingerprint": "f", "device": CPU}
    return train_entry(entry, checkpoint=str(checkpoint), processes=processes, **job)


def assert_same_training(found, expected):
    (model, history), (expected_model, expected_history) = found, expected
    # The accuracy may differ by an image whose logits are nearly equal.
    for key, tolerance in (("epoch", 0), ("learning_rate", 1e-9), ("accuracy", 1.01 / (STEPS * BATCH)), ("loss", 1e-4)):
        found_values, values = ([record[key] for record in run] for run in (history, expected_history))
        assert found_values == pytest.approx(values, abs=tolerance, rel=0), key
    torch.testing.assert_close(model.state_dict(), expected_model.state_dict(), atol=1e-3, rtol=1e-3)


def test_two_processes_train_as_one_and_go_on_after_a_failure(dataset, tmp_path, monkeypatch):
    checkpoint, other = tmp_path / "two.pt", tmp_path / "other.pt"
    monkeypatch.setenv(BROKEN, "yes")
    with pytest.raises(CamstudyError, match=r"^train\.dataset: image 3 is broken; mend it$"):
        run(dataset, checkpoint, 2)
    monkeypatch.delenv(BROKEN)
    state = torch.load(checkpoint, weights_only=True)
    assert state["model"].keys() == dcls.convert(Network(CLASSES), **VARIANT).state_dict().keys()
    assert len(state["history"]) == 1
    shutil.copy(checkpoint, other)

    alone = run(dataset, tmp_path / "alone.pt", 1)
    losses = [record["loss"] for record in alone[1]]
    assert len(losses) == EPOCHS
    assert max(losses) - min(losses) > 0.05, "a flat curve compares nothing"
    for path, processes, passes in ((checkpoint, 2, 5), (other, 1, 1)):
        resumed = run(dataset, path, processes, passes)
        assert resumed[1][0] == state["history"][0], "its duration tells that it was run again"
        assert_same_training(resumed, alone)


def test_a_pass_is_exchanged_only_when_it_is_the_last():
    entered = []

    class Replica(nn.Module):
        @contextmanager
        def no_sync(self):
            entered.append(True)
            yield

    with Group(0, 2).exchange(Replica(), now=True), ALONE.exchange(nn.Linear(1, 1), now=False):
        assert entered == []
    with Group(1, 2).exchange(Replica(), now=False):
        assert entered == [True]


def test_a_bug_comes_with_its_traceback():
    expected = r"(?s)process 2 of 2:\nTraceback.*in raise_bug.*ZeroDivisionError: the bug on cpu"
    with pytest.raises(RuntimeError, match=expected):
        launch(workers.raise_bug, {}, processes=2, device="cpu")


def test_a_killed_process_is_told():
    with pytest.raises(CamstudyError, match=r"process 1 of 2 was ended by SIGKILL.*mem_mb"):
        launch(workers.be_killed, {}, processes=2, device="cpu")


def script(tmp_path, call: str) -> Path:
    """Write a script as the workflow runs them, which calls a function in two processes."""
    path = tmp_path / "script.py"
    path.write_text(
        f"import sys\nsys.path[:0] = {sys.path!r}\n"
        "import workers\nfrom camstudy.pipeline.job import logged\nfrom camstudy.training.distributed import launch\n"
        f"with logged({str(tmp_path / 'script.log')!r}):\n"
        f"    launch({call}, processes=2, device='cpu')\n"
    )
    return path


def test_a_user_error_of_all_processes_is_one_message(tmp_path):
    path = script(tmp_path, "workers.raise_mistake, {}")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    message = "error: `train`: all 2 processes find this\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert (tmp_path / "script.log").read_text() == message


@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
def test_all_processes_end_with_their_parent(tmp_path, blow):
    folder = tmp_path / "running"
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, script(tmp_path, f"workers.hang, {{'folder': {str(folder)!r}}}")])
    while len(list(folder.iterdir())) < 2:
        assert parent.poll() is None, (tmp_path / "script.log").read_text()
        time.sleep(0.05)
    children = [psutil.Process(int(path.name)) for path in folder.iterdir()]
    parent.send_signal(blow)
    assert parent.wait() == -blow
    _, alive = psutil.wait_procs(children, timeout=120)
    for child in alive:
        child.kill()
    assert alive == []


def test_norms_are_synchronised_on_gpus_without_changing_the_model():
    """What cannot be seen without two GPUs is that they then agree."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), BatchNormAct2d(4)).eval()
    parameters, names = list(model.parameters()), list(model.state_dict())
    images = torch.randn(2, 3, 8, 8)
    expected = model(images)
    assert (expected == 0).any(), "no activation"
    for group, device in ((Group(0, 2), CPU), (ALONE, CUDA)):
        assert synchronise_norms(model, group, device) is model
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    model = synchronise_norms(model, Group(0, 2), CUDA)
    assert [isinstance(module, nn.SyncBatchNorm) for module in model] == [False, True, False, True]
    torch.testing.assert_close(model(images), expected)
    assert list(model.state_dict()) == names
    assert all(after is before for after, before in zip(model.parameters(), parameters, strict=True))
