"""What a result was made from, and by which run: canonical JSON, checksums, versions, sealed JSON files."""

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
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.files import replacing
from camstudy.core.identity import canonical, digest

PACKAGE = Path(__file__).parents[1]
# Keys of a JSON file: a digest of what else is in it, and where below `results` it lies.
SEAL, PLACE = "seal", "written_as"
LONGEST_NAME = 255  # bytes, of file systems


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
    """Read a JSON object that `write_json` wrote; a missing file is a `CamstudyError`, one that has changed `Damaged`.

    Without a seal, as other programs write it, it is taken as it is.
    """
    path = Path(path)
    absent = CamstudyError(f"{path}: no such file; run the rule that makes it")
    if not path.is_file():
        raise Damaged(f"{path}: is no file", path) if os.path.lexists(path) else absent
    try:
        content = json.loads(path.read_bytes())
        seal, place = (content.pop(key, None) for key in (SEAL, PLACE)) if isinstance(content, dict) else (None, None)
        # Both are there, or neither.
        changed = (seal, place) != (None, None) and seal != digest([place, content])
    except FileNotFoundError:
        raise absent from None  # since it was looked for
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: not valid JSON ({error})", path) from None
    if not content or not isinstance(content, dict):
        raise Damaged(f"{path}: holds no JSON object", path)
    if changed:
        raise Damaged(f"{path}: has changed since it was written", path)
    if place is not None and not f"/{path.absolute().as_posix()}".endswith(f"/{place}"):
        raise Damaged(f"{path}: was written as {place} and is no record of what lies here", path)
    return content


def write_json(path: str | Path, value: Mapping) -> None:
    """Write a readable JSON object to ``path`` in one step: readers see the old file or the whole new one.

    It is sealed: `read_json` notices if it has changed, or lies elsewhere below `results`.
    """
    path = Path(path)
    content = {**value, PLACE: _place(path)}
    content[SEAL] = digest([content[PLACE], value])
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _place(path: Path) -> str:
    """Return the path of a file below the results, or only its name where it is elsewhere."""
    parts = path.absolute().parts
    return "/".join(parts[-parts[::-1].index("results") :]) if "results" in parts else path.name


def stated_files(record: Mapping, path: str | Path) -> dict[Path, str]:
    """Return the files that lie beside a record, with the sha256 (hex) that it states of each.

    ``path`` is that of the record; one that says something else in that place is `Damaged`. Of a store,
    `camstudy.core.chunks` knows.
    """
    path, stated = Path(path), record.get("files", record.get("sha256", {}))
    if "store" in record:
        return {}
    if isinstance(stated, str):
        # Of a finished model; others may be of what was downloaded.
        stated = {path.with_suffix(".safetensors").name: stated} if "entry" in record else {}
    if not isinstance(stated, Mapping) or not all(map(_is_file_name, stated)):
        raise Damaged(f"{path}: does not say which files it describes", path)
    return {path.with_name(name): str(sha256) for name, sha256 in stated.items()}


def _is_file_name(name: str) -> bool:
    is_short = len(name.encode(errors="surrogatepass")) <= LONGEST_NAME
    return name == Path(name).name and name not in ("", "..") and "\0" not in name and is_short


def verify(file: str | Path, record: str | Path) -> Path:
    """Return a file after comparing it with the sha256 that the record beside it states; `Damaged` if they differ.

    A record that states none, as of an earlier version, is taken as it is.
    """
    file = Path(file)
    expected = stated_files(read_json(record), record).get(file)
    if not file.is_file():
        # A folder or a link to nothing stands where the file is to be.
        there = [file] if os.path.lexists(file) else []
        raise Damaged(f"{file}: no such file, though {record} is there", record, *there)
    if expected is not None and (found := sha256_file(file)) != expected.lower():
        what = f"{file}: is not the file that {record} describes (sha256 {found}, expected {expected})"
        raise Damaged(what, record, file)
    return file
