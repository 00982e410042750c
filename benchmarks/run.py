"""Run all benchmarks and print one table of ratios: `python -m benchmarks.run [--quick]`, or `make bench`.

Every ratio is the median over rounds in which its contestants run in turn, so that a busy machine disturbs both. Rows:
name, ratio, target, whether it is met, and the times or sizes behind it. A missed target is no failure of the command.
"""

import argparse
import os
import platform
import re
from pathlib import Path

import torch

from benchmarks import (
    bench_clickme,
    bench_dag,
    bench_dcls,
    bench_faithfulness,
    bench_gradcam,
    bench_loader,
    bench_methods,
    bench_spearman,
    bench_store,
)

BENCHMARKS = (
    *(bench_gradcam, bench_methods, bench_faithfulness, bench_spearman, bench_dcls),
    *(bench_store, bench_loader, bench_clickme, bench_dag),
)
HEADER = {"name": "what", "ratio": "ratio", "target": "target", "met": "met", "detail": "measured"}


def machine() -> str:
    """Return what the figures belong to."""
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    cpu = found[1] if found else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{cpu}, 1 thread of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}; {gpu}; "
        f"torch {torch.__version__}, python {platform.python_version()}"
    )


def is_met(row: dict) -> bool:
    """Return whether a ratio keeps to its target, a bound such as `<= 1.05`."""
    operator, bound = row["target"].split()
    return row["ratio"] <= float(bound) if operator == "<=" else row["ratio"] >= float(bound)


def table(rows: list[dict]) -> str:
    """Return rows as aligned text."""
    cells = [HEADER]
    for row in rows:
        cells.append(row | {"ratio": f"{row['ratio']:.2f}", "met": "yes" if is_met(row) else "no"})
    width = {column: max(len(row[column]) for row in cells) for column in HEADER}
    return "\n".join(
        f"{row['name']:<{width['name']}}  {row['ratio']:>{width['ratio']}}  {row['target']:<{width['target']}}  "
        f"{row['met']:<{width['met']}}  {row['detail']}"
        for row in cells
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds each, for a first look")
    quick = parser.parse_args().quick
    print(machine(), flush=True)
    rows = [row for benchmark in BENCHMARKS for row in (benchmark.rows(2) if quick else benchmark.rows())]
    print(table(rows))


if __name__ == "__main__":
    main()
