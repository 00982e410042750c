"""What scripts do around their work, in processes of their own as the workflow runs them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.job import count_gpus, share_library, torch_device

HEAD = """
import os, subprocess, sys, warnings
from camstudy.core.errors import CamstudyError
from camstudy.pipeline.job import logged
"""


def execute(tmp_path, body: str) -> tuple[subprocess.CompletedProcess, str]:
    """Run a script whose work is ``body`` within `logged`; return the process and the content of its log."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    script, log = tmp_path / "script.py", tmp_path / "script.log"
    script.write_text(f"{HEAD}with logged({str(log)!r}):\n{lines}\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    return done, log.read_text()


@pytest.fixture(autouse=True)
def _library(monkeypatch, pytestconfig):
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def test_everything_printed_is_in_the_log_and_in_order(tmp_path):
    done, log = execute(
        tmp_path,
        """
print("first")
print("second", file=sys.stderr)
subprocess.run([sys.executable, "-c", "print('third')"], check=True)
os.write(2, b"fourth\\n")
warnings.warn("fifth")
print("sixth")
""",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = [log.index(word) for word in ("first", "second", "third", "fourth", "fifth", "sixth")]
    assert found == sorted(found)


def test_a_user_error_is_a_message_on_the_terminal_and_in_the_log(tmp_path):
    done, log = execute(tmp_path, "print('so far')\nraise CamstudyError('`metods`: unknown key')")
    assert done.returncode == 1
    assert done.stderr == "error: `metods`: unknown key\n"
    assert done.stdout == ""
    assert log == "so far\nerror: `metods`: unknown key\n"


def test_a_bug_keeps_its_traceback(tmp_path):
    done, log = execute(tmp_path, "print('so far')\nvalues = []\nvalues[3]")
    assert done.returncode == 1
    for text in (done.stderr, log):
        assert "Traceback" in text
        assert "values[3]" in text
        assert "IndexError: list index out of range" in text
    assert log.startswith("so far\n")
    assert "so far" not in done.stderr


@pytest.mark.parametrize(
    ("work", "memory"),
    [
        ("import numpy\nnumpy.ones((1 << 20, 1 << 30))", "of this machine"),
        ("raise MemoryError", "of this machine"),
        # As torch says it.
        ('raise RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory")', "of this machine"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB.\\nSee')", "of the GPU"),
    ],
)
def test_too_little_memory_is_a_message(tmp_path, work, memory):
    done, log = execute(tmp_path, work)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the memory {memory} does not suffice")
    assert done.stderr.count("\n") == 1
    assert log == done.stderr


def test_a_killed_job_has_its_log(tmp_path):
    done, log = execute(tmp_path, "print('epoch 1')\nos.kill(os.getpid(), 9)")
    assert done.returncode == -9
    assert log == "epoch 1\n"


def test_a_new_run_replaces_the_log(tmp_path):
    execute(tmp_path, "print('old')")
    assert execute(tmp_path, "print('new')")[1] == "new\n"


def test_processes_that_come_find_the_library_first(monkeypatch, tmp_path, pytestconfig):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/other", ""]))
    share_library()
    share_library()
    root = str(pytestconfig.rootpath)
    assert os.environ["PYTHONPATH"] == os.pathsep.join([root, "/other"])
    code = "import camstudy; print(camstudy.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout).parents[1] == pytestconfig.rootpath


def test_compiled_code_is_kept_where_the_study_runs_if_the_sources_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("NUMBA_CACHE_DIR", None)
    monkeypatch.chdir(tmp_path)
    share_library()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    share_library()
    code = "from camstudy.metrics.ranks import _rank_rows; print(_rank_rows.stats.cache_path)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert Path(found.stdout).is_relative_to(tmp_path / ".snakemake/numba")


def test_gpus_are_counted_by_their_device_files(monkeypatch):
    files = [Path("/dev") / name for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm", "nvidia-caps")]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [f for f in files if f.match(pattern)])
    assert count_gpus() == 2
    files.clear()
    assert count_gpus() == 0


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(
    ("setting", "resources"),
    [("auto", SimpleNamespace(gpu=0)), ("auto", SimpleNamespace()), ("cpu", SimpleNamespace(gpu=1))],
)
def test_without_a_gpu_resource_or_as_the_study_says_the_job_runs_on_the_cpu(monkeypatch, setting, resources):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for threads in (3, 2):
        assert torch_device(setting, resources, threads) == torch.device("cpu")
        assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("setting", ["auto", "cuda"])
def test_a_gpu_resource_gives_the_gpu(monkeypatch, setting):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for number in (1, 2):
        assert torch_device(setting, SimpleNamespace(gpu=number), 1) == torch.device("cuda")


@pytest.mark.usefixtures("_threads")
def test_a_gpu_that_slurm_was_asked_for_in_another_way_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert torch_device("cuda", SimpleNamespace(gpu=0, gres="gpu:1"), 1) == torch.device("cuda")


@pytest.mark.usefixtures("_threads")
def test_fewer_gpus_than_were_asked_for_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(CamstudyError, match=r"scheduled on 4 GPUs, but torch finds 2 .*lower `train\.gpu`"):
        torch_device("cuda", SimpleNamespace(gpu=4), 1)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(("visible", "shown"), [("", "="), ("0,3", "=0,3"), (None, "=unset")])
def test_a_gpu_that_is_not_there_is_an_error_that_helps(monkeypatch, visible, shown):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(CamstudyError) as error:
        torch_device("cuda", SimpleNamespace(gpu=1), 1)
    message = str(error.value)
    assert "scheduled on a GPU" in message
    assert f"CUDA_VISIBLE_DEVICES{shown})" in message
    assert "nvidia-smi" in message
    assert "device=cpu" in message
