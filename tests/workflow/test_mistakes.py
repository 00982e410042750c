"""Forty mistakes as users make them: each is told in one message, which names key, file or line, before it spoils work.

All start with `camstudy run study.yaml`. Most are found when the study is planned, where a dry run shows the same.
"""

import copy
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import TINY
from planning import plan

from camstudy import cli

ROOT = Path(__file__).parents[2]
WITHOUT = object()


def changed(**changes: object) -> str:
    """Return the tiny study with keys set, or taken away, at places such as ``catalog__models__tiny_resnet``."""
    study = copy.deepcopy(TINY)
    for place, value in changes.items():
        *outer, last = place.split("__")
        part = study
        for key in outer:
            part = part.setdefault(key, {})
        if value is WITHOUT:
            del part[last]
        else:
            part[last] = value
    return yaml.safe_dump(study, sort_keys=False)


def model(**changes: object) -> str:
    return changed(**{f"catalog__models__tiny_resnet__{key}": value for key, value in changes.items()})


def data(**entry: object) -> str:
    return changed(dataset="mine", catalog__datasets__mine=entry)


DCLS = {"replace": "conv3x3", "kernel_size": 3, "kernel_count": 50, "version": "v0"}
PLAIN = yaml.safe_dump(TINY, sort_keys=False)
LINES = PLAIN.splitlines()
AT = rf"\({re.escape('{study}')}, line \d+\): "  # where a key of the study stands

