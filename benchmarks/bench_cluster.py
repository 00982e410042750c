"""What a cluster adds to a study: Snakemake's own seconds per job, on a throw-away SLURM of this machine.

`python -m benchmarks.bench_cluster [study.yaml]`; the default is the demo. Needs what tests/cluster needs. What a
job takes is what SLURM counts from its start on a node to its end; what its command takes, its rule's benchmark says.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cluster.conftest import ClusterProject  # noqa: E402
from cluster.slurm import Cluster, unavailable  # noqa: E402


def run(study: dict | None) -> tuple[float, list[dict], float]:
    """Run a study; return the head's wall time, SLURM's jobs, and the seconds of their commands."""
    with tempfile.TemporaryDirectory() as directory, Cluster(cpus=os.cpu_count(), gpus=2) as cluster:
        path = Path(directory) / "project"
        path.mkdir()
        project = ClusterProject(path, cluster)
        project.write_study(study or {})
        start = time.perf_counter()
        project.finish(project.start(), timeout=3600)
        wall = time.perf_counter() - start
        cluster.settle()
        rules = {job["Rule"] for job in project.jobs}
        files = (project.path / "results/benchmarks").rglob("*.tsv")
        measured = [path for path in files if path.relative_to(project.path / "results/benchmarks").parts[0] in rules]
        return wall, project.jobs, sum(pd.read_csv(path, sep="\t")["s"].sum() for path in measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", type=Path, help="configuration file; the demo if there is none")
    path = parser.parse_args().study
    if reason := unavailable():
        raise SystemExit(f"error: {reason}")
    wall, jobs, commands = run(yaml.safe_load(path.read_text()) if path else None)
    total = sum(int(job["ElapsedRaw"]) for job in jobs)
    print(f"{len(jobs)} jobs, {wall:.0f} s of wall time, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"jobs take {total} s in all, their commands {commands:.0f} s")
    print(f"Snakemake's own: {(total - commands) / len(jobs):.1f} s a job, {100 * (total - commands) / total:.0f} %")


if __name__ == "__main__":
    main()
