"""Print what the study would cost if it ran now: jobs, hours, disk and files by rule."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from camstudy.plan import measured_rates, pending_jobs, plan, render
from camstudy.provenance import read_json

config, gpu = snakemake.config, snakemake.params.gpu
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(config, file)
    file.flush()
    asked = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "all", "--summary", "--snakefile", snakemake.params.snakefile),
            *("--profile", "none", "--rerun-triggers", "mtime", "params", "input", "software-env"),
            *("--configfile", file.name),
        ],
        capture_output=True,
        text=True,
    )
Path(snakemake.log[0]).write_text(asked.stderr)
if asked.returncode:
    raise SystemExit(f"error: Snakemake cannot plan the study, see {snakemake.log[0]}")

records = []
for path in Path("results").glob("heatmaps/*/*/**/*.json"):
    _, _, model, method = path.with_suffix("").parts[1:5]
    records.append((("explain", model, method), read_json(path)))
for path in Path("results").glob("models/*/model.json"):
    if training := read_json(path).get("training"):
        training["seconds_per_image"] = 1 / training["images_per_second"]
        records.append((("train", path.parent.name), training))
rates = measured_rates(records, cpu=not gpu)
print(
    render(
        config["study"],
        plan(config, pending_jobs(asked.stdout.splitlines(), snakemake.params.outputs), rates, gpu=gpu),
    )
)
