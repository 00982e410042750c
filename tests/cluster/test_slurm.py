"""`snakemake --profile slurm` on a real SLURM: where jobs run, what a change submits, what fails and how."""

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from camstudy.pipeline.job import count_gpus
from cluster.conftest import CHANGED, CHANGED_STUDY, GPU_RULES, OTHER, ClusterProject, read_tables


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    """A fresh copy after `snakemake --profile slurm`, and what a second head said meanwhile."""
    project = ClusterProject(tmp_path_factory.mktemp("slurm"), cluster)
    head = project.start()
    try:
        while not (noted := {job for job in project.notes.values() if job}):
            assert head.poll() is None, (project.path / "head.log").read_text()
            time.sleep(0.2)
        second = project.run(check=False)
        assert head.poll() is None, "the first head ended before the second was tried"
    finally:
        project.finish(head)
    cluster.settle()
    return SimpleNamespace(project=project, noted=noted, second=second)


def test_tables_are_those_of_a_local_run(story, local):
    assert read_tables(story.project) == read_tables(local)


def test_every_job_is_submitted_once_and_completes(story):
    assert set(story.project.submitted().values()) == {1}
    assert {job["State"] for job in story.project.jobs} == {"COMPLETED"}


def test_tasks_of_an_array_are_noted_by_their_own_ids(story):
    shards = {job["JobID"] for job in story.project.jobs if job["Rule"] == "make_digits"}
    assert story.noted
    assert story.noted <= shards
    assert all("_" in job for job in shards)


def test_gpu_stages_get_a_gpu_and_no_other_does(story):
    jobs = story.project.jobs
    assert {job["Rule"] for job in jobs} > set(GPU_RULES)
    for job in jobs:
        gpu = job["Rule"] in GPU_RULES
        assert job["Partition"] == ("gpu" if gpu else "cpu"), job
        assert ("gres/gpu=1" in job["AllocTRES"].split(",")) == gpu, job
        assert ("gres/gpu" in job["AllocTRES"]) == gpu, job


def test_a_second_head_is_refused_and_told_what_to_do(story):
    assert story.second.returncode != 0
    message = story.second.stdout + story.second.stderr
    assert "Directory cannot be locked" in message
    assert "--unlock" in message
    # Refused before it did anything: every job is the first head's.
    assert len({job["JobName"] for job in story.project.jobs}) == 1


def test_a_changed_model_submits_that_models_jobs_alone(cluster, local, changed_local, tmp_path):
    project = ClusterProject.of(local, tmp_path / "project", cluster)
    project.write_study(CHANGED_STUDY)
    others = {path: path.stat().st_mtime_ns for path in (project.path / "results").rglob(f"{OTHER}/**/*")}
    project.run()
    expected = [
        ("train", CHANGED),
        ("prediction", f"tiny_{CHANGED}"),
        ("explain", f"tiny_{CHANGED}_gradcam"),
        ("score", f"tiny_{CHANGED}_gradcam_human_maps"),
        ("aggregate_scores", "tiny"),
    ]
    cluster.settle()
    assert project.submitted() == Counter(expected)
    assert others
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert read_tables(project) == read_tables(changed_local)


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has a CUDA device")
def test_a_gpu_job_that_finds_no_cuda_device_fails_and_says_why(cluster, local, tmp_path):
    project = ClusterProject.of(local, tmp_path / "project", cluster)
    scores = f"results/scores/tiny/{CHANGED}/prediction.parquet"
    done = project.run("--config", "device=cuda", "--retries", "0", "--force", scores, check=False)
    assert done.returncode != 0
    assert [job["State"] for job in project.jobs] == ["FAILED"]
    log = f"results/logs/prediction/tiny/{CHANGED}.log"
    assert log in done.stdout + done.stderr
    message = (project.path / log).read_text()
    assert "scheduled on a GPU" in message
    assert "finds no CUDA device" in message
