"""Jobs, heads and daemons that are killed on a real SLURM: the study ends as if undisturbed and repeats almost nothing.

The stories run side by side on one cluster. Each changes one model of a finished study and disturbs the jobs that
follow. A process is stopped (SIGSTOP) where it is to be caught half-way: no story hangs on the speed of the machine.
"""

import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
import yaml

from cluster.conftest import CHANGED, CHANGED_STUDY, OTHER_STUDY, ClusterProject, read_tables

# The first test waits for all that its story takes, on machines of any speed.
pytestmark = pytest.mark.timeout(3600)

EPOCHS = CHANGED_STUDY["catalog"]["models"][CHANGED]["train"]["epochs"]
CHUNKS = CHANGED_STUDY["catalog"]["datasets"]["tiny"]["n_images"] // CHANGED_STUDY["explain"]["chunk_size"]
STORE = f"results/heatmaps/tiny/{CHANGED}/gradcam.zarr"
CHECKPOINT = f"results/models/{CHANGED}/checkpoint.pt"


def wait_until(happened, head, pause=0.2):
    """Return the first true value of ``happened()``; fail if the head ends before."""
    while not (value := happened()):
        assert head.poll() is None, "the head ended too early"
        time.sleep(pause)
    return value


def working(project, rule):
    """Return the process that runs a rule's script for the changed model, or None."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()) == project.path and " ".join(process.cmdline()).endswith(f".{rule}.py"):
                # Its output goes to its log as soon as it has begun.
                log = Path(f"/proc/{process.pid}/fd/1").readlink()
                if re.search(rf"/{CHANGED}[./]", str(log)):
                    return process
    return None


def queue(project):
    """Return the project's jobs that wait, run or end."""
    return [job for job in project.cluster.squeue("WorkDir") if job["WorkDir"] == str(project.path)]


def running(project, rule):
    """Return the SLURM id of the job that runs a rule."""
    return next(job["JobID"] for job in queue(project) if f"rule_{rule}_" in job["Comment"])


def stop_training(project, head):
    """Stop the training process after an epoch but the last; return the process and the records of its epochs."""
    # Found before, as looking through all processes may take as long as the epochs that are left.
    process = wait_until(lambda: working(project, "train"), head)
    wait_until((project.path / CHECKPOINT).exists, head, pause=0.001)
    process.suspend()
    epochs = torch.load(project.path / CHECKPOINT, weights_only=True)["history"]
    assert 1 <= len(epochs) < EPOCHS
    return process, epochs


def stop_explaining(project, head):
    """Stop the explaining process after a chunk but the last; return it and when its files were written."""
    store = project.path / STORE
    flags = "progress/written/c.[0-9]"
    process = wait_until(lambda: working(project, "explain"), head)
    wait_until(lambda: any(store.glob(flags)), head, pause=0.001)
    process.suspend()
    # The flag of a chunk comes after the chunk.
    chunks = [path.name for path in store.glob(flags)]
    assert 1 <= len(chunks) < CHUNKS
    files = [store / part for name in chunks for part in (f"heatmap/{name}.0.0", f"target/{name}")]
    return process, {path: path.stat().st_mtime_ns for path in files}


# Snakemake's question for the states of its jobs gets no answer while there is a file `hold`.
SQUEUE = """\
#!/bin/sh
[ -e hold ] && touch held
while [ -e hold ]; do sleep 0.1; done
exec {squeue} "$@"
"""


def start_with_held_questions(project):
    """Start a head whose `squeue` can be held."""
    script = project.path / "bin/squeue"
    script.parent.mkdir()
    path = project.environment["PATH"]
    script.write_text(SQUEUE.format(squeue=shutil.which("squeue", path=path)))
    script.chmod(0o755)
    return project.start(PATH=f"{script.parent}{os.pathsep}{path}")


def interrupt_at_a_question(project, head):
    """Interrupt a head while it asks for the states of its jobs: then its list of jobs to cancel is empty."""
    hold = project.path / "hold"
    hold.touch()
    wait_until((project.path / "held").exists, head)
    head.send_signal(signal.SIGINT)
    wait_until(lambda: "Terminating processes" in (project.path / "head.log").read_text(), head)
    hold.unlink()
    head.wait(600)


