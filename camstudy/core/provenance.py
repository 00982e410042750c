"""What a result was made from, and by which run: canonical JSON, checksums, versions, atomic JSON files."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from camstudy import __version__
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import canonical

PACKAGE = Path(__file__).parents[1]


def fingerprint(**parts: object) -> str:
    """Return the sha256 (hex) of the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of the named distributions."""
    return {name: importlib.metadata.version(name) for name in packages}


def run_record_path(result: str | Path) -> Path:
    """Return where the record of the run that made a result lies: ``x.json`` -> ``x.run.json``."""
    return Path(result).with_suffix(".run.json")


def write_run_record(result: str | Path, started: float, study: str | None = None, **facts: object) -> None:
    """Write what belongs to a run rather than to its result: when, where, how long, by which camstudy.

    The result itself is the same whatever run makes it, and no rule of the workflow takes a run record as input.

    Parameters
    ----------
    result : the file that the record is about and lies beside
    started : `time.time` when the work began
    study : name of the study that asked for the result, if one did
    facts : more of the kind, such as ``device``, ``batch_size`` or ``seconds_per_image``
    """
    record = {
        "camstudy": __version__,
        "commit": _commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2),
        "study": study,
    }
    write_json(run_record_path(result), record | facts)


def write_record(path: str | Path, identity: str, *files: str | Path, made_from: Iterable[str | Path] = ()) -> None:
    """Write the record of files that lie beside it: the identity that they share, and the sha256 of each.

    What is made from them takes the record as input: it is small, and other files are another record. ``made_from`` are
    the manifests and records of what they are made from, whose versions it takes over.
    """
    digests = {Path(file).name: sha256_file(file) for file in files}
    used = all_versions(map(read_json, made_from))
    write_json(path, {"identity": identity, "sha256": digests, "versions": used})


def all_versions(records: Iterable[Mapping]) -> dict[str, list[str]]:
    """Return the versions that records state of each package, every one once.

    >>> all_versions([{"versions": {"torch": "2.1"}}, {}, {"versions": {"torch": ["2.0", "2.1"]}}])
    {'torch': ['2.0', '2.1']}
    """
    found: dict[str, set[str]] = {}
    for record in records:
        for package, stated in record.get("versions", {}).items():
            found.setdefault(package, set()).update([stated] if isinstance(stated, str) else stated)
    return {package: sorted(versions) for package, versions in sorted(found.items())}


def _commit() -> str | None:
    """Return the commit of the repository that this package lies in; None where it lies in none, or git is missing."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.strip()


def read_json(path: str | Path) -> dict:
    """Read a JSON object; a missing or broken file is a `CamstudyError`."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise CamstudyError(f"{path}: no such file; run the rule that makes it") from None
    except json.JSONDecodeError as error:
        raise CamstudyError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def write_json(path: str | Path, value: object) -> None:
    """Write readable JSON to ``path`` in one step: readers see the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    temporary.replace(path)
