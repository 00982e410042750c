"""Real runs after one change each, on a finished study: what is made anew, and that nothing is left afterwards.

Which edit makes what anew is in the ledger (test_reruns.py), planned only.
"""

import json
import os
import re
import shutil
from collections import Counter

import pandas as pd
import pytest
import yaml
from conftest import ROOT, TINY

from camstudy.core.provenance import read_json, write_json
from camstudy.pipeline.records import record_path

METHOD = """

@METHODS.register("gradcam_elementwise", needs="activations_gradients", source="pytorch-grad-cam, GradCAMElementWise")
def gradcam_elementwise(activations, gradients):
    \"\"\"Return sum_k ReLU(g_k A_k), values >= 0.\"\"\"
    return (gradients * activations).relu().sum(1)
"""
NOTHING = "Nothing to be done"


def ran(project) -> Counter:
    """Return how many jobs of each rule the last run made, by Snakemake's own log."""
    log = max((project.path / ".snakemake/log").glob("*.log")).read_text()
    return Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", log, re.MULTILINE))


def planned_nothing(project, *options) -> bool:
    done = project.run("--dry-run", *options)
    return NOTHING in done.stdout + done.stderr


def test_a_method_of_ones_own_is_explained_once_for_each_model(copied):
    """The method of docs/extending.md, in a module that other methods share."""
    assert METHOD.strip() in (ROOT / "docs/extending.md").read_text()
    assert planned_nothing(copied)
    path = copied.path / "camstudy/explain/methods/cam.py"
    path.write_text(path.read_text() + METHOD)
    assert planned_nothing(copied)
    study = json.loads(json.dumps(TINY))
    study["methods"].append("elementwise")
    study["catalog"]["methods"] = {"elementwise": {"title": "Element-wise", "method": "gradcam_elementwise"}}
    copied.write_study(study)
    copied.run()
    made = ran(copied)
    assert made == {
        **{"explain": 2, "score": 2, "aggregate_scores": 1, "make_table": 1, "draw_scores": 2},
        **{"draw_maps": 1, "record_study": 1, "all": 1},
    }
    table = pd.read_csv(copied.path / "results/studies/tiny/tables/dcls.csv")
    assert table["elementwise_baseline_alignment"].notna().any()
    assert planned_nothing(copied)


def test_studies_run_in_turn_leave_nothing_to_be_done(copied):
    """The second has another protocol, seed, batch and estimates, on the same data and models."""
    other = json.loads(json.dumps(TINY)) | {
        "study": "other",
        "methods": ["gradcam"],
        "seed": 5,
        "protocols": ["boxes_any_tie"],
        "tables": ["localization"],
        "figures": [],
        "explain": {"chunk_size": 5, "batch_size": 3},
        "resources": {"minutes_per_job": 3},
    }
    (copied.path / "other.yaml").write_text(yaml.safe_dump(other, sort_keys=False))
    copied.run("--configfile", "other.yaml")
    made = ran(copied)
    assert not made.keys() & {"prepare_dataset", "train", "explain", "explain_control", "prediction", "human_ceiling"}
    assert made["score"] == 2 + len(TINY["controls"])
    for _ in range(2):
        assert planned_nothing(copied)
        assert planned_nothing(copied, "--configfile", "other.yaml")


def as_if_killed_before_noted(project, model, note, marked=True):
    """Turn what Snakemake notes of a finished training into what it notes if a kill falls right at its end.

    The note is gone or of the run before, and the job is ``marked`` as unfinished or, some moments later, not any more.
    """
    outputs = [f"results/models/{model}/{name}" for name in ("model.json", "model.safetensors", "history.csv")]
    ended = (project.path / f"results/models/{model}/model.run.json").stat().st_mtime_ns
    notes = [record_path(output, project.path / ".snakemake/metadata") for output in outputs]
    before = {path: json.loads(path.read_text()) for path in notes}
    for path, content in before.items():
        path.unlink() if note is None else path.write_text(json.dumps(content | note))
        if marked:
            mark = project.path / ".snakemake/incomplete" / path.name
            mark.write_text('{"external_jobid": null}')
            os.utime(mark, ns=(ended - 10**9, ended - 10**9))
    return before


