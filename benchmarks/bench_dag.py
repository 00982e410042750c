"""Planning at paper scale: a dry run of 16 models x 9 methods x 50,000 images, slow methods divided among many jobs."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

MODELS, IMAGES = 16, 50_000
# Forward passes per image, as nine methods of a study of explanations have them: five that share one pass, Opti-CAM,
# perturbations, and one pass per channel of ResNet50 for two.
PASSES = (1, 1, 1, 1, 1, 300, 800, 2048, 2048)
SECONDS = 60


def study() -> dict:
    """Return the configuration: entries of the catalogue that differ in name and cost."""
    models = {f"model_{number}": {"arch": "resnet50.a1_in1k", "weights": {"timm": True}} for number in range(MODELS)}
    methods = {f"method_{index}": {"method": "gradcam", "passes": passes} for index, passes in enumerate(PASSES)}
    dataset = {"source": "digits", "split": "val", "n_images": IMAGES}
    return {
        "study": "paper_scale",
        "dataset": "paper_scale",
        "models": list(models),
        "methods": list(methods),
        "controls": [],
        "comparisons": [],
        "catalog": {"datasets": {"paper_scale": dataset}, "models": models, "methods": methods},
    }


def rows(repeats: int = 1) -> list[dict]:
    """Return the row of the dry run, the fastest of ``repeats``, as wall time."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(study(), file)
        file.flush()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--configfile", file.name]
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - start)
    jobs = re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)[1]
    return [
        {
            "name": f"dry run of {MODELS} models x {len(PASSES)} methods x {IMAGES:,} images / {SECONDS} s",
            "ratio": min(seconds) / SECONDS,
            "target": "<= 1",
            "detail": f"{min(seconds):.0f} s, {int(jobs):,} jobs",
        }
    ]


if __name__ == "__main__":
    print(rows()[0]["detail"])
