"""A rerun does exactly the work that changed: dry runs on a finished study after one change each."""

import json
import re

import pytest
import yaml
from conftest import TINY

MODELS, METHODS, CONTROLS = TINY["models"], TINY["methods"], TINY["controls"]


def planned(project, *options):
    """Return the messages of the jobs that a dry run would run: each names its rule and its wildcards."""
    output = project.run("--dry-run", *options).stdout
    jobs = re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE)
    total = re.search(r"^total +(\d+)$", output, re.MULTILINE)
    assert len(jobs) == len(set(jobs)) == (int(total[1]) - 1 if total else 0), output  # `all` has no message
    assert jobs or "Nothing to be done" in output
    return set(jobs)


def training(*models):
    return {f"Train {model}" for model in models}


def classifying(*models):
    return {f"Classify tiny with {model}" for model in models}


def explaining(*models, methods=METHODS):
    return {f"Explain {model} on tiny with {method}" for model in models for method in methods}


def scoring(*models, methods=METHODS):
    return {f"Compare {method} of {model} with human maps" for model in models for method in methods}


CONTROL_MAPS = {f"Make the control maps {name} for tiny" for name in CONTROLS}
CEILING = {"Find the agreement between people on tiny"}
AGGREGATES = {"Aggregate the scores of tiny"}
TABLE = {"Make table dcls of tiny"}
SCORE_FIGURES = {"Draw alignment of tiny", "Draw accuracy_alignment of tiny"}
MAP_FIGURES = {"Draw qualitative of tiny"}
FIGURES = SCORE_FIGURES | MAP_FIGURES
FROM_SCORES = AGGREGATES | TABLE | SCORE_FIGURES


def change_study(project, *path, value):
    """Make the study the tiny one with one key changed, as in ``catalog, models, tiny_resnet, title``."""
    study = json.loads(json.dumps(TINY))  # no part shared between models
    place = study
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
    project.write_study(study)


def edit_code(project, name):
    """Add a statement to a Python file."""
    path = project.path / name
    path.write_text(f"{path.read_text()}\nEDITED = True\n")


def test_finished_study_has_nothing_to_do(copied):
    assert planned(copied) == set()


def test_changed_model_reruns_that_model_alone(copied):
    change_study(copied, "catalog", "models", "tiny_resnet", "train", "learning_rate", value=0.003)
    model = "tiny_resnet"
    affected = training(model) | classifying(model) | explaining(model) | scoring(model)
    assert planned(copied) == affected | FROM_SCORES | MAP_FIGURES


def test_number_of_gpus_is_no_part_of_the_result(copied):
    change_study(copied, "catalog", "models", "tiny_resnet", "train", "gpu", value=2)
    assert planned(copied) == set()


def test_changed_target_layer_explains_again_without_training(copied):
    change_study(copied, "catalog", "models", "tiny_resnet", "target_layer", value="layer3")
    assert planned(copied) == explaining("tiny_resnet") | scoring("tiny_resnet") | FROM_SCORES | MAP_FIGURES


def test_changed_threshold_rescores_its_method(copied):
    copied.edit("config/catalog/methods.yaml", "{floor: 0.3}", "{floor: 0.5}")
    affected = scoring(*MODELS, methods=["threshold_gradcam"])
    assert planned(copied) == affected | FROM_SCORES | MAP_FIGURES


def test_changed_target_explains_with_its_method(copied):
    change_study(copied, "catalog", "methods", "gradcam", "target", value="predicted")
    affected = explaining(*MODELS, methods=["gradcam"]) | scoring(*MODELS, methods=["gradcam"])
    assert planned(copied) == affected | FROM_SCORES | MAP_FIGURES


def test_one_stated_ceiling_for_another_only_aggregates(copied):
    change_study(copied, "catalog", "datasets", "tiny", "human_ceiling", value=0.7)
    copied.run("--touch")
    change_study(copied, "catalog", "datasets", "tiny", "human_ceiling", value=0.8)
    assert planned(copied) == CEILING | FROM_SCORES


@pytest.mark.parametrize("kind", ["models", "methods"])
def test_changed_title_remakes_tables_and_figures(copied, kind):
    name = {"models": "tiny_resnet", "methods": "gradcam"}[kind]
    change_study(copied, "catalog", kind, name, "title", value="Another title")
    assert planned(copied) == TABLE | FIGURES


def test_comments_and_order_rerun_nothing(copied):
    def turn(value):
        """Reverse the order of all keys."""
        return {key: turn(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    for path in [*(copied.path / "config/catalog").glob("*.yaml"), copied.path / "study.yaml"]:
        content = turn(yaml.safe_load(path.read_text()))
        path.write_text("# A comment.\n" + yaml.safe_dump(content, sort_keys=False))
    assert planned(copied) == set()


def test_touched_files_rerun_nothing(copied):
    for folder in ("camstudy", "workflow", "config"):
        for path in (copied.path / folder).rglob("*"):
            path.touch()
    assert planned(copied) == set()
    # Snakemake by itself goes by the times of scripts.
    for path in (copied.path / "scripts").iterdir():
        path.touch()
    assert planned(copied, "--profile", "profiles/local") == set()


def test_edited_metric_rescores_without_explaining(copied):
    edit_code(copied, "camstudy/metrics/alignment.py")
    rescored = scoring(*MODELS) | scoring("control", methods=CONTROLS) | CEILING
    assert planned(copied) == rescored | FROM_SCORES | MAP_FIGURES


def test_edited_postprocess_rescores_without_explaining(copied):
    edit_code(copied, "camstudy/explain/postprocess.py")
    assert planned(copied) == scoring(*MODELS) | scoring("control", methods=CONTROLS) | FROM_SCORES | MAP_FIGURES


def test_edited_method_explains_again_without_training(copied):
    edit_code(copied, "camstudy/explain/cam.py")
    assert planned(copied) == explaining(*MODELS) | scoring(*MODELS) | FROM_SCORES | MAP_FIGURES


def test_edited_control_leaves_the_models(copied):
    edit_code(copied, "camstudy/explain/controls.py")
    assert planned(copied) == CONTROL_MAPS | scoring("control", methods=CONTROLS) | FROM_SCORES


def test_edited_statistics_only_aggregate(copied):
    edit_code(copied, "camstudy/statistics.py")
    assert planned(copied) == FROM_SCORES


def test_edited_table_remakes_the_table(copied):
    edit_code(copied, "camstudy/tables/dcls.py")
    assert planned(copied) == TABLE


def test_edited_figures_are_drawn_again(copied):
    for path in (copied.path / "camstudy/figures").glob("*.py"):
        edit_code(copied, path.relative_to(copied.path))
    assert planned(copied) == FIGURES


def test_edited_script_reruns_its_rule(copied):
    edit_code(copied, "scripts/make_table.py")
    assert planned(copied, "--profile", "profiles/local") == TABLE