BEFORE = {"params": ["'code=before'"], "starttime": 1.0, "endtime": 2.0}


@pytest.mark.parametrize("note", [None, BEFORE])
def test_what_was_finished_when_a_kill_fell_is_not_made_again(copied, note):
    before = as_if_killed_before_noted(copied, "tiny_resnet", note)
    files = {path: path.stat().st_mtime_ns for path in copied.path.glob("results/models/*/*")}
    assert planned_nothing(copied)
    assert len(list(copied.path.glob(".snakemake/incomplete/*"))) == 3, "a plan writes nothing"
    copied.run()
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert not list(copied.path.glob(".snakemake/incomplete/*"))
    for path, content in before.items():
        assert json.loads(path.read_text())["params"] == content["params"]
    assert planned_nothing(copied)


def test_what_a_job_has_ended_after_its_head_is_not_made_again(copied):
    """On a cluster it says that it is finished, and leaves the note of the run before as it is."""
    as_if_killed_before_noted(copied, "tiny_resnet", BEFORE, marked=False)
    assert planned_nothing(copied)
    # What is put together has more than an identity in its parameters.
    output = "results/studies/tiny/scores.parquet"
    path = record_path(output, copied.path / ".snakemake/metadata")
    path.write_text(json.dumps(json.loads(path.read_text()) | BEFORE))
    done = copied.run("--dry-run")
    assert "Aggregate the scores of tiny\n" in done.stdout + done.stderr


@pytest.mark.parametrize("lost", ["model.run.json", "history.csv", "identity", "begun", "data"])
def test_what_a_kill_left_half_made_or_of_another_run_is_made_again(copied, lost):
    """A job that is in the queue of a cluster has the results of the run before in its place; that is another run, too,
    if the identity is the same, as the data may have been made anew."""
    folder = copied.path / "results/models/tiny_resnet"
    as_if_killed_before_noted(copied, "tiny_resnet", None)
    if lost == "identity":
        write_json(folder / "model.run.json", read_json(folder / "model.run.json") | {"identity": "code=before"})
    elif lost == "begun":
        for mark in copied.path.glob(".snakemake/incomplete/*"):
            mark.touch()
    elif lost == "data":
        (copied.path / "results/data/tiny_train.run.json").touch()
    else:
        (folder / lost).unlink()
    done = copied.run("--dry-run")
    assert "Train tiny_resnet\n" in done.stdout + done.stderr


def test_finished_results_are_accepted_in_a_clone(copied, monkeypatch):
    """Without Snakemake's records, times as a copy leaves them: nothing is recorded, then nothing is to be done."""
    shutil.rmtree(copied.path / ".snakemake")
    for path in sorted((copied.path / "results").rglob("*.json"), reverse=True):
        path.touch()
    assert not planned_nothing(copied)
    monkeypatch.setenv("CAMSTUDY_ACCEPTING_RECORDS", "1")
    done = copied.run("records")
    assert "are what is planned, and recorded now" in done.stdout + done.stderr
    monkeypatch.delenv("CAMSTUDY_ACCEPTING_RECORDS")
    assert planned_nothing(copied)


def test_every_result_has_the_record_of_its_run(finished):
    for path in (finished.path / "results").rglob("*.json"):
        if any(part.endswith(".zarr") for part in path.parts) or path.name == "speed.json":
            continue
        if path.name.endswith(".run.json"):
            record = json.loads(path.read_text())
            assert record["study"] == "tiny"
            assert record["identity"]
        elif path.parts[-2] != "protocols":
            # What is the same in every run is in the manifest.
            record = json.loads(path.read_text())
            assert not record.keys() & {"seconds", "device", "host", "commit", "batch_size", "study"}, path
            # Comparisons come from the job of the scores.
            assert path.stem == "comparisons" or path.with_suffix(".run.json").exists(), path


def test_the_resolved_configuration_lies_beside_the_results(finished):
    config = yaml.safe_load((finished.path / "results/studies/tiny/config.yaml").read_text())
    assert config["statistics"]["resamples"] == 199
    assert set(config["catalog"]["models"]) == set(TINY["models"])
    assert config["catalog"]["models"]["tiny_resnet"]["train"]["momentum"] == 0.9
    assert not config.keys() & {"device", "threads", "resources"}
