"""Slow methods divided among jobs, and the plan that counts the jobs before they run."""

import json

import pytest
import yaml
from conftest import ROOT, TINY
from test_reruns import planned

TABLE = "results/studies/tiny/tables/dcls.csv"


def test_divided_maps_give_the_same_table(copied, finished):
    """All methods divided, into parts of ten images, as those of more passes are into parts of a thousand."""
    copied.edit("camstudy/core/parts.py", "PART = 1024", "PART = 10")
    cam = copied.path / "camstudy/explain/methods/cam.py"
    needs = 'needs="activations_gradients"'
    cam.write_text(cam.read_text().replace(needs, f"{needs}, divided=True"))
    parts = ("00000-00009", "00010-00019", "00020-00023")
    explain = {f"Explain {model} on tiny with gradcam/{part}" for model in TINY["models"] for part in parts}
    assert explain <= planned(copied)
    copied.run()
    assert (copied.path / TABLE).read_bytes() == (finished.path / TABLE).read_bytes()
    figure = "results/studies/tiny/figures/qualitative.png"
    assert (copied.path / figure).read_bytes() == (finished.path / figure).read_bytes()
    part = json.loads((copied.path / "results/heatmaps/tiny/tiny_resnet/gradcam/00020-00023.json").read_text())
    assert part["n_images"] == 4
    assert planned(copied) == set()


def plan(project):
    """Return what `snakemake plan` prints, as words of its lines by their first word."""
    lines = project.run("plan", "--quiet", "all").stdout.splitlines()
    return {line.split()[0]: line.split() for line in lines if line.split()}


def test_the_plan_counts_the_jobs_of_a_dry_run_and_makes_nothing(copied):
    study = json.loads(json.dumps(TINY))
    study["catalog"]["models"]["tiny_resnet"]["train"]["learning_rate"] = 0.003
    copied.write_study(study)
    before = {path for path in (copied.path / "results").rglob("*") if path.is_file()}
    jobs = planned(copied)
    printed = plan(copied)
    assert int(printed["in"][2]) == len(jobs)
    assert int(printed["train"][1]) == 1
    assert int(printed["explain"][1]) == len(TINY["methods"])
    # All that is to be made again was timed when it was made.
    assert " ".join(printed["Times"]) == "Times follow from what finished jobs took here."
    after = {path for path in (copied.path / "results").rglob("*") if path.is_file()}
    assert {path.name for path in after - before} <= {"plan.log", "plan.tsv"}
    assert planned(copied) == jobs


def test_a_finished_study_has_an_empty_plan(copied):
    assert "nothing to be done." in copied.run("plan", "--quiet", "all").stdout


def test_every_rule_has_a_row_of_what_it_needs():
    table = yaml.safe_load((ROOT / "config/resources.yaml").read_text())["resources"]["rules"]
    # The script `score` is that of two rules.
    assert table.keys() == {path.stem for path in ROOT.glob("scripts/*.py")} | {"score_on_model"}


@pytest.mark.parametrize("rule", ["explian", "all"])
def test_a_row_of_no_rule_is_refused(copied, rule):
    copied.write_study(TINY | {"resources": {"rules": {rule: {"minutes": 1}}}})
    done = copied.run("--dry-run", check=False)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert f"`resources.rules.{rule}`" in output
    assert "Traceback" not in output
