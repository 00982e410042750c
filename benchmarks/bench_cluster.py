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
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.table import Row, header

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cluster.conftest import STUDY, ClusterProject  # noqa: E402
from cluster.slurm import Cluster, unavailable  # noqa: E402

# One model of the tests' tiny study.
SMALL = {**STUDY, "models": STUDY["models"][:1], "controls": [], "comparisons": []}


def rows(small: bool = False) -> Iterator[Row]:
    """Yield the rows of the demo, or of a tiny study."""
    return compare(SMALL if small else {}, apart=False)


def compare(study: dict, *, apart: bool) -> Iterator[Row]:
    """Yield a row each for what Snakemake takes of the jobs' time, for what it takes a job, and for the wall time."""
    if reason := unavailable():
        raise SystemExit(f"error: {reason}")
    wall, jobs, steps = run(study, apart=apart)
    total = sum(int(job["ElapsedRaw"]) for job in jobs)
    own = total - steps
    detail = f"{own:.0f} s / {total} s, steps {steps:.0f} s"
    yield Row("cluster, Snakemake's own / jobs' time", own / total, "", detail)
    yield Row("cluster, Snakemake's own, a job", own / len(jobs), "", f"{len(jobs)} jobs", unit="s")
    yield Row("cluster, wall time of a study", wall, "", f"{os.cpu_count()} cores", unit="s")


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
    study = yaml.safe_load(arguments.study.read_text()) if arguments.study else {}
    print(header())
    for row in compare(study, apart=arguments.apart):
        print(row)


if __name__ == "__main__":
    main()
