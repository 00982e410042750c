"""What made a study's results: versions, commits, devices and seconds, from the records of their runs."""

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import read_json, run_record_path
from camstudy.pipeline.plan import duration
from camstudy.report.grid import Grid, plural

KINDS = {
    "raw": "Files fetched or drawn",
    "data": "Data sets prepared",
    "weights": "Weights fetched",
    "models": "Networks trained or assembled",
    "heatmaps": "Maps",
    "scores": "Predictions and scores",
    "cost": "Measurements of cost",
    "studies": "Long tables, tables, figures",
}


class Run(NamedTuple):
    """The kind of result that a run made, and the record of the run."""

    kind: str
    record: Mapping


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Return the runs that made results, given by their paths below `results`; those without a record are left out."""
    found = []
    for path in dict.fromkeys(map(Path, paths)):
        # None, or one that is damaged.
        with suppress(CamstudyError):
            found.append(Run(path.parts[1], read_json(run_record_path(path))))
    return found


def cost(runs: Sequence[Run]) -> Grid:
    """Return how long results took, by their kind."""
    rows = []
    for kind, title in KINDS.items():
        records = [run.record for run in runs if run.kind == kind]
        if records:
            rows.append((title, f"{len(records):,}", _seconds(records), _seconds(records, gpu=True)))
    records = [run.record for run in runs]
    rows.append(("In all", f"{len(records):,}", _seconds(records), _seconds(records, gpu=True)))
    notes = ("Times of the jobs one after the other, those of results that other studies share among them.",)
    return Grid(("What", "Results", "Time", "Of it on a GPU"), rows, notes)


def _seconds(records: Sequence[Mapping], gpu: bool = False) -> str:
    taken = [record["seconds"] for record in records if not gpu or "cuda" in str(record.get("device"))]
    return duration(sum(taken)) if taken else "–"


def versions(runs: Sequence[Run], libraries: Mapping[str, Sequence[str]], lock: Path) -> list[tuple[str, str]]:
    """Return by what the results were made, as pairs of what and which.

    Parameters
    ----------
    runs : that made them
    libraries : the versions that manifests state of libraries
    lock : file of the versions of all libraries
    """
    own = [f"{run.record['camstudy']}{_commit(run.record)}" for run in runs]
    found = [("camstudy", _counted(own))]
    found += [(name, ", ".join(numbers)) for name, numbers in libraries.items()]
    found += [("Python", _counted(run.record["python"] for run in runs))]
    found += [("Platform", _counted(run.record["platform"] for run in runs))]
    devices = [str(run.record["device"]) for run in runs if "device" in run.record]
    found += [("Device", _counted(devices))] if devices else []
    return found + ([("requirements.lock", _locked(lock))] if lock.is_file() else [])


def commits(runs: Sequence[Run]) -> list[str]:
    """Return the commits that made results, the most frequent first."""
    return [commit for commit, _ in Counter(run.record.get("commit") for run in runs).most_common() if commit]


def _commit(record: Mapping) -> str:
    return f", commit {record['commit'][:12]}" if record.get("commit") else ""


def _counted(values: Iterable[str]) -> str:
    """Return what all results have in common; where they differ, how many have which."""
    found = Counter(values)
    if len(found) < 2:
        return next(iter(found), "not recorded")
    return "; ".join(f"{value} ({plural(count, 'result')})" for value, count in found.most_common())


def _locked(lock: Path) -> str:
    """Return whether the libraries here are those of the lock file."""
    listed = dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.MULTILINE))
    installed = {name: _installed(name) for name in listed}
    other = [f"{name} {installed[name]} (listed: {version})" for name, version in listed.items()
             if installed[name] != version]  # fmt: skip
    text = f"{len(listed)} libraries, as installed where this page was made"
    return f"{text}, but for {'; '.join(other)}" if other else text


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