# What is written, with which options, and what is told of it: a key or a place, what was found, what to do.
STUDIES = {
    "a key is misspelt": (PLAIN + "metods: [gradcam]\n", rf"`metods` {AT}unknown key, did you mean `methods`\?"),
    "a key within a key, with a dot": (
        PLAIN + "statistics.alpha: 0.1\n",
        rf"`statistics\.alpha` {AT}unknown key; write `statistics: \{{alpha: \.\.\.\}}`",
    ),
    "a key of a training is misspelt": (
        model(train={"dataset": "tiny_train", "epoch": 3}),
        rf"`catalog\.models\.tiny_resnet\.train\.epoch` {AT}unknown key, did you mean `epochs`\?",
    ),
    "a model is misspelt": (
        changed(models=["tiny_resnt"], comparisons=[]),
        rf"`models\[0\]` {AT}unknown model `tiny_resnt`, did you mean `tiny_resnet`\?",
    ),
    "a method is misspelt": (
        changed(methods=["gradcm"]),
        rf"`methods\[0\]` {AT}unknown method `gradcm`, did you mean `gradcam`\?",
    ),
    "a data set is misspelt": (
        changed(dataset="tinny"),
        rf"`dataset` {AT}unknown dataset `tinny`, did you mean `tiny`\?",
    ),
    "a protocol is misspelt": (
        changed(protocols=["human_map"]),
        rf"`protocols\[0\]` {AT}unknown protocol `human_map`, did you mean `human_maps`\?",
    ),
    "a table is misspelt": (changed(tables=["dcsl"]), rf"`tables\[0\]` {AT}found dcsl .*did you mean `dcls`\?"),
    "a source of data is misspelt": (
        data(source="imagnet"),
        rf"`catalog\.datasets\.mine\.source` {AT}found imagnet .*did you mean `imagenet`\?",
    ),
    "a parameter of a method is misspelt": (
        changed(catalog__methods={"sharp": {"method": "rise", "parameters": {"mask": 100}}}),
        rf"`catalog\.methods\.sharp\.parameters` {AT}.*`mask`, did you mean `n_masks`\?",
    ),
    "a metric of another family": (
        changed(
            protocols=["own"],
            catalog__protocols={"own": {"family": "agreement", "metrics": ["spearman", "insertion_auc"]}},
        ),
        rf"`catalog\.protocols\.own\.metrics\[1\]` {AT}unknown metric of agreement `insertion_auc`; valid names: ",
    ),
    "a comparison with a model that is not in the study": (
        changed(models=["tiny_resnet"]),
        rf"`comparisons\[0\]\.variant` {AT}`tiny_resnet_dcls` is not in `models`",
    ),
    "text for a number": (
        model(train={"dataset": "tiny_train", "epochs": "many"}),
        rf"`catalog\.models\.tiny_resnet\.train\.epochs` {AT}found many \(text\), expected an integer of at least 1",
    ),
    "a number that YAML takes for text": (
        model(train={"dataset": "tiny_train", "learning_rate": "1e-3"}),
        rf"train\.learning_rate` {AT}found .*\(text\).*; write 1\.0e-03",
    ),
    "a name for a list": (changed(methods="gradcam"), rf"`methods` {AT}found gradcam .*; write \[gradcam\]"),
    "a number for a name": (changed(study=2024), rf"`study` {AT}found 2024, expected .*; put quotes around it"),
    "a fraction for a whole number": (changed(seed=1.5), rf"`seed` {AT}found 1\.5, expected an integer of at least 0"),
    "yes for text": (changed(study=True), rf"`study` {AT}found true.*YAML reads yes, no, on and off as true and false"),
    "a name with a path": (changed(study="my/study"), rf"`study` {AT}found my/study .*expected a name of at most 100"),
    "images that are too small": (
        model(input={"size": 8}),
        rf"`catalog\.models\.tiny_resnet\.input\.size` {AT}found 8, expected an integer of at least 16",
    ),
    "images that no memory holds": (
        model(input={"size": 10**9}),
        rf"input\.size` {AT}found 1000000000, expected an integer of at least 16 and at most 8192",
    ),
    "another number of classes": (
        model(num_classes=5),
        r"`catalog\.models\.tiny_resnet\.num_classes`: found 5, but `tiny_train`.* has 10 classes; take a network",
    ),
    "a parameter of a method that is out of range": (
        changed(catalog__methods__mine={"method": "rise", "parameters": {"n_masks": -5}}),
        rf"`catalog\.methods\.mine\.parameters` {AT}method `rise`: `n_masks` must be at least 1, found -5",
    ),
    "more taps than the kernel has places": (
        model(variant={"dcls": DCLS}),
        rf"variant\.dcls\.kernel_count` {AT}found 50, expected at most kernel_size x kernel_size \(9\)",
    ),
    "a warm-up as long as the training": (
        model(train={"dataset": "tiny_train", "epochs": 2, "warmup_epochs": 2}),
        rf"train\.warmup_epochs` {AT}found 2, expected less than `epochs` \(2\)",
    ),
    "a model without weights": (
        model(train=WITHOUT),
        rf"`catalog\.models\.tiny_resnet\.weights` {AT}missing, and the model is not trained; add `train`",
    ),
    "weights that are not there": (
        model(weights={"path": "nowhere.safetensors"}),
        rf"`catalog\.models\.tiny_resnet\.weights\.path` {AT}.*nowhere\.safetensors",
    ),
    "photographs that are not there": (
        data(source="imagenet", root="/nowhere"),
        rf"`catalog\.datasets\.mine\.root` {AT}.*/nowhere",
    ),
    "a plugin that is not there": (
        changed(plugins=["my_methods.py"]),
        rf"`plugins\[0\]` {AT}no file `my_methods\.py` in .*; put it there, or correct the path",
    ),
    "a plugin that is no module": (
        changed(plugins=["study.yaml"]),
        rf"`plugins\[0\]` {AT}plugin study\.yaml: found study\.yaml, expected a Python module",
    ),
    "no data set": (changed(dataset=WITHOUT), r"`dataset` \(.*study\.yaml\): missing, expected a dataset name"),
    "no models": (changed(models=WITHOUT), r"`models` \(.*study\.yaml\): missing, expected"),
    "no methods": (changed(methods=WITHOUT), r"`methods` \(.*study\.yaml\): missing, expected"),
    "a tab": ("study: tiny\ncatalog:\n\tmodels: {}\n", r"study\.yaml, line 3, column 1: .*indented by spaces.* a tab"),
    "an open bracket": (
        "study: tiny\nmodels: [a, b\nseed: 1\n",
        r"study\.yaml, line 3, column \d+: .*begins in line 2",
    ),
    "a key twice": (
        PLAIN + "methods: [gradcam]\n",
        rf"study\.yaml, line {len(LINES) + 1}: the key `methods` stands in line "
        rf"{LINES.index('methods:') + 1}, too, .*; put them together",
    ),
    "a list for a study": ("- tiny\n", r"study\.yaml: holds list, expected keys with values"),
    "an empty file": ("# later\n", r"study\.yaml: is empty, expected keys with values"),
    "a tab that only some readers of YAML take": (
        PLAIN.replace("study: tiny", "study:\ttiny"),
        r"study\.yaml, line 1, column 7: .*indented by spaces.* a tab: `study:",
    ),
    "no GPU of the name `gpu`": (changed(device="gpu"), rf"`device` {AT}found gpu .*one of `auto`, .*; write cuda"),
    "Apple's GPU": (changed(device="mps"), rf"`device` {AT}found mps .*Apple's GPUs are not supported: write cpu"),
}
OPTIONS = {
    "a file that is not there": (
        ["--configfile", "more.yaml"],
        r"error: more\.yaml: no such file in .*; correct the path",
    ),
    "a key within a key": (
        ["--config", "statistics.alpha=0.1"],
        r"error: --config statistics\.alpha=0\.1: found .* `statistics`.*; write `statistics: \{alpha: 0\.1\}` into",
    ),
    "a key without a value": (
        ["--config", "device"],
        r"error: --config device: found no `=`; write `--config device=VALUE`",
    ),
    "a value that is not allowed": (["--config", "device=gpu"], r"`device` \(--config\): found gpu .*; write cuda"),
    "an option of nobody": (["--forcrun", "train"], r"unrecognized arguments: --forcrun.*did you mean `--forcerun`\?"),
    "a file of no rule": (
        ["results/nonsense"],
        r"`results/nonsense`: no rule makes it; name a rule \(.*all.*\), or a file, such as results/",
    ),
    "a file of a model that is misspelt": (
        ["results/models/tiny_resnett/model.json"],
        r"`results/models/tiny_resnett/model\.json`: unknown model `tiny_resnett`, did you mean `tiny_resnet`\?",
    ),
    "a table of another study": (
        ["results/studies/tiyn/tables/dcls.csv"],
        r"`results/studies/tiyn/tables/dcls\.csv`: unknown study `tiyn`, did you mean `tiny`\?",
    ),
    "a store for its record": (
        ["results/data/tiny.zarr"],
        r"no rule makes it, did you mean `results/data/tiny\.json`\?",
    ),
    "a file that is there, and nobody makes": (["study.yaml"], r"`study\.yaml`: no rule makes it; name a rule \("),
    "threads without a number": (["--set-threads", "train"], r"error: Snakemake's options: .*'train'"),
    "a rule of many files": (["train"], r"`train`: the rule makes many files; name one, such as results/models/tiny_"),
    "a rule to run anew": (["--forcerun", "trian"], r"`trian`: no rule makes it, did you mean `train`\?"),
}


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """`camstudy run study.yaml`, as a dry run, or another verb; returns status and all that is printed."""
    options = ["--dry-run"]

    def called(command, *, executable, env):
        assert command[0] == "snakemake"
        dry = [] if command[-1] == "plan" else options
        done = plan([sys.executable, "-m", *command, *dry], cwd=tmp_path, env=env, timeout=600)
        sys.stdout.write(done.stdout + done.stderr)
        return done

    def run(text, *arguments, verb="run", dry=True):
        options[:] = ["--dry-run"] if dry else []
        (tmp_path / "study.yaml").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("PYTHONPATH", raising=False)
        monkeypatch.setattr(cli, "subprocess", SimpleNamespace(run=called))
        status = cli.main([verb, "study.yaml", *arguments])
        return status, "".join(capfd.readouterr())

    return run


