"""SLURM jobs that a killed head left behind: cancelled before another head makes the same files beside them.

So are those that an interrupted head would leave: while Snakemake asks for states, its list of jobs to cancel is empty.
"""

import getpass
import shutil
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError, first_of

if TYPE_CHECKING:
    from snakemake.workflow import Workflow


def recorded_jobs(workflow: "Workflow") -> set[str]:
    """Return the SLURM ids that Snakemake recorded for unfinished outputs of the jobs that a head is about to run.

    The head must hold the lock on these outputs: then no other one waits for those jobs. With ``--nolock`` nobody
    knows, and with ``--touch`` nothing is made: no ids. Tasks of arrays are ``{array}_{task}``; the outputs of a group
    have one id.
    """
    if not workflow.execution_settings.lock or workflow.touch:
        return set()
    # The lock covers the outputs of these jobs, not of all in the graph.
    return {found for job in workflow.dag.needrun_jobs() for found in workflow.persistence.external_jobids(job)}


def cancel_orphans(recorded: Collection[str], directory: str | Path, timeout: float = 300) -> list[str]:
    """Cancel those of the recorded jobs that still wait, run or end, wait until they are gone, and return their ids.

    What they have finished, epochs and chunks, is kept. Jobs from other directories stay: a copied checkout brings
    the records of the original. Where there is no SLURM, there are no jobs.

    Raises
    ------
    CamstudyError
        if after ``timeout`` seconds jobs are still there, or SLURM has not said whether they are.
    """
    if not recorded or shutil.which("squeue") is None:
        return []
    deadline = time.monotonic() + timeout
    cancelled: set[str] = set()
    told = False
    while True:
        # One line for each task of an array.
        lines, trouble = _ask("squeue", f"--user={getpass.getuser()}", "--array", "--noheader", "--format=%i|%Z")
        queue = dict(line.partition("|")[::2] for line in lines)
        left = sorted(job for job in recorded if queue.get(job) == str(directory))
        if not left and not trouble:
            return sorted(cancelled)
        if left and not told:
            cancelled.update(left)
            trouble = _ask("scancel", *left)[1]
            told = not trouble
        if time.monotonic() > deadline:
            raise CamstudyError(_complain(left or sorted(recorded), directory, trouble))
        time.sleep(1)


def _ask(*command: str) -> tuple[list[str], str]:
    """Return the lines that a program of SLURM printed and, if it failed, why."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except subprocess.TimeoutExpired:
        return [], f"`{command[0]}` does not answer"
    except subprocess.CalledProcessError as error:
        return [], f"`{command[0]}` fails: {error.stderr.strip()}"
    return done.stdout.splitlines(), ""


def _complain(jobs: list[str], directory: str | Path, trouble: str) -> str:
    """Return what to say of jobs that did not end."""
    return (
        f"SLURM jobs {first_of(jobs)} of a run in {directory} have not ended as far as SLURM says"
        f"{trouble and f' ({trouble})'}, and would write the same files as another run; cancel them (`scancel`) before "
        "you start again"
    )
