"""What a run prints on the terminal: a line for each job with progress and time left, and errors once."""

import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from snakemake.logging import ColorizingTextHandler, logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from camstudy.core.damage import made_anew
from camstudy.pipeline.pace import Pace
from camstudy.pipeline.plan import duration
from camstudy.pipeline.progress import Progress
from camstudy.pipeline.resources import estimate
from camstudy.study.study import Study

if TYPE_CHECKING:
    from snakemake.dag import DAG
    from snakemake.jobs import Job

# What Snakemake 9.27 tells of its own work, by how it begins. Its log in .snakemake/log has all of it.
ASIDES = (
    *("Building DAG of jobs", "Using shell", "Select jobs to execute", "Conda environments: ignored"),
    *("Singularity containers: ignored", "Group jobs: inactive", "Shutting down", "Exiting because a job execution"),
    *("Shell command", "SLURM run ID", "Complete log(s)", "Storing output in storage", "Cleaning up SLURM log files"),
)
EVENTS = (LogEvent.JOB_STARTED, LogEvent.PROGRESS, LogEvent.RESOURCES_INFO, LogEvent.SHELLCMD, LogEvent.GROUP_INFO)
SUBMITTED = re.compile(r"Job \d+ has been submitted|Submitted array job")
RESTARTED = re.compile(r"Trying to restart job (\d+)")
ENDED = re.compile(r"CalledProcessError.*?(?:died with <Signals\.(\w+)|non-zero exit status (\d+))", re.DOTALL)
ABSENT = re.compile(r"^(\S+) \(missing locally", re.MULTILINE)
FAILED = "At least one job did not complete successfully"
# A shell's status for a command that a signal has ended, above this.
SIGNALED = 128
KILLED = 9


