"""Results that Snakemake has no record of, as in a clone linked to finished results: compared by their identity.

For Snakemake, a missing record is no reason to make a result anew, and files of other times than it knows are: it would
do nothing for another configuration, or everything for the same one. So the head compares what stands in the manifests.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.identity import agrees, changed
from camstudy.core.provenance import read_json, run_record_path

METADATA = Path(".snakemake/metadata")
INCOMPLETE = "incomplete"  # beside it: outputs of jobs that were cut off, which Snakemake makes anew
LONGEST = 254  # of a part of a record's path, one less than most file systems allow


@dataclass
class Unrecorded:
    """Existing results without a record: equal ones, and different ones with the labels of what differs."""

    equal: list[str] = field(default_factory=list)
    different: dict[str, list[str]] = field(default_factory=dict)


def find_unrecorded(results: Iterable[tuple[str, str]], metadata: Path = METADATA) -> Unrecorded:
    """Return the existing results that Snakemake has no record of, those of jobs that were cut off apart.

    Parameters
    ----------
    results : path and planned identity of each result of a study, those that results are made from first
    metadata : where Snakemake keeps its records
    """
    found = Unrecorded()
    for path, planned in results:
        notes = (metadata, metadata.with_name(INCOMPLETE))
        if not Path(path).exists() or any(record_path(path, folder).exists() for folder in notes):
            continue
        recorded = read_identity(path)
        if recorded is not None and agrees(recorded, planned):
            found.equal.append(path)
        else:
            found.different[path] = changed(recorded or "", planned)
    return found


def record_path(output: str, metadata: Path = METADATA) -> Path:
    """Return the file in which Snakemake (9.27, records as files) keeps its record of an output."""
    name = urlsafe_b64encode(output.encode()).decode()
    pieces = [name[start : start + LONGEST] for start in range(0, len(name), LONGEST)]
    return metadata.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def made_whole(outputs: Sequence[str | Path], planned: str) -> bool:
    """Whether a job has made all its outputs under the identity that is planned; the record of its run comes last."""
    try:
        recorded = read_json(run_record_path(outputs[0])).get("identity")
    except CamstudyError:
        return False
    return recorded == planned and all(Path(output).exists() for output in outputs)


def any_later(files: Iterable[str | Path], than: str | Path) -> bool:
    """Whether one of some files has a later time than another one has; those that are not there are not."""
    last = Path(than).stat().st_mtime_ns
    return any(file.exists() and file.stat().st_mtime_ns > last for file in map(Path, files))


def read_identity(path: str | Path) -> str | None:
    """Return the identity that a result's manifest or run record states; None where neither does."""
    for file in (Path(path), run_record_path(path)):
        if file.suffix == ".json" and file.is_file():
            try:
                identity = json.loads(file.read_text()).get("identity")
            except (ValueError, AttributeError, RecursionError):
                continue  # no manifest: a damaged one is made anew
            if isinstance(identity, str) and identity:
                return identity
    return None


def complaint(found: Unrecorded, most: int = 8) -> str:
    """Return what the head says of different results before it stops."""
    listed = [f"  {path} ({', '.join(labels)})" for path, labels in list(found.different.items())[:most]]
    more = len(found.different) - len(listed)
    return "\n".join(
        [
            "Results here that were made by another configuration, other code or other data than today's, and that "
            f"Snakemake has no record of: {len(found.different)}. What differs:",
            *listed,
            *([f"  and {more} more"] if more else []),
            "Delete them to have them made anew, or take the configuration and the code that made them. `make records` "
            f"lists them all, and accepts those that are equal ({len(found.equal)} here)",
        ]
    )
