"""The shipped configurations can be run, mistakes in them are told, and the workflow keeps its own rules."""

import ast
import contextlib
import importlib.metadata
import json
import re
import sys

import pytest
import yaml
from conftest import ROOT, TINY, Project

from camstudy.core.code import Code
from camstudy.pipeline.head import identified, registered
from camstudy.pipeline.results import Nameless, results
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.written import Written

pytestmark = pytest.mark.quick

CONFIGS = ["config/config.yaml", *(str(path.relative_to(ROOT)) for path in ROOT.glob("config/studies/*.yaml"))]
ATTENTION = ("raw_attention", "attention_rollout", "gae", "class_embedding_projection")
PACKAGES = importlib.metadata.packages_distributions()
ENVIRONMENTS = {path.name: path for path in ROOT.glob("envs/*.yaml")}


def rules():
    """Return the text of every rule with a script, by name; the target rules of the Snakefile have none."""
    found = {}
    for path in ROOT.glob("workflow/rules/*.smk"):
        _, *blocks = re.split(r"^rule (\w+):\n", path.read_text(), flags=re.MULTILINE)
        found |= dict(zip(blocks[::2], blocks[1::2], strict=True))
    return found


RULES = rules()
SCORED = r"Score (\S+) of (\S+) on ([^/\s]+)(/\S+)? by (\S+)\n"


def directive(rule, name):
    """Return what a directive of a rule holds, which is one quoted text."""
    return re.search(rf'^    {name}:\n        "(.*)",?$', RULES[rule], re.MULTILINE)[1]