def assert_told(output: str, told: str, study: Path) -> None:
    """Assert that a message is there once, and nothing of where in the program it came from."""
    message = told.replace(re.escape("{study}"), re.escape(str(study)))
    assert len(re.findall(message, output)) == 1, f"{message}\n{output}"
    assert len(re.findall("(?i)error: |[0-9]+ errors?:$", output, re.MULTILINE)) <= 2, output
    for noise in ("Traceback", "WorkflowError", "Exception", ".smk", 'File "'):
        assert noise not in output, output


@pytest.mark.parametrize(("text", "told"), STUDIES.values(), ids=STUDIES)
def test_mistakes_in_a_study(run, tmp_path, text, told):
    status, output = run(text)
    assert status == 1, output
    assert_told(output, told, "study.yaml" if "line" not in told else tmp_path / "study.yaml")
    assert not list(tmp_path.glob("results/*/*"))


def test_a_plan_tells_mistakes_as_a_run_does(run, tmp_path):
    text, told = STUDIES["a parameter of a method that is out of range"]
    status, output = run(text, verb="plan")
    assert status == 1, output
    assert_told(output, told, tmp_path / "study.yaml")


@pytest.mark.parametrize(("arguments", "told"), OPTIONS.values(), ids=OPTIONS)
def test_mistakes_after_the_study(run, tmp_path, arguments, told):
    status, output = run(PLAIN, *arguments)
    assert status == 1, output
    assert_told(output, told, tmp_path / "study.yaml")
    assert not list(tmp_path.glob("results/*/*"))


def test_no_slurm(run, monkeypatch):
    # Of commands, the environment's alone.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    status, output = run(PLAIN, "--profile", "slurm")
    assert status == 1
    assert re.fullmatch(r"error: .*`sbatch`, which is not in reach here; log in to a submit node.*\n", output)