class Terminal(ColorizingTextHandler):
    """Prints the events of a run in place of Snakemake's own handler ``former``, whose filters it takes over.

    On this machine a job's line comes as it begins. On a cluster, where jobs wait in a queue, it comes when it is done,
    and errors are as Snakemake prints them, with the logs of other machines.
    """

    def __init__(self, former: ColorizingTextHandler, progress: Callable[[], Progress], *, local: bool) -> None:
        super().__init__(stream=former.stream, formatter=former.formatter)
        self.name, self.nocolor = former.name, former.nocolor
        for each in former.filters:
            self.addFilter(each)
        self._make_progress, self._local = progress, local
        self._progress: Progress | None = None
        self._titles: dict[int, str] = {}
        self._failed: dict[int, str] = {}
        self._reason = self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Print what a record has to tell, if anything."""
        with self._output_lock:
            try:
                text = self.told(record, time.monotonic())
                # Snakemake says some things with every round of its scheduler.
                if text and text != self._last:
                    self._last = text
                    self.stream.write(f"{self.decorate(record, text)}\n")
                    self.flush()
            except BrokenPipeError:
                raise
            except OSError:
                self.handleError(record)

    def decorate(self, record: logging.LogRecord, message: str) -> str:
        """Color errors and warnings; a run that goes well has none."""
        return super().decorate(record, message) if record.levelno >= logging.WARNING else message

    def told(self, record: logging.LogRecord, now: float) -> str:
        """Return the text of a record; empty for those that a user need not see."""
        event = getattr(record, "event", None)
        if event in EVENTS:
            return ""
        if event == LogEvent.RUN_INFO:
            return self._beginning(now)
        if event == LogEvent.JOB_INFO:
            return self._begun(record, now)
        if event == LogEvent.JOB_FINISHED:
            return self._finished(record.job_id, now)  # type: ignore[attr-defined]
        if event == LogEvent.ERROR:
            return self._error(record)
        if event == LogEvent.JOB_ERROR:
            return self._job_error(record)
        return self.format(record) if event == LogEvent.GROUP_ERROR else self._said(record, now)

    @property
    def progress(self) -> Progress:
        """How far the run is, which is known once Snakemake has planned it."""
        if self._progress is None:
            self._progress = self._make_progress()
        return self._progress

    def _beginning(self, now: float) -> str:
        left = self.progress.left(now)
        return f"{_jobs(self.progress.total)}, about {duration(left)}" if self.progress.total else ""

    def _begun(self, record: logging.LogRecord, now: float) -> str:
        number, title = record.jobid, record.rule_msg  # type: ignore[attr-defined]
        if not title:  # of rules that only gather files
            return ""
        self._titles[number] = title
        self.progress.begin(number, now)
        return self._line(number, now) if self._local else ""

    def _finished(self, number: int, now: float) -> str:
        self.progress.finish(number, now)
        return "" if self._local or number not in self._titles else self._line(number, now)

    def _line(self, number: int, now: float) -> str:
        done, total = self.progress.done, self.progress.total
        left = f"about {duration(self.progress.left(now))} left"
        return f"[{done:>{len(str(total))}}/{total}  {100 * done // max(total, 1):>2} %  {left}] {self._titles[number]}"

    def _error(self, record: logging.LogRecord) -> str:
        """Keep why a script ended for the line about its job, which comes next; what else went wrong is told."""
        text = record.getMessage()
        if FAILED in text:
            return ""
        if aside := made_anew(ABSENT.findall(text)):
            # By a job of this run, from under another that was to read it.
            return f"{', '.join(aside)}: was damaged and set aside; start again: the same command makes it anew"
        if not (found := ENDED.search(text)):
            return text
        signal, status = found.groups()
        number = int(status or 0) - SIGNALED
        if signal == "SIGKILL" or number == KILLED:
            self._reason = "it was killed (SIGKILL), most likely as the memory of this machine ran out"
        elif signal or number > 0:
            self._reason = f"it was ended by {signal or f'signal {number}'}"
        return ""

    def _job_error(self, record: logging.LogRecord) -> str:
        """Return the line about a job that failed, whose script has said why."""
        number = record.jobid  # type: ignore[attr-defined]
        title = self._titles.get(number, record.rule_name)  # type: ignore[attr-defined]
        self.progress.fail(number)
        why, self._reason = self._reason, ""
        log = ", ".join(record.log)  # type: ignore[attr-defined]
        self._failed[number] = f"{title}{f' (its log: {log})' if log else ''}"
        if not self._local:
            return self.format(record)
        return f"failed: {self._failed[number]}{f': {why}' if why else ''}"

    def _said(self, record: logging.LogRecord, now: float) -> str:
        """Return a sentence of Snakemake's, of an executor's or of ours; empty for an aside."""
        text = record.getMessage()
        if text.startswith("Elapsed time"):
            return self._ending(record, now)
        if again := RESTARTED.match(text):
            number = int(again[1])
            self._failed.pop(number, None)
            return f"tried again: {self._titles.get(number, f'job {number}')}"
        return "" if text.startswith(ASIDES) or SUBMITTED.match(text) or text == "None" else text

    def _ending(self, record: logging.LogRecord, now: float) -> str:
        progress = self.progress
        if not progress.total:  # a plan, or nothing to be done
            return ""
        if progress.done == progress.total:
            return f"{_jobs(progress.total)} done in {duration(progress.seconds(now))}"
        record.levelno, record.levelname = logging.ERROR, "ERROR"
        count, others = len(self._failed), progress.total - progress.done - len(self._failed)
        text = f"{_jobs(count)} failed" if count else "stopped"
        text += f", {others} not done" if others else ""
        text += f", {progress.done} of {progress.total} done. The same command goes on from here"
        # Where there was one, it is the line before.
        failed = self._failed.values() if count > 1 else ()
        return "\n".join([text, *(f"  {each}" for each in failed)])


def follow(dag: "DAG", study: Study, pace: Callable[[], Pace], *, gpu: bool) -> None:
    """Let the Snakemake of this process print a line for each job, if it is about to run any.

    `--verbose` prints what Snakemake prints, and loggers of one's own are left alone.
    """
    workflow = dag.workflow
    settings = workflow.output_settings
    former = next((each for each in logger.handlers if each.name == "DefaultStreamHandler"), None)
    idle = workflow.executor_plugin is None or workflow.dryrun or workflow.touch
    if idle or former is None or settings.verbose or Quietness.ALL in (settings.quiet or ()):
        return

    def progress() -> Progress:
        return _progress(workflow.dag, study, pace(), gpu=gpu)

    logger.removeHandler(former)
    logger.addHandler(Terminal(former, progress, local=workflow.local_exec))


def _progress(dag: "DAG", study: Study, pace: Pace, *, gpu: bool) -> Progress:
    """Return the progress of what Snakemake has planned."""
    jobs = {dag.jobid(job): job for job in dag.needrun_jobs() if job.message}
    expected = {number: _seconds(job, study, pace, gpu=gpu) for number, job in jobs.items()}
    rules = {number: job.rule.name for number, job in jobs.items()}
    workflow = dag.workflow
    at_once: float = min(workflow.nodes or 1, len(jobs))
    if workflow.local_exec and expected:
        threads = sum(expected[number] * job.threads for number, job in jobs.items())
        at_once = workflow.cores * sum(expected.values()) / threads
    return Progress(expected, rules, at_once, time.monotonic())


def _seconds(job: "Job", study: Study, pace: Pace, *, gpu: bool) -> float:
    names = job.wildcards_dict
    guess = estimate(study.config, job.rule.name, names, gpu=gpu, images_of=study.expected_images)
    return pace.seconds(job.rule.name, names, guess)


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"
