"""Which SLURM jobs a starting head cancels: a real Snakemake between a fake `squeue` and a fake `scancel`."""

import base64
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from snakemake.cli import main

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.orphans import cancel_orphans

# Importing Snakemake is most of a head's start.
FORK = multiprocessing.get_context("fork")
# The queue is a file, `{id}|{directory}` a line; a job that is cancelled is gone at the second question after that.
SQUEUE = """\
#!/bin/sh
echo "squeue $*" >> {folder}/calls
[ -e {folder}/squeue_fails ] && {{ echo "no controller" >&2; exit 1; }}
case "$*" in *--array*%i*%Z*) ;; *) exit 2;; esac
cat {folder}/queue
[ -e {folder}/ending ] && mv {folder}/ending {folder}/queue
exit 0
"""
SCANCEL = """\
#!/bin/sh
echo "scancel $*" >> {folder}/calls
[ -e {folder}/scancel_fails ] && {{ rm {folder}/scancel_fails; echo "no route" >&2; exit 1; }}
[ -e {folder}/immortal ] && exit 0
cp {folder}/queue {folder}/ending
for job in "$@"; do sed -i "/^$job|/d" {folder}/ending; done
"""
# As the workflow's own `onstart`.
SNAKEFILE = """\
import os
from camstudy.pipeline.bookkeeping import keep_books
from camstudy.pipeline.orphans import cancel_orphans, recorded_jobs

keep_books()


onstart:
    cancel_orphans(recorded_jobs(workflow), os.getcwd())


rule make:
    output:
        "{name}.txt"
    shell:
        "touch begun; while [ -e hold_{wildcards.name} ]; do sleep 0.05; done; touch {output}"


rule join:
    input:
        "{name}.txt"
    output:
        "{name}.joined"
    shell:
        "touch {output}"


rule plan:
    shell:
        "true"
"""


class Queue:
    """The fake SLURM of a test and its queue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)

    def fill(self, directory: Path, *jobs: str) -> None:
        with (self.folder / "queue").open("a") as queue:
            queue.writelines(f"{job}|{directory}\n" for job in jobs)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def cancelled(self) -> list[str]:
        return [job for call in self.calls if call.startswith("scancel") for job in call.split()[1:]]


@pytest.fixture
def queue(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}:/usr/bin:/bin")
    return Queue(tmp_path / "slurm")


def test_recorded_jobs_of_the_directory_are_cancelled_and_no_others(queue, tmp_path):
    queue.fill(tmp_path, "11", "12", "13_1", "13_2", "1")
    queue.fill(tmp_path / "copy", "14")
    # 9 has ended long ago; 14 is recorded here, as this is a copy of where it runs.
    assert cancel_orphans({"11", "13_2", "14", "9"}, tmp_path) == ["11", "13_2"]
    assert queue.cancelled == ["11", "13_2"]
    # It was asked until they were gone.
    assert [call.split()[0] for call in queue.calls] == ["squeue", "scancel", "squeue", "squeue"]


def test_without_records_slurm_is_not_asked(queue, tmp_path):
    queue.fill(tmp_path, "11")
    assert cancel_orphans(set(), tmp_path) == []
    assert queue.calls == []


def test_jobs_that_do_not_end_are_an_error(queue, tmp_path):
    queue.fill(tmp_path, *map(str, range(12)))
    (queue.folder / "immortal").touch()
    with pytest.raises(CamstudyError, match=r"SLURM jobs 0, 1, 10, .* and 2 more of a run in .*`scancel`"):
        cancel_orphans({str(job) for job in range(12)}, tmp_path, timeout=1)


def test_a_slurm_that_does_not_answer_is_an_error_unless_it_answers_in_time(queue, tmp_path):
    queue.fill(tmp_path, "11")
    (queue.folder / "squeue_fails").touch()
    with pytest.raises(CamstudyError, match=r"SLURM jobs 11 .*\(`squeue` fails: no controller\)"):
        cancel_orphans({"11"}, tmp_path, timeout=1)
    assert queue.cancelled == []
    (queue.folder / "squeue_fails").unlink()
    (queue.folder / "scancel_fails").touch()
    assert cancel_orphans({"11"}, tmp_path, timeout=60) == ["11"]
    assert queue.cancelled == ["11", "11"]


def test_without_slurm_there_are_no_orphans(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cancel_orphans({"11"}, tmp_path) == []


def mark(output: str) -> str:
    """Return the name that Snakemake gives to its note of an unfinished output."""
    return base64.urlsafe_b64encode(output.encode()).decode()


def wait_until(happened: Callable[[], bool], process: BaseProcess, head: "Head") -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.is_alive(), head.output
        assert time.monotonic() < deadline, head.output
        time.sleep(0.02)


class Head:
    """A directory in which Snakemake runs, and the notes that earlier heads left in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "Snakefile").write_text(SNAKEFILE)
        self.note("a.txt", "11")
        self.note("b.txt", "13_2")

    def note(self, output: str, job: str | None) -> None:
        notes = self.path / ".snakemake/incomplete"
        notes.mkdir(parents=True, exist_ok=True)
        (notes / mark(output)).write_text(json.dumps({"external_jobid": job}))

    def noted(self, output: str) -> str | None:
        # Empty while it is written.
        text = (self.path / ".snakemake/incomplete" / mark(output)).read_text()
        return json.loads(text)["external_jobid"] if text else "being written"

    @property
    def output(self) -> str:
        return (self.path / "output").read_text()

    def start(self, *arguments: str) -> BaseProcess:
        head = FORK.Process(target=self._snakemake, args=arguments, daemon=True)
        head.start()
        return head

    def _snakemake(self, *arguments: str) -> None:
        os.chdir(self.path)
        with Path("output").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        main(["--cores", "1", *arguments])

    def run(self, *arguments: str, status: int = 0) -> str:
        head = self.start(*arguments)
        head.join(120)
        assert head.exitcode == status, self.output
        return self.output


