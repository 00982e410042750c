"""A study in a repository of its own: the workflow by the path of its Snakefile, in another directory, as a module."""

import os
import sys
from pathlib import Path

import pytest
import yaml
from conftest import TINY
from planning import plan

ROOT = Path(__file__).parents[2]
PROFILE = ["--profile", str(ROOT / "profiles/local"), "--cores", "1"]
MODULE = """
configfile: "config/study.yaml"


module camstudy:
    snakefile:
        "{snakefile}"
    config:
        config{part}


use rule * from camstudy{names}


rule everything:
    default_target: True
    input:
        {rule},
    output:
        "paper.txt",
    shell:
        "cp {{input[0]}} {{output}}"
"""
NETWORKS = """
def small(num_classes=10):
    from torch import nn

    pooled = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*pooled, nn.Linear(4, num_classes))
"""


def dry_run(folder: Path, *arguments: str, status: int = 0) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "snakemake", *PROFILE, "--dry-run", *arguments]
    done = plan(command, cwd=folder, env=env, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path):
    """A folder of a user's own with the tiny study, one model of which is in a plugin beside the study."""
    study = TINY | {"plugins": ["networks.py"], "models": ["small"], "comparisons": []}
    study |= {"tables": ["scores"], "figures": ["alignment"]}
    entry = {"arch": "networks.small", "num_classes": 10, "input": {"size": 32}, "train": {"dataset": "tiny_train"}}
    study["catalog"] = TINY["catalog"] | {"models": {"small": entry}}
    (tmp_path / "config").mkdir()
    (tmp_path / "config/study.yaml").write_text(yaml.safe_dump(study))
    (tmp_path / "config/networks.py").write_text(NETWORKS)
    return tmp_path


EXPLAIN = "Explain small on tiny with gradcam"


def test_the_snakefile_by_its_path(repository):
    output = dry_run(repository, "-s", str(ROOT / "Snakefile"), "--configfile", "config/study.yaml")
    assert EXPLAIN in output


def test_another_working_directory(repository, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    options = ["-s", str(ROOT / "Snakefile"), "--configfile", "config/study.yaml", "--directory", str(elsewhere)]
    assert EXPLAIN in dry_run(repository, *options)
    assert (elsewhere / ".snakemake").exists()
    assert not (repository / ".snakemake").exists()


def test_without_a_study_it_is_the_one_that_lies_there(repository):
    (repository / "config/study.yaml").rename(repository / "config/config.yaml")
    assert EXPLAIN in dry_run(repository, "-s", str(ROOT / "Snakefile"))


@pytest.mark.parametrize("nested", [False, True])
def test_as_a_module_with_a_configuration_of_its_own(repository, nested):
    path = repository / "config/study.yaml"
    if nested:
        study = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({"paper": "mine", "saliency": study}))
    names = {"part": '["saliency"]', "names": " as maps_*", "rule": "rules.maps_all.input"} if nested else {}
    names = {"part": "", "names": "", "rule": "rules.all.input"} | names
    (repository / "Snakefile").write_text(MODULE.format(snakefile=ROOT / "Snakefile", **names))
    output = dry_run(repository)
    assert EXPLAIN in output
    assert "rule everything:" in output
    assert "paper.txt" in output
    # Of the demo, which the workflow runs by itself, nothing.
    assert "mini" not in output
    assert EXPLAIN in dry_run(repository, "results/studies/tiny/figures/alignment.png")


def test_mistakes_in_the_configuration_of_a_module_have_their_line(repository):
    study = yaml.safe_load((repository / "config/study.yaml").read_text())
    text = yaml.safe_dump({"paper": "mine", "saliency": study | {"device": "gpu"}}, sort_keys=False)
    (repository / "config/study.yaml").write_text(text)
    named = {"part": '["saliency"]', "names": "", "rule": "rules.all.input"}
    (repository / "Snakefile").write_text(MODULE.format(snakefile=ROOT / "Snakefile", **named))
    line = text.splitlines().index("  device: gpu") + 1
    assert f"study.yaml, line {line}): found gpu (text)" in dry_run(repository, status=1)
