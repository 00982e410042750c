"""Whose results these are: of checkouts that share a folder of results by a link, one writes and the others read."""

from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.files import replacing
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
    owner = Path(note.read_text().strip()) if note.is_file() else here
    if owner != here and _same(owner / RESULTS, results):
        raise CamstudyError(
            f"{results}: is shared with {owner}, which writes it, and two that write would spoil each other's results. "
            f"Run this study there; here, plans, dry runs, `camstudy verify` and reports read it. If that checkout is "
            f"not to write it any more, delete {note}"
        )
    if owner != here or not note.is_file():
        with replacing(note) as temporary:
            temporary.write_text(f"{here}\n")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
