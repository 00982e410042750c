"""What a cluster adds to a study: Snakemake's own seconds per job, on a throw-away SLURM of this machine.

`python -m benchmarks.bench_cluster [--apart] [study.yaml]`; the default is the demo. Needs what tests/cluster needs.
What a job takes is what SLURM counts from its start on a node to its end; what its steps take, the rules' benchmarks
say. `--apart` makes a job of every step that could be one, instead of keeping to the profile's limits.
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


def run(study: dict, *, apart: bool) -> tuple[float, list[dict], float]:
    """Run a study; return the head's wall time, SLURM's jobs, and the seconds of their steps."""
    with tempfile.TemporaryDirectory() as directory, Cluster(cpus=os.cpu_count(), gpus=2) as cluster:
        path = Path(directory) / "project"
        path.mkdir()
        project = ClusterProject(path, cluster, grouped=not apart)
        project.write_study(study)
        start = time.perf_counter()
        project.finish(project.start(), timeout=3600)
        wall = time.perf_counter() - start
        cluster.settle()
        rules = {job["Rule"] for job in project.jobs}
        table = yaml.safe_load((ROOT / "config/resources.yaml").read_text())["resources"]["rules"]
        if not rules <= set(table):
            # A group, which is called after its model.
            rules |= {rule for rule, needs in table.items() if needs.get("gpu")}
        files = (project.path / "results/benchmarks").rglob("*.tsv")
        measured = [path for path in files if path.relative_to(project.path / "results/benchmarks").parts[0] in rules]
        return wall, project.jobs, sum(pd.read_csv(path, sep="\t")["s"].sum() for path in measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", type=Path, help="configuration file; the demo if there is none")
    parser.add_argument("--apart", action="store_true", help="every step is a job")
    arguments = parser.parse_args()
    if reason := unavailable():
        raise SystemExit(f"error: {reason}")
    study = yaml.safe_load(arguments.study.read_text()) if arguments.study else {}
    wall, jobs, steps = run(study, apart=arguments.apart)
    total = sum(int(job["ElapsedRaw"]) for job in jobs)
    print(f"{len(jobs)} jobs, {wall:.0f} s of wall time, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"jobs take {total} s in all, their steps {steps:.0f} s")
    own = total - steps
    print(f"Snakemake's own: {own / len(jobs):.1f} s a job, {own:.0f} s in all")
    print(f"that is {100 * own / total:.0f} % of the jobs' time, {100 * own / wall:.0f} % of the wall time")


if __name__ == "__main__":
    main()
