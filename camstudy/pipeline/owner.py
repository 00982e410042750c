"""Whose results these are: of checkouts that share a folder of results by a link, one writes and the others read."""

from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.files import remove, replacing
from camstudy.pipeline.paths import RESULTS

OWNER = ".owner"


def take_results(here: str | Path) -> None:
    """Note that a checkout writes its results, or raise `CamstudyError` if another one does.

    ``here`` is the folder that Snakemake runs in. A checkout that is gone, or has other results by now, owns them no
    more. Two that begin at the same moment are not kept apart: that would need locks, which parallel file systems lack.
    """
    here = Path(here).resolve()
    results = here / RESULTS
    if not results.is_dir():
        return
    note = results / OWNER
    named = note.read_text(errors="replace").strip("\0\n ") if note.is_file() else ""
    owner = Path(named) if Path(named).is_absolute() else here
    if owner != here and _same(owner / RESULTS, results):
        raise CamstudyError(
            f"{results}: is shared with {owner}, which writes it, and two that write would spoil each other's results. "
            f"Run this study there; here, plans, dry runs, `camstudy verify` and reports read it. If that checkout is "
            f"not to write it any more, delete {note}"
        )
    if named != str(here):
        remove(note)
        with replacing(note) as temporary:
            temporary.write_text(f"{here}\n")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # gone, or no path at all
        return False
