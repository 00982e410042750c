"""A SLURM for the whole session, and copies of the project that submit to it."""

import base64
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import yaml
from conftest import TINY, Project

from cluster.slurm import Cluster, unavailable

# The rules whose jobs ask for a GPU.
GPU_RULES = ("train", "explain", "prediction")
CHANGED, OTHER = TINY["models"]
# A job costs seconds for each start of Snakemake in it, so there are few: one method and one control, no figures. In
# chunks of one batch, a store is half-written at more moments.
STUDY = {
    **TINY,
    "methods": ["gradcam"],
    "controls": ["center_bias"],
    "figures": [],
    "explain": {"chunk_size": 4, "batch_size": 4},
}
# The same with one model's entry changed.
CHANGED_STUDY = json.loads(json.dumps(STUDY))
CHANGED_STUDY["catalog"]["models"][CHANGED]["train"]["learning_rate"] = 0.003
# Another study of a model that is as it was.
OTHER_STUDY = STUDY | {"study": "other", "models": [OTHER], "comparisons": []}


class ClusterProject(Project):
    """A copy of the project that `snakemake --profile slurm` runs on the test cluster.

    The copy's profile has this "site's" values: its partitions, quick polls, and, as there is no CUDA, jobs that are
    scheduled with a GPU and compute on the CPU. Every step is a job, as those of large studies are, unless it is
    ``grouped`` by the profile's own values.
    """

    cold = True

    def __init__(self, path: Path, cluster: Cluster, *, grouped: bool = False) -> None:
        super().__init__(path)
        self.cluster = cluster
        self.write_study(STUDY)
        self._set_up(grouped)

    def _set_up(self, grouped: bool = False) -> None:
        path = self.path
        (path / "slurm").symlink_to("profiles/slurm")
        profile = path / "profiles/slurm/config.yaml"
        shipped = yaml.safe_load(profile.read_text())
        limits = [item for item in shipped["config"] if not item.startswith("device=")]
        assert len(limits) == 2
        site = shipped | {
            "configfile": "study.yaml",
            "config": ["device=cpu", *(limits if grouped else ["local_seconds=0", "group_minutes=0"])],
            "slurm-init-seconds-before-status-checks": 1,
            "set-resources": {rule: {"slurm_partition": "gpu", "gpu": 1} for rule in GPU_RULES},
        }
        site["default-resources"].append("slurm_partition=cpu")
        profile.write_text(yaml.safe_dump(site, sort_keys=False))

    @classmethod
    def of(cls, project: Project, path: Path, cluster: Cluster) -> "ClusterProject":
        """Return a copy of a project that ran without a cluster, with its results; times of files are kept."""
        copied = cls.__new__(cls)
        copied.path, copied.cluster = path, cluster
        subprocess.run(["cp", "-a", str(project.path), str(path)], check=True)
        copied._set_up()
        return copied

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.cluster.environment

    @property
    def jobs(self) -> list[dict[str, str]]:
        """What SLURM's accounting knows of the jobs of this copy, all attempts; a group's `Rule` is its name."""
        return [job for job in self.cluster.sacct("WorkDir", "AllocCPUS") if job["WorkDir"] == str(self.path)]

    @property
    def notes(self) -> dict[str, str | None]:
        """What Snakemake has noted of unfinished outputs: their SLURM job, none for a step beside the head."""
        found = {}
        for path in (self.path / ".snakemake/incomplete").glob("*"):
            with suppress(FileNotFoundError, json.JSONDecodeError):  # this very moment finished or begun
                found[base64.urlsafe_b64decode(path.name).decode()] = json.loads(path.read_text())["external_jobid"]
        return found

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        """Start Snakemake, with variables of its own, and go on; its output goes to `head.log`."""
        with (self.path / "head.log").open("w") as log:
            where = {"cwd": self.path, "env": self.environment | variables, "stdout": log, "stderr": subprocess.STDOUT}
            # Tests that run in a shell's background ignore interrupts, and so would their children.
            listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            return subprocess.Popen(self.command(*arguments), **where, preexec_fn=listen)

    def finish(self, head: subprocess.Popen, timeout: float = 1800) -> str:
        """Wait for the success of a Snakemake that `start` gave, and return its output."""
        try:
            head.wait(timeout)
        finally:
            head.kill()
        output = (self.path / "head.log").read_text()
        assert head.returncode == 0, output
        return output

    def submitted(self) -> Counter:
        """Return how often each job was submitted, by ``(rule, wildcards)``, wildcards joined by `_`."""
        return Counter((job["Rule"], job["Wildcards"]) for job in self.jobs)


def read_tables(project: Project) -> dict[str, bytes]:
    """Return the content of a finished study's tables by file name."""
    folder = project.path / "results/studies/tiny/tables"
    # Without the records of runs, which say when.
    tables = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".run.json")}
    assert tables
    return tables


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Cluster(cpus=4, gpus=4) as running:
        yield running


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study after a whole run without a cluster."""
    project = Project(tmp_path_factory.mktemp("local"))
    project.write_study(STUDY)
    project.run()
    return project


@pytest.fixture(scope="session")
def changed_local(local: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The changed study after an undisturbed run without a cluster."""
    project = Project.__new__(Project)
    project.path = tmp_path_factory.mktemp("changed") / "project"
    subprocess.run(["cp", "-a", str(local.path), str(project.path)], check=True)
    project.write_study(CHANGED_STUDY)
    project.run()
    return project
