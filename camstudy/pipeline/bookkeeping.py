"""What Snakemake notes of unfinished outputs and of locks, mended: a job keeps its SLURM id, a head its locks."""

from pathlib import Path

from snakemake import workflow
from snakemake.persistence.file import FilePersistence


class Bookkeeping(FilePersistence):
    """Snakemake's notes in ``.snakemake``, with two of its faults (seen in 9.27) mended.

    A head notes the SLURM id of each output that it has submitted, but once the job starts, the Snakemake in it notes
    that it has none (https://github.com/snakemake/snakemake/issues/762): whoever cancels the jobs of a killed head
    would know but those that waited. And a head that ends removes the locks of all heads in the directory.
    """

    def _mark_incomplete(self, key: str, external_jobid: str | None) -> None:
        # Not written again either: tasks of an array do so at the same time, and would read half a note.
        within_job = not self.dag.workflow.is_main_process
        if not (within_job and external_jobid is None and self._get_external_jobids([key])):
            super()._mark_incomplete(key, external_jobid)

    def _delete_locks(self) -> None:
        for lock in self._lockfile.values():
            Path(lock).unlink(missing_ok=True)
        self._lockfile.clear()

    def cleanup_locks(self) -> None:
        """Remove the locks of all heads: `snakemake --unlock`."""
        super()._delete_locks()


def keep_books() -> None:
    """Let the Snakemake of this process use the mended notes; before it plans."""
    workflow.FilePersistence = Bookkeeping
