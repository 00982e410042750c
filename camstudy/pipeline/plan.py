"""What a study will cost before it runs: jobs, hours, disk and files by rule."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from camstudy.pipeline.disk import amount
from camstudy.pipeline.pace import Pace
from camstudy.pipeline.resources import estimate

Job = tuple[str, dict[str, str]]


AT_A_TIME = (1, 2, 8, 32, 100)  # jobs


@dataclass
class Row:
    """The jobs of one rule: their number, those whose rule was timed here, and what they take in all."""

    jobs: int = 0
    measured: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    longest: float = 0.0
    disk_mb: float = 0.0
    files: int = 0


def pending_jobs(summary: Iterable[str], outputs: Mapping[str, str]) -> list[Job]:
    """Return rule and wildcards of each job that Snakemake would run.

    ``summary`` is what `snakemake --summary` prints, ``outputs`` has a regular expression for the first output of each
    rule, with its wildcards as named groups.
    """
    patterns = {rule: re.compile(pattern) for rule, pattern in outputs.items()}
    jobs = []
    for line in csv.DictReader(summary, delimiter="\t"):
        match = patterns[line["rule"]].fullmatch(line["output_file"]) if line["rule"] in patterns else None
        if match and line["plan"] != "no update":
            jobs.append((line["rule"], {name: text or "" for name, text in match.groupdict().items()}))
    return jobs


def plan(
    config: Mapping,
    jobs: Iterable[Job],
    pace: Pace,
    *,
    gpu: bool,
    images_of: Callable[[str], int] | None = None,
) -> dict[str, Row]:
    """Return what the jobs of each rule take, the rules in the order of the table `resources.rules`.

    ``pace`` is that of finished jobs; ``images_of`` is that of `camstudy.pipeline.resources.estimate`.
    """
    rows = {rule: Row() for rule in config["resources"]["rules"]}
    for rule, wildcards in jobs:
        row, taken = rows[rule], estimate(config, rule, wildcards, gpu=gpu, images_of=images_of)
        seconds = pace.seconds(rule, wildcards, taken)
        row.jobs += 1
        row.measured += pace.knows(rule)
        row.seconds += seconds
        row.gpu_seconds += seconds * taken.gpus
        row.longest = max(row.longest, seconds)
        row.disk_mb += taken.disk_mb
        row.files += taken.files
    return {rule: row for rule, row in rows.items() if row.jobs}


def folders(rows: Mapping[str, Row], outputs: Mapping[str, str]) -> str:
    """Return what a plan fills, folder by folder in `results/`; ``outputs`` are patterns of the rules' first outputs.

    >>> folders({"explain": Row(disk_mb=2000), "cost": Row(disk_mb=0)}, {"explain": "results/heatmaps/(?P<d>.+)"})
    'It fills results/: heatmaps (2.0 GB)'
    """
    found: dict[str, float] = {}
    for rule, row in rows.items():
        parts = outputs.get(rule, "").split("/")
        if parts[0] == "results" and len(parts) > 2:
            found[parts[1]] = found.get(parts[1], 0) + row.disk_mb
    return (
        "It fills results/: " + ", ".join(f"{name} ({amount(1e6 * mb)})" for name, mb in found.items()) if found else ""
    )


def render(study: str, rows: Mapping[str, Row], filled: str = "") -> str:
    """Return the plan as text: a line per rule, the sum, and what the figures rest on; ``filled`` is of `folders`."""
    if not rows:
        return f"Plan of {study}: nothing to be done."
    total: Counter[str] = Counter()
    for row in rows.values():
        total.update(
            {key: getattr(row, key) for key in ("jobs", "measured", "seconds", "gpu_seconds", "disk_mb", "files")}
        )
    lines: list[tuple[str, ...]] = [("rule", "jobs", "longest", "time", "GPU time", "disk", "files")]
    for rule, row in rows.items():
        lines.append((rule, f"{row.jobs:,}", duration(row.longest), *_amounts(row.seconds, row.gpu_seconds, row)))
    everything = Row(disk_mb=total["disk_mb"], files=total["files"])
    lines.append(("in all", f"{total['jobs']:,}", "", *_amounts(total["seconds"], total["gpu_seconds"], everything)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(f"{cell:<{width}}" if index == 0 else f"{cell:>{width}}" for index, (cell, width) in enumerate(cells))
        for cells in (zip(line, widths, strict=True) for line in lines)
    ]
    rule = "  ".join("-" * width for width in widths)
    told = f"Times of {total['measured']:,} of {total['jobs']:,} jobs follow from what finished ones took here, those\n"
    told += "of others from the table `resources.rules`, a guess. Jobs ask for `resources.safety` times what it says."
    if total["measured"] == total["jobs"]:
        told = "Times follow from what finished jobs took here."
    return "\n".join(
        [
            f"Plan of {study}, before anything runs",
            "",
            text[0],
            rule,
            *text[1:-1],
            rule,
            text[-1],
            "",
            "With so many jobs at a time it takes about: " + ", ".join(f"{n}: {_wall(rows, n)}" for n in AT_A_TIME),
            *([filled] if filled else []),
            "",
            told,
            "Disk leaves out the checkpoints of running trainings.",
        ]
    )


def duration(seconds: float) -> str:
    """Return seconds as text.

    >>> duration(7.2), duration(312), duration(9000)
    ('7 s', '5 min', '2.5 h')
    """
    if seconds < 89.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _wall(rows: Mapping[str, Row], jobs: int) -> str:
    """Return how long all takes with so many jobs at a time, but no shorter than the longest of each rule in turn."""
    return duration(max(sum(row.seconds for row in rows.values()) / jobs, sum(row.longest for row in rows.values())))


def _amounts(seconds: float, gpu_seconds: float, row: Row) -> tuple[str, ...]:
    return duration(seconds), duration(gpu_seconds) if gpu_seconds else "-", amount(1e6 * row.disk_mb), f"{row.files:,}"
