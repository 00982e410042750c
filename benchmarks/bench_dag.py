"""Planning at paper scale, a dry run of 16 models x 9 methods x 50,000 images, and of as many trivial jobs."""

import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from benchmarks.table import Row


class Size(NamedTuple):
    """``methods``: registered ones; those that are divided have a job for every 1024 images."""

    models: int
    images: int
    methods: tuple[str, ...]


# Nine methods as a study of explanations has them: five that share one pass, and four that are divided.
CHEAP = ("gradcam", "gradcam_plusplus", "xgrad_cam", "layer_cam", "hires_cam")
FULL = Size(models=16, images=50_000, methods=(*CHEAP, "opti_cam", "rise", "score_cam", "ablation_cam"))
SMALL = Size(models=1, images=100, methods=("gradcam",))


def study(size: Size) -> dict:
    """Return the configuration: entries of the catalogue that differ in name and cost."""
    models = {
        f"model_{number}": {"arch": "resnet50.a1_in1k", "num_classes": 10, "weights": "random"}
        for number in range(size.models)
    }
    methods = {f"method_{name}": {"method": name} for name in size.methods}
    dataset = {"source": "digits", "split": "val", "n_images": size.images}
    return {
        "study": "paper_scale",
        "dataset": "paper_scale",
        "models": list(models),
        "methods": list(methods),
        "controls": [],
        "comparisons": [],
        "catalog": {"datasets": {"paper_scale": dataset}, "models": models, "methods": methods},
    }


# What a job costs Snakemake itself: a rule of one output each.
TRIVIAL = """\
rule all:
    input:
        expand("made/{{number}}.txt", number=range({jobs})),


rule make:
    output:
        "made/{{number}}.txt",
    shell:
        "touch {{output}}"
"""
QUIET = ("--dry-run", "--quiet", "rules", "--cores", "1")


def rows(small: bool = False) -> Iterator[Row]:
    """Yield the rows of one dry run: seconds of wall time, and the time computed against that of a trivial workflow."""
    size = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "study.yaml").write_text(yaml.safe_dump(study(size)))
        own = ["--configfile", f"{folder}/study.yaml", "--profile", "profiles/local"]
        seconds, computed, printed = dry_run(own, Path(__file__).parents[1])
        jobs = int(re.search(r"^total +(\d+)$", printed, re.MULTILINE)[1])
        Path(folder, "Snakefile").write_text(TRIVIAL.format(jobs=jobs - 1))
        _, trivial, _ = dry_run(["--profile", "none"], Path(folder))
    name = f"dry run of {size.models} models x {len(size.methods)} methods x {size.images:,} images"
    yield Row(name, seconds, "<= 60", f"{jobs:,} jobs", unit="s")
    each = " / ".join(f"{1000 * each / jobs:.1f}" for each in (computed, trivial))
    yield Row("planning / of as many trivial jobs", computed / trivial, "<= 2", f"{each} ms a job, of {jobs:,}")


def dry_run(arguments: list[str], folder: Path) -> tuple[float, float, str]:
    """Return the wall time and the CPU time of a dry run in a folder, in seconds, and what it printed."""
    command = [sys.executable, "-m", "snakemake", *QUIET, *arguments]
    before, start = _computed(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, _computed() - before, done.stdout


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
