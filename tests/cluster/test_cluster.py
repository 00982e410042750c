"""The throw-away SLURM itself: it stands beside others, says why it does not start, and leaves nothing behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import slurm
from cluster.guard import members

OWNER = """
import time
from cluster.slurm import Cluster
with Cluster() as running:
    running._output("sbatch", "--output=/dev/null", "--wrap=srun sleep 600")
    print(running.directory, flush=True)
    time.sleep(600)
"""


def names(directory):
    return {process.name() for process in members(directory)}


def test_nothing_is_left_of_a_cluster_whose_process_is_killed(cluster):
    tests = Path(__file__).parents[1]
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=tests, stdout=subprocess.PIPE, text=True)
    directory = Path(owner.stdout.readline().strip())
    deadline = time.monotonic() + 180
    while not names(directory) >= {*slurm.DAEMONS, "slurmstepd", "srun", "sleep"}:
        assert time.monotonic() < deadline, names(directory)
        time.sleep(0.1)
    owner.kill()
    owner.wait()
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert members(directory) == []
    # The other one has not noticed.
    assert cluster.squeue() == []
    assert members(cluster.directory)


def test_a_daemon_that_does_not_start_is_named_with_its_log(cluster, monkeypatch):
    monkeypatch.setattr(slurm, "SLURM", f"{slurm.SLURM}NoSuchKey=1\n")
    started = slurm.Cluster()
    with pytest.raises(RuntimeError, match=r"(?s)^slurmctld: .*--- slurmctld.log.*NoSuchKey"):
        started.__enter__()
    assert not started.directory.exists()
    assert members(started.directory) == []
