"""Short studies on a real SLURM with the profile's own limits: few jobs, which ask for what one step needs."""

from types import SimpleNamespace

import pytest

from cluster.conftest import STUDY, ClusterProject, read_tables
from cluster.test_faults import stop_explaining

GROUPS = {f"{model}_explain_prediction_train" for model in STUDY["models"]}


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    """A fresh copy after `snakemake --profile slurm`, one of whose jobs was killed while it explained."""
    project = ClusterProject(tmp_path_factory.mktemp("grouped"), cluster, grouped=True)
    head = project.start()
    try:
        process, chunks = stop_explaining(project, head)
        notes, stopped = project.notes, process.environ()["SLURM_JOB_ID"]
        process.kill()
    finally:
        project.finish(head)
    cluster.settle()
    return SimpleNamespace(project=project, jobs=project.jobs, chunks=chunks, notes=notes, stopped=stopped)


def test_tables_are_those_of_a_local_run(story, local):
    assert read_tables(story.project) == read_tables(local)


def test_a_model_is_one_job_and_short_steps_are_none(story):
    submitted = sorted(job["Rule"] for job in story.jobs)
    killed = [job["Rule"] for job in story.jobs if job["State"] == "FAILED"]
    assert len(killed) == 1
    assert submitted == sorted([*GROUPS, *killed, "aggregate_scores"])
    assert {job["State"] for job in story.jobs} == {"COMPLETED", "FAILED"}


def test_steps_of_a_job_take_turns_at_its_gpu_and_cpu(story):
    for job in story.jobs:
        gpu = job["Rule"] in GROUPS
        assert job["Partition"] == ("gpu" if gpu else "cpu"), job
        assert ("gres/gpu=1" in job["AllocTRES"].split(",")) == gpu, job
        assert job["AllocCPUS"] == "1", job


def test_what_was_explained_is_kept_though_its_model_was_trained_again(story):
    assert story.chunks
    assert {path: path.stat().st_mtime_ns for path in story.chunks} == story.chunks


def test_what_a_group_was_begun_for_is_noted_under_its_job(story):
    group = next(job["Rule"] for job in story.jobs if job["JobID"] == story.stopped)
    model = group.removesuffix("_explain_prediction_train")
    noted = {output for output, job in story.notes.items() if job == story.stopped}
    # What it had made, too, when it was stopped: the record of the run tells a head that finds no other that it had.
    assert {f"results/models/{model}/model.json", f"results/heatmaps/tiny/{model}/gradcam.json"} <= noted
