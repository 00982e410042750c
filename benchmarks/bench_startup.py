"""Start-up: what each rule's script imports at its top, above `snakemake.script` and the libraries that it needs."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row

ROOT = Path(__file__).parents[1]
# What jobs cannot do without, beside `snakemake.script`.
TABLES = ("numpy", "pandas", "pyarrow.parquet")
STORES = ("numpy", "zarr", "xarray")
NETWORKS = ("torch", "timm", "safetensors.torch", "numpy")
NEEDS = {
    "make_digits": ("numpy", "PIL.Image"),
    "fetch_shard": ("requests",),
    "prepare_dataset": (*STORES, "PIL.Image"),
    "prepare_photographs": (*STORES, "PIL.Image"),
    "check_model": NETWORKS,
    "fetch_weights": (*NETWORKS, "requests"),
    "train": (*NETWORKS, "zarr"),
    "assemble_model": NETWORKS,
    "cost": NETWORKS,
    "export_demo_weights": ("safetensors.numpy",),
    "explain": (*NETWORKS, "zarr"),
    "explain_control": STORES,
    "time_method": (*NETWORKS, "zarr"),
    "prediction": (*NETWORKS, *TABLES, "zarr"),
    "score": (*STORES, *TABLES),
    "human_ceiling": STORES,
    "aggregate_scores": (*TABLES, "scipy.stats"),
    "aggregate_sweep": (*TABLES, "scipy.stats"),
    "aggregate_layers": (*TABLES, "scipy.stats"),
    "aggregate_curves": TABLES,
    "aggregate_steps": (*TABLES, "scipy.stats"),
    "aggregate_redrawn": (*TABLES, "scipy.stats"),
    "make_table": (*TABLES, "zarr"),
    "draw_scores": (*TABLES, "matplotlib.figure", "zarr"),
    "draw_maps": (*TABLES, *STORES, "matplotlib.figure"),
    "record_study": ("yaml",),
}
SMALL = ("score",)
TIMED = """\
import time as _time
_began = _time.process_time()
import snakemake.script
{imports}
print(_time.process_time() - _began)
"""


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for each rule: seconds of CPU time above what its libraries alone take, the median of rounds."""
    for script in SMALL if small else NEEDS:
        libraries = "\n".join(f"import {name}" for name in NEEDS[script])
        own = imports(ROOT / "scripts" / f"{script}.py")
        pairs = [(seconds(f"{libraries}\n{own}"), seconds(libraries)) for _ in range(1 if small else 3)]
        above = statistics.median(whole - bare for whole, bare in pairs)
        whole, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
        yield Row(f"start of {script}, above its libraries", above, "<= 0.7", f"{whole:.2f} / {bare:.2f} s", unit="s")


def imports(script: Path) -> str:
    """Return the statements by which a script imports what it needs before it works."""
    body = ast.parse(script.read_text()).body
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def seconds(statements: str) -> float:
    """Return the CPU time of imports in a Python of their own."""
    code = TIMED.format(imports=statements)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)
