"""Print what the study would cost if it ran now: jobs, hours, disk and files by rule."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from camstudy.core.plugins import load
from camstudy.core.provenance import read_json
from camstudy.pipeline.head import identified
from camstudy.pipeline.plan import measured_rates, pending_jobs, plan, render

config, gpu = snakemake.config, snakemake.params.gpu
load(config.get("plugins", ()))
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(config, file)
    file.flush()
    asked = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "all", "--summary", "--snakefile", snakemake.params.snakefile),
            *("--profile", "none", "--rerun-triggers", "mtime", "params", "software-env"),
            *("--configfile", file.name),
        ],
        capture_output=True,
        text=True,
    )
Path(snakemake.log[0]).write_text(asked.stderr)
if asked.returncode:
    raise SystemExit(f"error: Snakemake cannot plan the study, see {snakemake.log[0]}")

records = []
for path in Path("results").glob("heatmaps/*/*/**/*.run.json"):
    model, method = path.parts[3:5]
    records.append((("explain", model, method.removesuffix(".run.json")), read_json(path)))
for path in Path("results").glob("models/*/model.run.json"):
    if (record := read_json(path)).get("images_per_second"):
        record["seconds_per_image"] = 1 / record["images_per_second"]
    records.append((("train", path.parent.name), record))
rates, jobs = measured_rates(records, cpu=not gpu), pending_jobs(asked.stdout.splitlines(), snakemake.params.outputs)
study, _ = identified(config)
print(render(config["study"], plan(config, jobs, rates, gpu=gpu, images_of=study.expected_images)))
