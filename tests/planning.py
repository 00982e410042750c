"""Snakemake's runs, each in a fork of one process that has imported Snakemake: seconds less than a start anew."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["jsonschema", "numpy", "pytest", "requests", "snakemake.cli", "smart_open", "yaml"])


def plan(
    command: list[str], *, cwd: Path, env: dict[str, str], timeout: float, python: str = sys.executable
) -> CompletedProcess:
    """Run a command, ``python -m snakemake ...``, and return its status and all that it printed, as text.

    ``python`` is what runs the scripts of its jobs.
    """
    assert command[1:3] == ["-m", "snakemake"]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_run, args=(command[3:], cwd, env, streams, python))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise TimeoutExpired(command, timeout)
        return CompletedProcess(command, process.exitcode, *(path.read_text() for path in streams))


def _run(arguments: list[str], cwd: Path, env: dict[str, str], streams: list[Path], python: str) -> None:
    """Be the command, from here to the end of the process."""
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["snakemake", *arguments]
    sys.executable = python
    # What the tests put there is not for the project that is planned: it has a library of its own.
    tests = Path(__file__).parent
    ours = {"", str(tests.parent), str(tests), *(str(path) for path in tests.iterdir())}
    sys.path[:] = [str(cwd), *(place for place in sys.path if place not in ours)]
    from snakemake.cli import main

    main(arguments)
