"""Shared fixtures: a copy of the project to run in, and a study small enough for tests; the tier of each test."""

import os
import random
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import warm
import yaml
from filelock import FileLock
from pictures import looks_like  # noqa: F401  (a fixture)
from planning import plan

from camstudy.metrics.components import largest_boxes
from camstudy.metrics.ranks import average_ranks, rank_correlation

# Workers side by side have a core each: threads of one would only disturb the other. Before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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

TIERS = ("quick", "full", "slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with which `looks_like` makes references instead of comparing with them."""
    parser.addoption("--redraw", action="store_true", help="write the reference pictures of figures anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that name no tier that of their directory: `quick` in `unit`, `full` elsewhere."""
    for item in items:
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            item.add_marker("quick" if "unit" in item.path.relative_to(ROOT / "tests").parts else "full")


def pytest_runtest_setup() -> None:
    """Let each test draw the same numbers whatever ran before it, which is another thing in each run of two workers."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@cache
def compile_kernels() -> None:
    """Compile what copies would compile each, about ten seconds; Numba keeps it beside the sources it belongs to."""
    ranked = np.zeros((1, 4), np.float32)
    average_ranks(ranked)
    rank_correlation(ranked, ranked)
    largest_boxes(np.zeros((1, 2, 2), np.int32), 1)


def left_behind(folder: str, names: list[str]) -> set[str]:
    """What a copy of the project lacks: of the caches it has Numba's, which are valid by the content of the source."""
    if Path(folder).name == "__pycache__":
        return {name for name in names if not name.endswith((".nbi", ".nbc"))}
    return set()


class Project:
    """A copy of the project in a directory of its own, with the tiny study in `study.yaml`.

    What is ``cold`` runs as at a user's: each command and each job in a Python of its own.
    """

    cold = False

    def __init__(self, path: Path) -> None:
        compile_kernels()
        self.path = path
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, path / part, ignore=left_behind)
            else:
                shutil.copy(source, path / part)
        self.write_study(TINY)

    @classmethod
    def at(cls, path: Path) -> "Project":
        """Return the copy of the project that is there."""
        project = cls.__new__(cls)
        project.path = path
        return project

    def write_study(self, study: dict) -> None:
        (self.path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2"]
        snakemake += ["--profile", "profiles/local"]
        return [*snakemake, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        # Only what the workflow itself sets may make the library importable.
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def execute(self, command: list[str], timeout: float = 1800) -> subprocess.CompletedProcess:
        """Run a command of Snakemake in the copy, it and the scripts of its jobs in forks of two processes for all."""
        where = {"cwd": self.path, "env": self.environment, "timeout": timeout}
        if self.cold:
            return subprocess.run(command, **where, capture_output=True, text=True)
        return plan(command, **where, python=sys.executable if "--dry-run" in command else warm.python())

    def run(self, *arguments: str, check: bool = True, timeout: float = 1800) -> subprocess.CompletedProcess:
        done = self.execute(self.command(*arguments), timeout)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a whole run of the tiny study. Tests that change it work on a copy: see `copied`.

    One for all workers: the first that asks runs it, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with FileLock(f"{path}.lock"):
        if path.exists():
            return Project.at(path)
        path.with_name("unfinished").mkdir()
        project = Project(path.with_name("unfinished"))
        project.cold = True
        project.run()
        project.path.rename(path)
    return Project.at(path)


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, times of all files kept, for a test to change."""
    subprocess.run(["cp", "-a", str(finished.path), str(tmp_path / "project")], check=True)
    return Project.at(tmp_path / "project")
