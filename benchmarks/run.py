"""Run benchmarks and print their rows as they come: `python -m benchmarks.run [--small] [NAME ...]`, or `make bench`.

Each one has a process of its own, so that none disturbs another, by its end or by what it leaves in memory. A missed
limit is no failure of the command; a benchmark that fails is, after the rows of all others.
"""

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import failure, header

NAMES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
# Runs only when it is asked for: it needs SLURM and root, and takes as long as the demo.
ON_REQUEST = {"cluster"}


def machine() -> str:
    """Return what the figures belong to."""
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    cpu = found[1] if found else platform.processor() or "unknown CPU"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.system()} {platform.machine()}, {cpu}, {os.cpu_count()} cores; {gpu}; "
        f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}; "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )


def run(name: str, small: bool) -> bool:
    """Print the rows of one benchmark, in a process of its own; return whether it came to its end."""
    command = [sys.executable, "-c", f"from benchmarks.table import measure; measure({name!r}, {small})"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        how = f"ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "ended without a word"
        print(failure(name, done.stderr.strip().rpartition("\n")[2] or how), flush=True)
    print(done.stderr, end="", file=sys.stderr, flush=True)
    return not done.returncode


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all but cluster if none")
    parser.add_argument("--small", action="store_true", help="sizes that show that it runs, not how fast")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    started = time.monotonic()
    note = "; small sizes, for which the limits are not meant" if given.small else ""
    print(machine() + note, header(), sep="\n\n", flush=True)
    names = given.names or [name for name in NAMES if name not in ON_REQUEST]
    failed = [name for name in names if not run(name, given.small)]
    passed, spent = time.monotonic() - started, os.times()
    computed = spent.children_user + spent.children_system
    print(f"\n{passed:.0f} s, {computed:.0f} s of CPU time; load {os.getloadavg()[0]:.1f} at the end", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