def disturb_jobs(project):
    """A training job is cancelled and slurmctld restarted; an explaining process is killed and slurmd restarted."""
    head = project.start()
    try:
        process, epochs = stop_training(project, head)
        project.cluster.scancel(running(project, "train"))
        first = epochs[-1]["epoch"]
        # The log of the one that is cancelled may begin with the next epoch, too.
        wait_until(lambda: (new := working(project, "train")) and new.pid != process.pid, head)
        wait_until(lambda: f"epoch {first + 1}/" in read_log(project), head)
        project.cluster.restart("slurmctld", pause=3)
        process, chunks = stop_explaining(project, head)
        process.kill()
        again = wait_until(lambda: (new := working(project, "explain")) and new.pid != process.pid and new, head)
        again.suspend()
        project.cluster.restart("slurmd", pause=3)
        again.resume()
    finally:
        output = project.finish(head)
    return SimpleNamespace(project=project, epochs=epochs, chunks=chunks, output=output)


def outrun_the_time_limit(project):
    """A training job hangs for longer than its limit, which is lowered once it hangs: no machine is too slow for it.
    The head is killed while the next one explains, and that ends by itself."""
    profile = project.path / "profiles/slurm/config.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings["set-resources"]["train"]["runtime"] = "30 * attempt"
    profile.write_text(yaml.safe_dump(settings))
    head = project.start()
    _, epochs = stop_training(project, head)
    project.cluster.limit(running(project, "train"), minutes=1)
    wait_until(lambda: working(project, "explain"), head)
    head.kill()
    head.wait()
    while queue(project):
        time.sleep(0.2)
    project.run("--unlock")
    project.finish(project.start())
    return SimpleNamespace(project=project, epochs=epochs)


def disturb_heads(project):
    """Others start beside the head. It is killed while a job trains, its successor interrupted while one explains, the
    next one terminated."""
    (project.path / "other.yaml").write_text(yaml.safe_dump(OTHER_STUDY))
    head = project.start()
    _, epochs = stop_training(project, head)
    orphan = running(project, "train")
    others = [project.run("plan"), project.run("results/studies/other/scores.parquet", "--configfile", "other.yaml")]
    locked = [project.run(check=False)]
    assert head.poll() is None, "the head ended before the others"
    head.kill()
    head.wait()
    locked.append(project.run(check=False))
    project.run("--unlock")
    others.append(project.run("results/studies/other/tables/dcls.csv", "--configfile", "other.yaml"))
    spared = {job["JobID"]: job["State"] for job in queue(project)}
    head = start_with_held_questions(project)
    _, chunks = stop_explaining(project, head)
    taken_over = (project.path / "head.log").read_text()
    interrupt_at_a_question(project, head)
    left = queue(project)
    head = project.start()
    wait_until(lambda: working(project, "score"), head)
    head.terminate()
    head.wait(600)
    project.finish(project.start())
    told = {"orphan": orphan, "others": others, "locked": locked, "spared": spared, "taken_over": taken_over}
    return SimpleNamespace(project=project, epochs=epochs, chunks=chunks, left=left, **told)


def read_log(project):
    path = project.path / f"results/logs/train/{CHANGED}.log"
    return path.read_text() if path.exists() else ""


STORIES = (disturb_jobs, outrun_the_time_limit, disturb_heads)


@pytest.fixture(scope="module")
def stories(cluster, local, changed_local, tmp_path_factory):
    with ThreadPoolExecutor() as pool:
        told = {}
        for tell in STORIES:
            project = ClusterProject.of(local, tmp_path_factory.mktemp(tell.__name__) / "project", cluster)
            project.write_study(CHANGED_STUDY)
            # The maps of the unchanged model, which the job would wipe.
            shutil.rmtree(project.path / STORE)
            told[tell] = pool.submit(tell, project)
        yield told