def pins(path):
    """Return version by name of the packages that an environment gets from PyPI."""
    (pip,) = (part["pip"] for part in yaml.safe_load(path.read_text())["dependencies"] if isinstance(part, dict))
    return dict(line.split("==") for line in pip)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which nothing was run."""
    return Project(tmp_path_factory.mktemp("project"))


def snakemake(project, *arguments):
    """Run Snakemake on the default study; return its exit status and all that it wrote."""
    done = project.execute([sys.executable, "-m", "snakemake", "--cores", "2", *arguments])
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("config", CONFIGS)
def test_shipped_studies_can_be_planned(project, config):
    study = yaml.safe_load((ROOT / config).read_text())
    datasets = yaml.safe_load((ROOT / "config/catalog/datasets.yaml").read_text())["catalog"]["datasets"]
    for root in (entry["root"] for entry in datasets.values() if "root" in entry):
        # What users fetch themselves; to plan, its files need not be there.
        (project.path / root).mkdir(parents=True, exist_ok=True)
    status, output = snakemake(project, "--dry-run", "--configfile", config)
    assert status == 0, output
    swept = study["layer_sweep"] if "layer_faithfulness" in study["tables"] else {"methods": [], "stages": []}
    methods = study["methods"] + [f"{name}_stage{stage}" for name in swept["methods"] for stage in swept["stages"]]
    models = [
        name + seed for name in study["models"] for seed in [f"_seed{seed}" for seed in study.get("seeds", [])] or [""]
    ]
    for model in models:
        for method in methods:
            planned = re.search(rf"Explain {model} on {study['dataset']} with {method}(/00000-01023)?\n", output)
            # Raw attention is of models with a stream, or with attention among all tokens, as others of attention.
            attends = model.startswith(("vit", "deit", "dino", "clip"))
            streams = model.endswith(("_ca", "_castream")) and method == "raw_attention"
            plain = re.sub("_(predicted|embedding)$", "", method) not in ATTENTION
            # Networks without a classifier have methods of their own.
            fitting = method.endswith("_embedding") == model.startswith(("dino_", "clip"))
            assert bool(planned) == (fitting and (plain or attends or streams)), (model, method)
    # What is made is known as the study's: for `camstudy results`, which offers to delete all else.
    made = [
        *(
            f"heatmaps/{data}/{model}/{maps}"
            for model, data, maps in re.findall(r"Explain (\S+) on (\S+) with (\S+)\n", output)
        ),
        *(f"heatmaps/{data}/control/{maps}" for maps, data in re.findall(r"control maps (\S+) for (\S+)\n", output)),
        *(f"scores/{d}/{model}/{maps}/{p}{part}" for maps, model, d, part, p in re.findall(SCORED, output)),
    ]
    known = set(records_known(project.path, study))
    assert [path for path in made if f"results/{path}.json" not in known] == []
    assert made


def records_known(folder, study):
    """Return the paths of the records that a study in a folder is made from."""
    with contextlib.chdir(folder):
        found, *_ = identified(validate(with_catalogs(study, folder), registered(folder), check_files=False))
        return [path for path, _ in results(found, Nameless())]


def test_demo_weights_can_be_planned(project):
    status, output = snakemake(project, "--dry-run", "demo_weights")
    assert status == 0, output
    records = {path.stem: json.loads(path.read_text()) for path in (ROOT / "config/weights").glob("*.json")}
    assert records.keys() == {path.stem for path in (ROOT / "config/weights").glob("*.safetensors")}
    made = [name for name, record in records.items() if record["made_by"] == "snakemake demo_weights"]
    assert len(made) >= 4
    for name in made:
        assert f"Export the demo weights {name}\n" in output


def test_a_start_without_a_profile_is_told_what_it_goes_by(project):
    project.write_study(TINY)
    without = snakemake(project, "--dry-run", "--configfile", "study.yaml")[1]
    assert "Snakemake goes by code and input here, too" in without
    assert "`--profile profiles/local`" in without
    told = snakemake(project, "--dry-run", "--configfile", "study.yaml", "--profile", "profiles/local")[1]
    assert "Snakemake goes by" not in told


def test_mistake_on_the_command_line(project):
    status, output = snakemake(project, "--dry-run", "--config", "metods=[gradcam]")
    assert status == 1
    assert "`metods` (--config): unknown key, did you mean `methods`?" in output
    assert "Traceback" not in output


def test_mistakes_in_a_study_file(project, tmp_path):
    study = {**TINY, "dataset": "tinny", "statistics": {"confidence": 95}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    status, output = snakemake(project, "--dry-run", "--configfile", str(tmp_path / "study.yaml"))
    assert status == 1
    assert "the configuration has 2 errors:" in output
    lines = Written(tmp_path / "study.yaml").lines
    where = {place: f"({tmp_path / 'study.yaml'}, line {line})" for place, line in lines.items()}
    assert f"`dataset` {where['dataset',]}: unknown dataset `tinny`, did you mean `tiny`?" in output
    place = where["statistics", "confidence"]
    assert f"`statistics.confidence` {place}: found 95, expected a number above 0 and below 1" in output
    assert "Traceback" not in output


def test_every_rule_has_a_script_and_every_script_a_rule():
    assert sorted({script(rule) for rule in RULES}) == sorted(path.stem for path in ROOT.glob("scripts/*.py"))
    for rule in RULES:
        assert directive(rule, "script") == f"../../scripts/{script(rule)}.py"


def script(rule):
    """Return a rule's script: of its name, but for maps that are scored with and without a network."""
    return rule.removesuffix("_on_model")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_it_does_and_where(rule):
    assert directive(rule, "conda").removeprefix("../../envs/") in ENVIRONMENTS
    assert directive(rule, "log").startswith(f"results/logs/{rule}/")
    if rule not in ("plan", "records"):  # which have no output: with a file of its own, each would run but once
        assert directive(rule, "benchmark").startswith(f"results/benchmarks/{rule}/")
    if rule != "plan":  # which is no step of the progress
        assert directive(rule, "message")


def test_files_stay_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 60
    for path in ROOT.glob("scripts/*.py"):
        assert len(path.read_text().splitlines()) < 60, path


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_have_the_versions_of_the_lock_file(name):
    lines = (line.partition(" ")[0] for line in (ROOT / "requirements.lock").read_text().splitlines())
    locked = dict(line.split("==") for line in lines if "==" in line)
    locked = {normal(package): version for package, version in locked.items()}
    for package, version in pins(ENVIRONMENTS[name]).items():
        assert locked[normal(package)] == version, package


def module_file(name):
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("rule", RULES)
def test_environments_have_what_their_rules_import(rule):
    name = f"scripts/{script(rule)}.py"
    imported = set()
    modules = {module for module, _ in Code().slice(name)} - {name}
    for path in [ROOT / name, *map(module_file, modules)]:
        # Imports within functions are for other callers, or for type checkers.
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    needed = {normal(PACKAGES[name][0]) for name in imported - sys.stdlib_module_names - {"camstudy"}}
    environment = ENVIRONMENTS[directive(rule, "conda").removeprefix("../../envs/")]
    assert needed <= set(map(normal, pins(environment)))
