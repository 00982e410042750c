"""Peak memory of preparing ClickMe, which must not grow with the number of shards, and what a second thread saves.

This module imports no torch, which would hide what its processes need.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.table import Row
from camstudy.data.dataset import ATTRIBUTES
from camstudy.data.digits import make_scene
from camstudy.data.formats.clickme import ClickMe, encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.writing import write_dataset

FEW, MANY, THREADS = 2, 8, 2


class Size(NamedTuple):
    """``records``: of a shard."""

    records: int
    repeats: int


# Enough records in two shards that all threads are at work and every buffer has been needed.
FULL, SMALL = Size(records=256, repeats=3), Size(records=16, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for memory and one for time."""
    size = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder:
        scenes = [make_scene("val", index, 0) for index in range(min(32, size.records))]
        examples = [encode_example(scene.image, scene.heatmap, scene.label) for scene in scenes]
        write_shard(Path(folder, "0.tfrecords"), examples * (size.records // len(examples)))
        rounds = [[_measure(folder, FEW, threads) for threads in (1, THREADS)] for _ in range(size.repeats)]
        many = _measure(folder, MANY, THREADS)["memory"]
    few = statistics.median(together["memory"] for _, together in rounds)
    detail = f"{many:.0f} MB / {few:.0f} MB, {size.records} records a shard, {THREADS} threads"
    yield Row(f"preparing ClickMe, peak memory of {MANY} / {FEW} shards", many / few, "<= 1.05", detail)
    speeds = [
        FEW * size.records / statistics.median(run["seconds"] for run in runs) for runs in zip(*rounds, strict=True)
    ]
    saved = statistics.median(alone["seconds"] / together["seconds"] for alone, together in rounds)
    detail = f"{speeds[0]:.0f} / {speeds[1]:.0f} images per second"
    yield Row(f"preparing ClickMe, time of 1 / {THREADS} threads", saved, ">= 1.5", detail)


def _measure(folder: str, shards: int, threads: int) -> dict[str, float]:
    """Prepare the same shard several times over, in a process of its own; return its seconds and MB at most."""
    command = [sys.executable, "-m", "benchmarks.bench_clickme", folder, str(shards), str(threads)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return {"seconds": float(found[0]), "memory": float(found[1])}


def main(folder: str, shards: str, threads: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        started = time.perf_counter()
        source = ClickMe([Path(folder, "0.tfrecords")] * int(shards))
        write_dataset(
            Path(place, "prepared.json"),
            lambda part: source.read(range(part.start, part.stop)),
            n=source.n,
            attrs=dict.fromkeys(ATTRIBUTES),
            identity="benchmark",
            threads=int(threads),
        )
        seconds = time.perf_counter() - started
    # Not `getrusage`, whose maximum begins with that of the process that started this one.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]
    print(seconds, int(peak) / 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