@pytest.fixture(scope="module", params=STORIES, ids=lambda tell: tell.__name__)
def story(request, stories):
    return stories[request.param].result()


@pytest.fixture(scope="module")
def jobs_story(stories):
    return stories[disturb_jobs].result()


@pytest.fixture(scope="module")
def limit_story(stories):
    return stories[outrun_the_time_limit].result()


@pytest.fixture(scope="module")
def heads_story(stories):
    return stories[disturb_heads].result()


def test_tables_are_those_of_an_undisturbed_run(story, changed_local):
    assert read_tables(story.project) == read_tables(changed_local)


def test_finished_epochs_are_not_trained_again(story):
    history = pd.read_csv(story.project.path / f"results/models/{CHANGED}/history.csv")
    assert history["epoch"].tolist() == list(range(1, EPOCHS + 1))
    # Durations too: these epochs were not run again.
    assert history.iloc[: len(story.epochs)].to_dict("records") == story.epochs


@pytest.mark.parametrize("which", [disturb_jobs, disturb_heads], ids=lambda tell: tell.__name__)
def test_finished_chunks_are_not_explained_again(stories, which):
    story = stories[which].result()
    assert {path: path.stat().st_mtime_ns for path in story.chunks} == story.chunks
    chunks = {path: path.stat().st_mtime_ns for path in (story.project.path / STORE).glob("heatmap/c.*.0.0")}
    assert len(chunks) == CHUNKS
    assert all(time > max(story.chunks.values()) for path, time in chunks.items() if path not in story.chunks)


def states(project, rule):
    """Return the states of a rule's jobs in the order of submission."""
    return [job["State"].split()[0] for job in project.jobs if job["Rule"] == rule]


def test_only_disturbed_jobs_are_submitted_twice(jobs_story):
    assert states(jobs_story.project, "train") == ["CANCELLED", "COMPLETED"]
    assert states(jobs_story.project, "explain") == ["FAILED", "COMPLETED"]
    others = {job: n for job, n in jobs_story.project.submitted().items() if job[0] not in ("train", "explain")}
    assert others
    assert set(others.values()) == {1}


def test_a_job_that_outruns_its_limit_gets_a_longer_one(limit_story):
    train = [job for job in limit_story.project.jobs if job["Rule"] == "train"]
    assert [job["State"] for job in train] == ["TIMEOUT", "COMPLETED"]
    assert [job["Timelimit"] for job in train] == ["00:01:00", "01:00:00"]


def test_what_ends_after_its_head_is_kept(limit_story):
    """It took the place of maps of another model, of which the notes are."""
    assert states(limit_story.project, "explain") == ["COMPLETED"]


def test_a_plan_and_another_study_leave_the_jobs_of_a_head_that_runs_or_was_killed(heads_story):
    assert heads_story.spared == {heads_story.orphan: "RUNNING"}
    assert len(heads_story.others) == 3
    for done in heads_story.others:
        assert "Cancelled SLURM jobs" not in done.stdout + done.stderr
    assert (heads_story.project.path / "results/studies/other/tables/dcls.csv").exists()


def test_a_new_head_cancels_what_a_killed_one_left(heads_story):
    # The others have not taken the lock away.
    for done in heads_story.locked:
        assert done.returncode != 0
        assert "--unlock" in done.stdout + done.stderr
    message = f"Cancelled SLURM jobs of an earlier run on the same files: {heads_story.orphan}\n"
    assert message in heads_story.taken_over
    train = [job for job in heads_story.project.jobs if job["Rule"] == "train"]
    assert [job["State"].split()[0] for job in train] == ["CANCELLED", "COMPLETED"]
    assert train[0]["JobID"] == heads_story.orphan
    # Never two at a time.
    assert train[1]["Start"] >= train[0]["End"]


def test_an_interrupted_head_cancels_its_jobs_and_a_terminated_one_waits_for_them(heads_story):
    assert heads_story.left == []
    assert states(heads_story.project, "explain") == ["CANCELLED", "COMPLETED"]
    assert states(heads_story.project, "score") == ["COMPLETED"]
