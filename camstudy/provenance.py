"""What a result was made from, and by which run: canonical JSON, checksums, versions, atomic JSON files."""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from camstudy import __version__
from camstudy.errors import CamstudyError

PACKAGE = Path(__file__).parent


def canonical(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal content gives equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(**parts: object) -> str:
    """Return the sha256 (hex) of the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Iterable[str | Path]) -> str:
    """Return one sha256 (hex) over the contents of several files; their order and place do not matter."""
    return fingerprint(files=sorted(sha256_file(path) for path in paths))


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


def write_record(path: str | Path, identity: str, *files: str | Path) -> None:
    """Write the record of files that lie beside it: the identity that they share, and the sha256 of each.

    What is made from them takes the record as input: it is small, and other files are another record.
    """
    digests = {Path(file).name: sha256_file(file) for file in files}
    write_json(path, {"identity": identity, "sha256": digests})


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


def imported_sources(start: str | Path) -> list[str]:
    """Return the camstudy files that ``start`` imports, directly or not, as sorted paths.

    Imports are followed statically, those inside functions too. Importing ``a.b`` runs ``a/__init__.py``, so
    package files count as imported.
    """
    seen: set[Path] = set()
    pending = [Path(start)]
    while pending:
        for name in _imported_modules(pending.pop()):
            for path in _module_files(name):
                if path not in seen:
                    seen.add(path)
                    pending.append(path)
    return sorted(str(path) for path in seen)


# Snakemake starts anew in every job on a cluster, and asks this for each of its scripts.
@cache
def _imported_modules(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] == PACKAGE.name]


def _module_files(name: str) -> list[Path]:
    """Return the files that importing a dotted name runs; names of functions and classes add none."""
    files = []
    here = PACKAGE.parent
    for part in name.split("."):
        here = here / part
        files += [path for path in (here / "__init__.py", here.with_suffix(".py")) if path.is_file()]
    return files
