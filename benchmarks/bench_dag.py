"""Planning at paper scale: a dry run of 16 models x 9 methods x 50,000 images, slow methods divided among many jobs."""

import re
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


def rows(small: bool = False) -> Iterator[Row]:
    """Yield the row of one dry run: seconds of wall time."""
    size = SMALL if small else FULL
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(study(size), file)
        file.flush()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--configfile", file.name]
        command += ["--profile", "profiles/local", "--cores", "1"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - start
    jobs = re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)[1]
    name = f"dry run of {size.models} models x {len(size.methods)} methods x {size.images:,} images"
    yield Row(name, seconds, "<= 60", f"{int(jobs):,} jobs", unit="s")
