"""Links that lead nowhere, in the place of results: for Snakemake (9.27) they are there, and end every run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.io import IOCache, _IOFile
from snakemake.logging import logger


def see_dangling_links() -> None:
    """Let the Snakemake of this process take a link to nothing for a file that is missing, and say so.

    It lists folders to know what is there, and then asks for the times of what has none. What is missing, a job makes
    anew if it is asked for; the link is removed then.
    """
    list_folders: Callable[..., Any] = _IOFile._local_inventory

    async def list_and_look(file: _IOFile, cache: IOCache) -> None:
        found = cache.exists_local
        before = {*found.has_inventory}
        await list_folders(file, cache)
        for link in (link for folder in sorted(found.has_inventory - before) for link in dangling_links(folder)):
            found[link] = False
            logger.warning(f"{link}: a link to {Path(link).readlink()}, which is not there; it counts as missing")

    _IOFile._local_inventory = list_and_look


def dangling_links(folder: str | Path) -> list[str]:
    """Return the links in a folder that lead nowhere, in order; a listing tells which files are links."""
    if not Path(folder).is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.is_symlink() and not Path(entry).exists())
