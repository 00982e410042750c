"""Peak memory of every stage of a study, which must not grow with the number of images."""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from benchmarks.table import Row

ROOT = Path(__file__).parents[1]
# Few enough to take minutes, and still many parts and chunks.
FEW, MANY, SMALL = 2_000, 20_000, 8
# Rules whose jobs read or write something of every image.
STAGES = ("make_digits", "prepare_dataset", "prediction", "explain", "score", "score_on_model", "aggregate_scores")


def study(images: int) -> dict:
    """Return the configuration: one small network, one method, a score of each family on so many scenes."""
    shape = {"layers": [1, 1, 1, 1], "channels": [8, 12, 16, 24], "stem_width": 8}
    network = {
        "arch": "timm.models.resnet.ResNet",
        "kwargs": {"block": "import:timm.models.resnet.BasicBlock", **shape},
        "num_classes": 10,
        "input": {"size": 32, "crop_pct": 1.0},
        "weights": "random",
    }
    return {
        "study": "memory",
        "dataset": "scenes",
        "models": ["net"],
        "methods": ["gradcam"],
        "controls": [],
        "comparisons": [],
        "protocols": ["human_maps", "boxes", "coarse"],
        "tables": ["scores"],
        "figures": [],
        "device": "cpu",
        "threads": {"prepare": 1, "explain": 1},
        "catalog": {
            "datasets": {"scenes": {"source": "digits", "split": "val", "n_images": images}},
            "models": {"net": network},
            "protocols": {"coarse": {"family": "faithfulness", "metrics": ["average_drop"]}},
        },
    }


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row per stage: its peak with many images against that with few."""
    few, many = (SMALL, SMALL) if small else (FEW, MANY)
    fewer, peaks = peak_megabytes(few), peak_megabytes(many)
    for stage in STAGES:
        name = f"peak memory of {stage}, {many:,} / {few:,} images"
        detail = f"{peaks[stage]:.0f} MB / {fewer[stage]:.0f} MB"
        # Rows of tables, a few numbers an image, are held together when a study is aggregated.
        limit = "" if stage == "aggregate_scores" else "<= 1.1"
        yield Row(name, peaks[stage] / fewer[stage], limit, detail)


@cache
def peak_megabytes(images: int) -> dict[str, float]:
    """Run the study in a folder of its own and return the largest resident memory of each rule's jobs in MB."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "study.yaml").write_text(yaml.safe_dump(study(images)))
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
        command += ["--configfile", f"{folder}/study.yaml", "--profile", ROOT / "profiles/local", "--cores", "1"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        found: dict[str, float] = {}
        for path in Path(folder, "results/benchmarks").rglob("*.tsv"):
            rule = path.relative_to(folder).parts[2]
            with path.open() as file:
                peak = max(float(row["max_rss"]) for row in csv.DictReader(file, delimiter="\t"))
            found[rule] = max(found.get(rule, 0), peak)
        return found
