"""What Snakemake notes of unfinished outputs and of locks, mended: a job keeps its SLURM id, a head its locks."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from snakemake import workflow
from snakemake.persistence.file import FilePersistence

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.disk import check_room, told
from camstudy.pipeline.mistakes import Mistake

if TYPE_CHECKING:
    from snakemake.dag import DAG


class Bookkeeping(FilePersistence):
    """Snakemake's notes in ``.snakemake``, with two of its faults (seen in 9.27) mended.

    A head notes the SLURM id of each output that it has submitted, but once the job starts, the Snakemake in it notes
    that it has none (https://github.com/snakemake/snakemake/issues/762): whoever cancels the jobs of a killed head
    would know but those that waited. And a head that ends removes the locks of all heads in the directory.

    It is made when the rules are known and before jobs are: ``checks`` are what is to be looked at by then.
    """

    checks: ClassVar[list[Callable[["DAG"], None]]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        with _told():
            super().__init__(*arguments, **options)
            asked = self.dag.workflow
            if not asked.is_main_process:
                return
            # Plans and lists may be made where nothing can be written.
            if asked.executor_plugin is not None and not asked.dryrun:
                check_room()
            for check in self.checks:
                check(self.dag)

    def drop_iocache(self) -> None:
        """Remove the note of which files there are, if there is one."""
        with _told():
            super().drop_iocache()

    def _write_locks(self, lock_type: str, keys: Iterable[str]) -> None:
        with _told():
            super()._write_locks(lock_type, keys)

    def _mark_incomplete(self, key: str, external_jobid: str | None) -> None:
        # Not written again either: tasks of an array do so at the same time, and would read half a note.
        within_job = not self.dag.workflow.is_main_process
        if not (within_job and external_jobid is None and self._get_external_jobids([key])):
            super()._mark_incomplete(key, external_jobid)

    def _io_read(self, subject: str, id: str) -> dict:
        # A damaged note is none. Of those that are no JSON, Snakemake says so itself.
        try:
            found = super()._io_read(subject, id)
        except (UnicodeDecodeError, RecursionError, IsADirectoryError):
            return {}
        return found if isinstance(found, dict) else {}

    def _delete_locks(self) -> None:
        for lock in self._lockfile.values():
            Path(lock).unlink(missing_ok=True)
        self._lockfile.clear()

    def cleanup_locks(self) -> None:
        """Remove the locks of all heads: `snakemake --unlock`."""
        super()._delete_locks()


@contextmanager
def _told() -> Iterator[None]:
    try:
        with told():
            yield
    except CamstudyError as error:
        raise Mistake(str(error)) from None


def keep_books(*checks: Callable[["DAG"], None]) -> None:
    """Let the Snakemake of this process use the mended notes; before it plans.

    ``checks`` get what is asked of Snakemake once the rules are known, and may raise `CamstudyError`.
    """
    workflow.FilePersistence = Bookkeeping
    Bookkeeping.checks[:] = checks
    # A full disk takes no lines of logs either: Python would print a traceback for each.
    logging.raiseExceptions = False
