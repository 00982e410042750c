"""Slow methods divided among jobs, and the plan that counts the jobs before they run."""

import json

import pytest
import yaml
from conftest import ROOT, TINY
from test_incrementality import FROM_SCORES, MAP_FIGURES, change_study, planned

TABLE = "results/studies/tiny/tables/dcls.csv"


def test_divided_maps_give_the_same_table(copied, finished):
    change_study(copied, "catalog", "methods", "gradcam", value={"method": "gradcam", "title": "Grad-CAM", "parts": 3})
    models = TINY["models"]
    parts = {f"Explain {model} on tiny with gradcam/{number}-of-3" for model in models for number in (1, 2, 3)}
    scores = {f"Compare gradcam of {model} with human maps" for model in models}
    assert planned(copied) == parts | scores | FROM_SCORES | MAP_FIGURES
    copied.run()
    assert (copied.path / TABLE).read_bytes() == (finished.path / TABLE).read_bytes()
    figure = "results/studies/tiny/figures/qualitative.png"
    assert (copied.path / figure).read_bytes() == (finished.path / figure).read_bytes()
    part = json.loads((copied.path / "results/heatmaps/tiny/tiny_resnet/gradcam/2-of-3.json").read_text())
    assert part["n_images"] == TINY["catalog"]["datasets"]["tiny"]["n_images"] / 3
    assert planned(copied) == set()


def test_scores_are_divided_too(copied, finished):
    slow = {"resources": {"rules": {"score_agreement": {"seconds_per_image": 10}}, "minutes_per_job": 2}}
    copied.write_study(TINY | slow)
    jobs = {job for job in planned(copied) if job.startswith("Compare")}
    models = TINY["models"]
    assert jobs == {
        f"Compare {method}/{number}-of-2 of {model} with human maps"
        for model in models
        for method in TINY["methods"]
        for number in (1, 2)
    }
    copied.run()
    assert (copied.path / TABLE).read_bytes() == (finished.path / TABLE).read_bytes()


def plan(project):
    """Return what `snakemake plan` prints, as words of its lines by their first word."""
    lines = project.run("plan", "--quiet", "all").stdout.splitlines()
    return {line.split()[0]: line.split() for line in lines if line.split()}


def test_the_plan_counts_the_jobs_of_a_dry_run_and_makes_nothing(copied):
    change_study(copied, "catalog", "models", "tiny_resnet", "train", "learning_rate", value=0.003)
    before = {path for path in (copied.path / "results").rglob("*") if path.is_file()}
    jobs = planned(copied)
    printed = plan(copied)
    assert int(printed["in"][2]) == len(jobs)
    assert int(printed["train"][1]) == 1
    assert int(printed["explain"][1]) == len(TINY["methods"])
    # The model that is to be trained again was timed when it was trained and explained.
    assert printed["Times"][2] == str(1 + len(TINY["methods"]))
    after = {path for path in (copied.path / "results").rglob("*") if path.is_file()}
    assert {path.name for path in after - before} <= {"plan.log", "plan.tsv"}
    assert planned(copied) == jobs


def test_a_finished_study_has_an_empty_plan(copied):
    assert "nothing to be done." in copied.run("plan", "--quiet", "all").stdout


def test_every_rule_has_a_row_of_what_it_needs():
    table = yaml.safe_load((ROOT / "config/resources.yaml").read_text())["resources"]["rules"]
    assert table.keys() == {path.stem for path in ROOT.glob("scripts/*.py")}


@pytest.mark.parametrize("rule", ["explian", "all"])
def test_a_row_of_no_rule_is_refused(copied, rule):
    copied.write_study(TINY | {"resources": {"rules": {rule: {"minutes": 1}}}})
    done = copied.run("--dry-run", check=False)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert f"`resources.rules.{rule}`" in output
    assert "Traceback" not in output
