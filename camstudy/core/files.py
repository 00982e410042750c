"""Files that are there whole or not at all, also after a kill or a loss of power."""

import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Let the block write a temporary file beside ``path``, and give it that name once it is whole.

    Readers see the old file or the new one. If the block fails, nothing is left; what a killed process left for the
    same path is removed. A ``durable`` file is on the disk before it has its name, so that no loss of power leaves a
    name without content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in leftovers(path):
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{_here()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files for ``path`` of processes of this machine that are no more."""
    found = path.parent.glob(f".{_literal(path.name)}.{_literal(_here())}.*.tmp")
    return [file for file in found if _is_over(file)]


def _here() -> str:
    return re.sub(r"[^\w-]", "_", platform.node())


def _literal(name: str) -> str:
    """Return a name as a pattern of `glob` that fits it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_over(temporary: Path) -> bool:
    process = temporary.name.split(".")[-3]
    return process.isdecimal() and int(process) != os.getpid() and not Path("/proc", process).exists()


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
