"""GPUs of a model, as a site's profile asks for them for all rules that use one, reach jobs as number and name."""

import os
from pathlib import Path

import pytest
import yaml
from conftest import Project
from planning import FORKS

ROOT = Path(__file__).parents[2]
SPELLINGS = [
    ({"gpu": "a100:1"}, {"gpu": 1, "gpu_model": "a100"}),
    ({"gpu": 2, "gpu_model": "h100"}, {"gpu": 2, "gpu_model": "h100"}),
    ({"gpu": 0, "gres": "gpu:a100:1"}, {"gpu": 0, "gres": "gpu:a100:1"}),
]


def _resources(path, stated, queue):
    os.chdir(path)
    from snakemake.api import SnakemakeApi
    from snakemake.cli import parse_set_resources
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        settings = ResourceSettings(cores=1, overwrite_resources=parse_set_resources(stated))
        config = ConfigSettings(config={"device": "cuda"}, configfiles=[path / "study.yaml"])
        workflow = api.workflow(settings, config_settings=config, snakefile=path / "Snakefile")
        workflow.dag(DAGSettings())
        planning = workflow._workflow
        planning._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        planning._build_dag()
        queue.put({job.rule.name: dict(job.resources.items()) for job in planning.dag.jobs})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("gpus"))


@pytest.mark.parametrize(("asked", "found"), SPELLINGS)
def test_a_site_asks_for_gpus_of_a_model(project, asked, found):
    page = (ROOT / "docs/hpc.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    rules = {rule: stated | asked for rule, stated in yaml.safe_load(page)["set-resources"].items()}
    # As Snakemake writes a profile's mapping.
    stated = [f"{rule}:{name}={value}" for rule, wanted in rules.items() for name, value in wanted.items()]
    queue = FORKS.SimpleQueue()
    process = FORKS.Process(target=_resources, args=(project.path, stated, queue))
    process.start()
    of = queue.get()
    process.join()
    for rule in ("train", "explain", "prediction"):
        assert found.items() <= of[rule].items(), of[rule]
        assert of[rule]["slurm_partition"] == "gpu"
    assert "gpu_model" not in of["score"]