@pytest.fixture
def head(queue, tmp_path):
    head = Head(tmp_path / "project")
    queue.fill(head.path, "11", "12", "13_1", "13_2")
    return head


def test_a_head_cancels_the_jobs_of_what_it_makes_alone(head, queue):
    for arguments in (["plan"], ["c.txt"], ["a.joined", "--dry-run"], ["--nolock", "a.joined", "--until", "make"]):
        head.run(*arguments)
        assert queue.cancelled == [], arguments
    head.note("a.txt", "11")
    # What is there is touched, and nothing is made.
    (head.path / "b.txt").touch()
    head.run("b.txt", "--touch", "--force", "--rerun-incomplete")
    assert queue.cancelled == []
    (head.path / "a.txt").unlink()
    head.run("a.joined")
    assert queue.cancelled == ["11"]
    head.note("b.txt", "13_2")
    assert "b.txt" in head.run("b.txt", status=1)  # it is there, but perhaps half
    assert queue.cancelled == ["11"]
    head.run("b.txt", "--rerun-incomplete")
    assert queue.cancelled == ["11", "13_2"]


def test_a_job_keeps_its_id_until_a_head_sees_its_end_and_another_head_takes_it_over(head):
    job = ["--mode", "remote", "--force", "--nolock", "--ignore-incomplete", "--no-hooks"]
    (head.path / "hold_a").touch()
    first = head.start("a.txt", *job)
    wait_until((head.path / "begun").exists, first, head)
    # Were it to be written again, it would be by now or in a moment.
    time.sleep(0.3)
    assert head.noted("a.txt") == "11"
    (head.path / "hold_a").unlink()
    first.join(60)
    assert first.exitcode == 0, head.output
    # A head that was gone by now would not know of the job's end.
    assert head.noted("a.txt") == "11"
    (head.path / "hold_a").touch()
    other = head.start("a.txt", "--force", "--rerun-incomplete", "--nolock")
    wait_until(lambda: head.noted("a.txt") is None, other, head)
    (head.path / "hold_a").unlink()
    other.join(60)
    assert other.exitcode == 0, head.output
    assert not list((head.path / ".snakemake/incomplete").glob(mark("a.txt")))


def test_a_head_that_ends_leaves_the_locks_of_others(head):
    (head.path / "hold_c").touch()
    first = head.start("c.txt")
    wait_until((head.path / "begun").exists, first, head)
    head.run("plan")
    head.run("d.txt")
    head.run("d.txt")  # nothing to be done
    assert "cannot be locked" in head.run("c.txt", status=1)
    head.run("--unlock", "plan")
    assert not list((head.path / ".snakemake").glob("locks/*"))
    (head.path / "hold_c").unlink()
    first.join(60)
    assert first.exitcode == 0
