"""What Snakemake notes of unfinished outputs and of locks, mended.

A job keeps its SLURM id, a head its locks, and what was finished when a kill fell is not made again.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from snakemake import workflow
from snakemake.exceptions import LockException
from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange
from snakemake.persistence.file import FilePersistence

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import run_record_path
from camstudy.pipeline.disk import check_room, told
from camstudy.pipeline.mistakes import Mistake
from camstudy.pipeline.records import any_later, made_whole

if TYPE_CHECKING:
    from snakemake.dag import DAG
    from snakemake.jobs import Job


class Bookkeeping(FilePersistence):
    """Snakemake's notes in ``.snakemake``, with four of its faults (seen in 9.27) mended.

    A head notes the SLURM id of each output that it has submitted, but once the job starts, the Snakemake in it notes
    that it has none (https://github.com/snakemake/snakemake/issues/762): whoever cancels the jobs of a killed head
    would know but those that waited. A head that ends removes the locks of all heads in the directory, and two that
    begin at the same moment have one file of locks, and the same files to make. And a job that has ended is half-made
    for it until the head has noted so: a training of days would begin anew if a kill fell in between, or if the job of
    a cluster ended after its head.

    It is made when the rules are known and before jobs are: ``checks`` are what is to be looked at by then.
    """

    checks: ClassVar[list[Callable[["DAG"], None]]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        with _told():
            super().__init__(*arguments, **options)
            if not self.dag.workflow.is_main_process:
                return
            if self._writes:
                check_room()
            for check in self.checks:
                check(self.dag)

    def drop_iocache(self) -> None:
        """Remove the note of which files there are, if there is one."""
        with _told():
            super().drop_iocache()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the locks on the files of this head; raise `LockException` if another one makes some of them."""
        with super().lock():
            # Two that began at the same moment have both found none.
            if self.locked:
                raise LockException
            yield

    def _read_locks(self) -> Iterator[tuple[str, str]]:
        for lock in Path(self._lockdir).glob("*.*.lock"):
            # One that is gone by now locks nothing.
            with suppress(FileNotFoundError):
                if str(lock) not in self._lockfile.values() and not lock.is_dir():
                    yield from ((lock.name.split(".")[1], key) for key in lock.read_text().splitlines())

    def _write_locks(self, lock_type: str, keys: Iterable[str]) -> None:
        if not (lines := list(keys)):
            return
        with _told():
            for number in count():
                lock = Path(self._lockdir, f"{number}.{lock_type}.lock")
                # Each head has a file of its own, also if another one begins at the same moment.
                with suppress(FileExistsError), lock.open("x") as file:
                    self._lockfile[lock_type] = str(lock)
                    print(*lines, sep="\n", file=file)
                    return

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

    def params_changed(self, job: "Job", file: str | None = None) -> bool | ParamsChange:
        """Return how a job's parameters differ from the note, unless that is of the run before the one that ended."""
        changes = super().params_changed(job, file)
        return NO_PARAMS_CHANGE if changes and _is_made(job) else changes

    async def incomplete(self, job: "Job") -> list:
        """Return the outputs of a job that was cut off; of one that had ended none, and note that."""
        found = await super().incomplete(job)
        if not found or not self._has_ended(job):
            return found
        if self._writes:
            with _told():
                await self.finished(job)
        return []

    def _has_ended(self, job: "Job") -> bool:
        """Whether a job that was begun has ended: it, and not the one of a run before."""
        if not _is_made(job):
            return False
        # A job that still waits in a queue has the results of the run before in the place of its own, whose identity
        # is the same if what they were made from was made again. Snakemake changes times of results, not of records.
        begun = self._filter_incomplete_keys([self._get_key(file) for file in job.output])
        before = [self._record_path(self._incomplete_path, key) for key in begun]
        return not any_later([*before, *map(run_record_path, job.input)], run_record_path(job.output[0]))

    def _unmark_incomplete(self, key: str) -> None:
        # A head notes what a job has made once it sees its end. If it is gone by then, the next one has to know that
        # the job was begun: what is noted is that of the run before, which may be of other parameters.
        if self.dag.workflow.is_main_process:
            super()._unmark_incomplete(key)

    @property
    def _writes(self) -> bool:
        # Plans and lists may be made where nothing can be written.
        asked = self.dag.workflow
        return asked.is_main_process and asked.executor_plugin is not None and not asked.dryrun

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


def _is_made(job: "Job") -> bool:
    # With other parameters, such as the list of what is put together, the identity does not say all.
    return [*job.params] == [job.params.get("identity")] and made_whole(job.output, job.params[0])


def keep_books(*checks: Callable[["DAG"], None]) -> None:
    """Let the Snakemake of this process use the mended notes; before it plans.

    ``checks`` get what is asked of Snakemake once the rules are known, and may raise `CamstudyError`.
    """
    workflow.FilePersistence = Bookkeeping
    Bookkeeping.checks[:] = checks
    # A full disk takes no lines of logs either: Python would print a traceback for each.
    logging.raiseExceptions = False
