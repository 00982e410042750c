"""The rules as Snakemake knows them: identities of wildcards alone, small inputs, the paths that the package builds."""

import inspect
import os
import re
from pathlib import Path

import pytest
import yaml
from conftest import TINY, Project
from planning import FORKS

from camstudy.core.names import CONTROL
from camstudy.pipeline import paths

LARGE = (".safetensors", ".tfrecord", ".zarr", ".pt")
# Tables of a study's own are small: means, not images.
PER_IMAGE = "results/scores/"
UNIDENTIFIED = {"all", "demo_weights", "plan", "records"}


def _describe(path, queue):
    os.chdir(path)
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        config = ConfigSettings(configfiles=[path / "study.yaml"])
        workflow = api.workflow(ResourceSettings(cores=1), config_settings=config, snakefile=path / "Snakefile")
        workflow.dag(DAGSettings())
        planning = workflow._workflow
        rules = {}
        for rule in planning.rules:
            identity = dict(rule.params.items()).get("identity") if hasattr(rule.params, "items") else None
            arguments = [*inspect.signature(identity).parameters] if callable(identity) else None
            outputs = [str(output) for output in rule.output]
            rules[rule.name] = {"identity": arguments, "outputs": outputs, "gpu": "gpu" in rule.resources}
        planning._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        planning._build_dag()
        jobs = [(job.rule.name, [str(f) for f in job.input], [str(f) for f in job.output]) for job in planning.dag.jobs]
    queue.put((rules, jobs))


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Rules with the arguments of their identity and their outputs, and the jobs of the tiny study."""
    path = tmp_path_factory.mktemp("rules")
    project = Project(path)
    project.write_study(
        TINY | {"protocols": ["human_maps", "rise_fast", "boxes", "cascade"], "tables": ["dcls", "cost"]}
    )
    queue = FORKS.SimpleQueue()
    process = FORKS.Process(target=_describe, args=(path, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def test_identities_are_functions_of_wildcards_alone(described):
    """Snakemake does not compare what takes `input`, and what takes more than wildcards differs by attempt."""
    rules, _ = described
    assert {name for name, rule in rules.items() if rule["identity"] is None} == UNIDENTIFIED
    assert all(len(rule["identity"]) == 1 for name, rule in rules.items() if name not in UNIDENTIFIED)


def test_no_input_is_large(described):
    """Snakemake compares the content of inputs up to 1 MB; of larger ones only the times."""
    _, jobs = described
    taken = {file for _, inputs, _ in jobs for file in inputs}
    assert len(taken) > 20
    for file in taken:
        assert not file.endswith(LARGE), file
        assert not (file.startswith(PER_IMAGE) and file.endswith(".parquet")), file


def test_run_records_are_nobodys_input(described):
    assert not [file for _, inputs, _ in described[1] for file in inputs if file.endswith(".run.json")]


def test_patterns_of_the_rules_are_the_paths_of_the_package(described):
    rules, _ = described
    # Without the constraints of wildcards.
    first = {
        name: re.sub(r"\{(\w+),[^}]*\}", r"{\1}", rule["outputs"][0]) for name, rule in rules.items() if rule["outputs"]
    }
    dataset, model, method, protocol = "{dataset}", "{model}", "{method}", "{protocol}"
    expected = {
        "make_digits": paths.shard(dataset, "{shard}"),
        "fetch_shard": paths.shard(dataset, "{shard}"),
        "fetch_archive": paths.archive("{archives}", "{file}"),
        "prepare_dataset": paths.dataset(dataset),
        "prepare_photographs": paths.dataset(dataset),
        "prepare_fixations": paths.fixations(dataset),
        "fetch_weights": paths.weights(model),
        "check_model": paths.check(model),
        "train": paths.model(model),
        "assemble_model": paths.model(model),
        "cost": paths.cost(protocol, model),
        "time_method": paths.timing(protocol, dataset, model, method),
        "explain": paths.heatmaps(dataset, model, method, "{part}"),
        "explain_control": paths.heatmaps(dataset, CONTROL, method),
        "prediction": paths.prediction(dataset, model),
        "human_ceiling": paths.ceiling(dataset),
        **dict.fromkeys(("score", "score_on_model"), paths.scores(dataset, model, method, protocol, "{part}")),
        "record_study": paths.study("{study}", "config.yaml"),
        **{
            f"aggregate_{what}": paths.study("{study}", f"{what}.parquet")
            for what in (
                *("scores", "sweep", "layers", "layer_scores", "curves", "steps", "similarity", "seeds"),
                *("redrawn", "by_prediction"),
            )
        },
        "make_table": paths.study("{study}", "tables/{table}.csv"),
        **dict.fromkeys(("draw_scores", "draw_maps"), paths.study("{study}", "figures/{figure}.png")),
        "export_demo_weights": "results/demo_weights/{model}.json",
    }
    assert first == expected


def test_every_output_lies_where_the_map_of_results_says(described):
    shown = (Path(__file__).parents[2] / "Snakefile").read_text()
    for _, _, outputs in described[1]:
        for output in outputs:
            assert f"── {output.split('/')[1]}/" in shown, output


def test_all_rules_with_a_gpu_are_in_the_examples_of_a_site(described):
    """Which a user copies: a rule that is not there is sent to a partition without GPUs."""
    root = Path(__file__).parents[2]
    rules = {name for name, rule in described[0].items() if rule["gpu"]}
    assert len(rules) > 5
    table = yaml.safe_load((root / "config/resources.yaml").read_text())["resources"]["rules"]
    assert {name for name, row in table.items() if row.get("gpu")} == rules
    _, _, commented = (root / "profiles/slurm/config.yaml").read_text().partition("# set-resources:\n")
    page = (root / "docs/hpc.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    for shown in (yaml.safe_load(commented.replace("#   ", "")), yaml.safe_load(page)["set-resources"]):
        assert shown.keys() == rules
        assert len({str(resources) for resources in shown.values()}) == 1