def test_a_study_that_is_not_there(run, tmp_path, capfd):
    run(PLAIN, "--dry-run")
    (tmp_path / "study.yaml").unlink()
    assert cli.main(["run", "study.yaml"]) == 1
    assert re.search(
        r"error: study\.yaml: no such file in .*; correct the path, or name a study", capfd.readouterr().err
    )


def test_names_with_dots_are_fine(run):
    names = {"study": "tiny.v2", "dataset": "tiny.v2", "models": ["resnet.v2"], "comparisons": []}
    study = copy.deepcopy(TINY) | names | {"figures": [], "tables": ["scores"]}
    study["catalog"]["datasets"]["tiny.v2"] = study["catalog"]["datasets"].pop("tiny")
    study["catalog"]["models"] = {"resnet.v2": study["catalog"]["models"]["tiny_resnet"]}
    status, output = run(yaml.safe_dump(study))
    assert status == 0, output
    assert "Explain resnet.v2 on tiny.v2 with gradcam" in output


@contextmanager
def disk(folder: Path, megabytes: int, options: str = ""):
    """A disk of so many MB in a folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


mounts = pytest.mark.skipif(not may_mount(), reason="only root may mount a disk, and not in every container")


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake itself in a folder with a study; return what it printed, after it has failed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "study.yaml"]
    command += ["--profile", str(ROOT / "profiles/local"), "--cores", "1", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


@mounts
def test_disks_that_are_full_or_read_only(tmp_path):
    # Before anything runs, by either command.
    with disk(tmp_path / "full", 1) as folder:
        (folder / "study.yaml").write_text(PLAIN)
        assert_told(snakemake(folder), r"hardly any space is left on its disk \(.* free .*; make room", folder)
        command = [sys.executable, "-m", "camstudy.cli", "run", "study.yaml"]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 1
        assert re.fullmatch(r"error: results: hardly any space is left on its disk \(.*\n", done.stderr)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert_told(snakemake(folder), "lies on a disk that is mounted read-only; work where you may write", folder)
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert re.fullmatch(r"error: .*: lies on a disk that is mounted read-only; .*\n", done.stderr)


@mounts
def test_a_disk_that_fills_up_during_a_job(tmp_path):
    with disk(tmp_path / "small", 7) as folder:
        (folder / "study.yaml").write_text(changed(catalog__datasets__tiny__n_images=400))
        output = snakemake(folder, "results/data/tiny.json")
        assert_told(output, r"error: results: no space is left on its disk \(.*; make room", folder)
        assert "Traceback" not in output
        log = (folder / "results/logs/make_digits/tiny-0.log").read_text()
        assert "no space is left on its disk" in log
        assert "Traceback" not in log
        assert not (folder / "results/raw/tiny/0.json").exists()


@pytest.mark.parametrize("place", ["results", ".snakemake", "results/logs"])
def test_a_file_in_the_place_of_a_folder(run, tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    status, output = run(PLAIN, dry=False)
    assert status == 1, output
    assert_told(output, rf"rror: {re.escape(place)}: is a file, and a folder is to be there; move it away", tmp_path)
    assert not (tmp_path / "results/raw").exists()


def test_a_gpu_that_is_not_there_is_missed_before_any_job(tmp_path):
    (tmp_path / "study.yaml").write_text(changed(device="cuda"))
    output = snakemake(tmp_path)
    assert_told(
        output, r"Error: `device: cuda`, but torch .* finds no GPU on this machine\. .*`--config device=cpu`", tmp_path
    )
    assert not (tmp_path / "results/raw").exists()
    assert not (tmp_path / "results/models").exists()


def test_layers_and_stages_that_a_network_lacks_are_missed_before_it_is_trained(tmp_path):
    study = copy.deepcopy(TINY) | {"methods": ["gradcam", "late"]}
    study["catalog"]["models"]["tiny_resnet"]["target_layer"] = "layer5"
    study["catalog"]["methods"] = {"late": {"method": "gradcam", "stage": 9}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    output = snakemake(tmp_path, "results/models/tiny_resnet/model.json", "results/models/tiny_resnet_dcls/model.json")
    assert "error: `catalog.models.tiny_resnet`: target_layer: ResNet has no module `layer5`; near" in output
    assert re.search(r"error: method `late` of model `tiny_resnet_dcls`: stage: .*9", output)
    assert "Traceback" not in output
    assert not list(tmp_path.glob("results/models/*/model.json"))
    assert not (tmp_path / "results/logs/train").exists()
