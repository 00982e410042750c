"""A study that is killed with all its jobs, as by a power cut."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from conftest import Project


def run_until(project: Project, happened: Callable[[], object], *, may_end: bool = False) -> bool:
    """Start the study, kill it with all its jobs as soon as ``happened()``, and return whether it ended before.

    That is a failure unless it ``may_end``, and always if it ended with an error.
    """
    output = project.path / "killed.log"
    with output.open("w") as log:
        where = {"cwd": project.path, "env": project.environment, "start_new_session": True}
        process = subprocess.Popen(project.command(), stdout=log, stderr=subprocess.STDOUT, **where)
    try:
        while not happened():
            if process.poll() is not None:
                assert may_end, output.read_text()
                assert process.returncode == 0, output.read_text()
                return True
            time.sleep(0.001)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 60
    while any(project.path in directory.parents or project.path == directory for directory in working_directories()):
        assert time.monotonic() < deadline, "a job has survived"
        time.sleep(0.01)
    return False


def working_directories() -> Iterator[Path]:
    """Yield the working directories of all processes that can be asked."""
    for process in psutil.process_iter():
        try:
            yield Path(process.cwd())
        except psutil.Error:
            continue
