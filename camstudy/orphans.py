"""SLURM jobs that a killed head left behind: cancelled before another head makes the same files beside them."""

import getpass
import shutil
import subprocess
import time
from pathlib import Path

from camstudy.errors import CamstudyError


def find_orphans(directory: str | Path) -> list[str]:
    """Return the ids of this user's waiting, running or ending SLURM jobs that Snakemake submitted from a directory.

    Snakemake's executor puts the rule into a job's comment. Without SLURM, or where it does not answer, there are none.
    """
    if shutil.which("squeue") is None:
        return []
    # Array tasks under the id of their array (%F); the comment last, as it may hold anything.
    command = ["squeue", f"--user={getpass.getuser()}", "--noheader", "--format=%F|%Z|%k"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    jobs = [line.split("|", 2) for line in done.stdout.splitlines() if done.returncode == 0]
    return sorted({job for job, place, comment in jobs if place == str(directory) and comment.startswith("rule_")})


def cancel_orphans(directory: str | Path, timeout: float = 300) -> list[str]:
    """Cancel the orphans of a directory, wait until they are gone, and return their ids.

    For a head that holds Snakemake's lock on the directory: no other one is waiting for these jobs. What they have
    finished, epochs and chunks, is kept.

    Raises
    ------
    CamstudyError
        if they are still there after ``timeout`` seconds.
    """
    found = find_orphans(directory)
    if not found:
        return []
    subprocess.run(["scancel", *found], capture_output=True, check=False)
    deadline = time.monotonic() + timeout
    while left := find_orphans(directory):
        if time.monotonic() > deadline:
            raise CamstudyError(
                f"SLURM jobs {', '.join(left)} of an earlier run in {directory} do not end, and would write the same "
                "files as this one; cancel them (`scancel`), then start again"
            )
        time.sleep(1)
    return found
