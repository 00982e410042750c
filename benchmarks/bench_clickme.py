"""Peak memory of preparing ClickMe, which must not grow with the number of shards, and what a second thread saves."""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from camstudy.data.clickme import ClickMe, encode_example
from camstudy.data.digits import make_scene
from camstudy.data.store import ATTRIBUTES, write_dataset
from camstudy.data.tfrecord import write_shard

# Enough records in two shards that all threads are at work and every buffer has been needed.
RECORDS, FEW, MANY, THREADS = 256, 2, 8, 2


def rows(repeats: int = 3) -> list[dict]:
    """Return a row for memory and one for time."""
    with tempfile.TemporaryDirectory() as folder:
        scenes = [make_scene("val", index, 0) for index in range(32)]
        examples = [encode_example(scene.image, scene.heatmap, scene.label) for scene in scenes]
        write_shard(Path(folder, "0.tfrecords"), examples * (RECORDS // len(examples)))
        few, many = ([_measure(folder, shards, THREADS)["memory"] for _ in range(repeats)] for shards in (FEW, MANY))
        alone, together = ([_measure(folder, FEW, n)["seconds"] for _ in range(repeats)] for n in (1, THREADS))
    images = FEW * RECORDS
    memory = {name: statistics.median(values) for name, values in (("few", few), ("many", many))}
    seconds = {name: statistics.median(values) for name, values in (("alone", alone), ("together", together))}
    return [
        {
            "name": f"preparing ClickMe, peak memory of {MANY} / {FEW} shards",
            "ratio": memory["many"] / memory["few"],
            "target": "<= 1.05",
            "detail": f"{memory['many']:.0f} MB / {memory['few']:.0f} MB, {RECORDS} records a shard, {THREADS} threads",
        },
        {
            "name": f"preparing ClickMe, time of 1 / {THREADS} threads",
            "ratio": seconds["alone"] / seconds["together"],
            "target": ">= 1.5",
            "detail": f"{images / seconds['alone']:.0f} / {images / seconds['together']:.0f} images per second",
        },
    ]


def _measure(folder: str, shards: int, threads: int) -> dict[str, float]:
    """Prepare the same shard several times over, in a process of its own; return its seconds and MB at most."""
    command = [sys.executable, "-m", "benchmarks.bench_clickme", folder, str(shards), str(threads)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
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
