"""The last to leave: when the process that started a cluster is gone, however it ended, nothing of the cluster is left.

Run as ``python guard.py DIRECTORY`` with a pipe from that process as standard input.
"""

import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil


def members(directory: Path) -> list[psutil.Process]:
    """Return the processes of the cluster in a directory: its daemons, its jobs, and heads that submit to it."""

    def belongs(process: psutil.Process) -> bool:
        if process.name() == "slurmstepd":
            # Its title has overwritten its environment; its socket tells.
            return any(str(pipe.laddr).startswith(f"{directory}/") for pipe in process.net_connections("unix"))
        return process.environ().get("SLURM_CONF") == str(directory / "slurm.conf")

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if belongs(process):
                found.append(process)
    return found


def main(directory: Path) -> None:
    """Wait for the end of standard input, kill what is left of the cluster, and remove its directory."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    sys.stdin.read()
    while left := members(directory):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=5)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
