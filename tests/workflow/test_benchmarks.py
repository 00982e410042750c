"""Every benchmark runs at its smallest size, and `benchmarks.run` prints rows as they come. No test looks at a time."""

import importlib
import math
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from benchmarks.run import NAMES, ON_REQUEST
from benchmarks.table import Row

COMMAND = [sys.executable, "-m", "benchmarks.run", "--small"]
# Goes on when its first row was read, which it is only if it was printed at once.
BROKEN = """
import time
from pathlib import Path
from benchmarks.table import Row

def rows(small):
    yield Row("before", 1.25, "<= 1.5", f"small is {small}")
    end = time.monotonic() + 600
    while not Path("read").exists():
        if time.monotonic() > end:
            raise TimeoutError("nobody read the row")
        time.sleep(0.1)
    yield Row("after", 1.75, "<= 1.5", "")
    raise OSError("the disk is full")
"""


def test_on_request_are_those_with_a_test_elsewhere():
    """`tests/cluster` runs it."""
    assert {"cluster"} == ON_REQUEST


@pytest.mark.parametrize("name", sorted(set(NAMES) - ON_REQUEST))
def test_smallest_size(name):
    rows = list(importlib.import_module(f"benchmarks.bench_{name}").rows(small=True))
    assert rows
    for row in rows:
        assert isinstance(row, Row)
        assert math.isfinite(row.figure), row
        assert row.figure > 0, row
        assert row.unit == "ratio" or row.unit in {"s", "images/s"}
        assert (row.met is None) == (not row.limit)
        assert row.detail
    assert len({row.name for row in rows}) == len(rows)


def test_rows_come_one_by_one_and_a_failure_loses_none(tmp_path):
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__.py", "run.py", "table.py"):
        (package / name).write_bytes((ROOT / "benchmarks" / name).read_bytes())
    (package / "bench_broken.py").write_text(BROKEN)
    (package / "bench_killed.py").write_text("import os\ndef rows(small):\n    os.kill(os.getpid(), 9)\n")
    fine = BROKEN.replace("before", "fine").rpartition("\n    raise")[0]
    (package / "bench_sound.py").write_text(fine)
    # Python would print at once with it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=environment, **pipes) as running:
        while "before" not in (line := running.stdout.readline()):
            assert line, running.stderr.read()
        (tmp_path / "read").touch()
        output, errors = running.communicate(timeout=600)
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "before",
        "1.25",
        "ratio",
        "<= 1.5",
        "yes",
        "small is True",
    ]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("|")]
    assert [(row[0], row[4]) for row in found] == [
        ("after", "no"),
        ("broken", "FAILED"),
        ("killed", "FAILED"),
        ("fine", "yes"),
        ("after", "no"),
    ]
    assert found[1][5] == "OSError: the disk is full"
    assert found[2][5] == "ended by SIGKILL"
    assert "Traceback" in errors
    assert errors.endswith("failed: broken, killed\n")
    assert running.returncode == 1


def test_one_benchmark_alone_without_bars():
    """Without the variable in `benchmarks/__init__.py`, the preparation of its images draws one."""
    done = subprocess.run([*COMMAND, "loader"], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert names[0] == "what"
    assert len(names) > 2
    assert all("training loader" in name for name in names[2:])
