"""Shared fixtures: a copy of the project to run in, and a study small enough for tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "camstudy", "config", "envs", "profiles", "scripts", "workflow")

# The demo in small: two models that start at random, so that a test needs no weights and a minute at most.
TINY = {
    "study": "tiny",
    "dataset": "tiny",
    "models": ["tiny_resnet", "tiny_resnet_dcls"],
    "methods": ["gradcam", "threshold_gradcam"],
    "controls": ["random", "center_bias", "human_split_half"],
    "comparisons": [{"baseline": "tiny_resnet", "variant": "tiny_resnet_dcls"}],
    "statistics": {"resamples": 199},
    "qualitative": {"n_images": 2},
    "figures": ["alignment", "accuracy_alignment", "qualitative"],
    "explain": {"chunk_size": 8, "batch_size": 4},
    "device": "cpu",
    "threads": {"prepare": 1, "train": 1, "explain": 1},
    "catalog": {
        "datasets": {
            "tiny": {"source": "digits", "split": "val", "n_images": 24},
            "tiny_train": {"source": "digits", "split": "train", "n_images": 96, "human_ceiling": None},
        },
        "models": {},
    },
}
RESNET = {
    "arch": "timm.models.resnet.ResNet",
    "kwargs": {
        "block": "import:timm.models.resnet.BasicBlock",
        "layers": [1, 1, 1, 1],
        "channels": [8, 12, 16, 24],
        "stem_width": 8,
        "output_stride": 16,
    },
    "num_classes": 10,
    "input": {"size": 64, "crop_pct": 1.0},
    "train": {"dataset": "tiny_train", "epochs": 3, "batch_size": 16, "learning_rate": 0.002},
}
DCLS = {"dcls": {"replace": "conv3x3", "kernel_size": 7, "kernel_count": 5, "version": "v0"}}
TINY["catalog"]["models"] = {
    "tiny_resnet": RESNET | {"title": "ResNet"},
    "tiny_resnet_dcls": RESNET | {"title": "ResNet-DCLS", "variant": DCLS},
}


class Project:
    """A copy of the project in a directory of its own, with the tiny study in `study.yaml`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, path / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, path / part)
        self.write_study(TINY)

    def write_study(self, study: dict) -> None:
        (self.path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2"]
        return [*snakemake, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        # Only what the workflow itself sets may make the library importable.
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess:
        where = {"cwd": self.path, "env": self.environment, "timeout": timeout}
        done = subprocess.run(self.command(*arguments), **where, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a whole run of the tiny study. Tests that change it work on a copy: see `copied`."""
    project = Project(tmp_path_factory.mktemp("finished"))
    project.run()
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, times of all files kept, for a test to change."""
    project = Project.__new__(Project)
    project.path = tmp_path / "project"
    subprocess.run(["cp", "-a", str(finished.path), str(project.path)], check=True)
    return project
