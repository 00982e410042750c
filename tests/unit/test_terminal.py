"""What a run prints: a line for each job, errors once, and none of Snakemake's asides; how long is left."""

import io
import logging

import pytest
from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

from camstudy.core.damage import set_aside
from camstudy.core.errors import Damaged
from camstudy.pipeline.progress import TRUSTED, Progress
from camstudy.pipeline.terminal import Terminal

TITLES = {1: "Train net", 2: "Explain net on scenes with gradcam", 3: "Score gradcam of net on scenes by human_maps"}
RULES = {1: "train", 2: "explain", 3: "score"}
OUT_OF_MEMORY = ": it was killed (SIGKILL), most likely as the memory of this machine ran out"
RAISED = """RuleException:
CalledProcessError in file "/a/models.smk", line 91:
Command 'set -euo pipefail;  python scripts/tmp.train.py' """


class Run:
    """A terminal, and what Snakemake tells it of a run of three jobs."""

    def __init__(self, *, local: bool = True, tty: bool = False) -> None:
        self.stream = io.StringIO()
        self.stream.isatty = lambda: tty
        former = ColorizingTextHandler(
            stream=self.stream, formatter=DefaultFormatter(), filter=DefaultFilter(None, False, False, False, False)
        )
        progress = Progress(dict.fromkeys(RULES, 60), RULES, 1, 0)
        self.terminal = Terminal(former, lambda: progress, local=local)

    def say(self, text, event=None, level=logging.INFO, **facts):
        record = logging.LogRecord("snakemake", level, "", 0, text, (), None)
        record.__dict__.update(facts | ({"event": event} if event else {}))
        self.terminal.handle(record)

    def begin(self, job):
        self.say("Execute 1 jobs...", LogEvent.JOB_STARTED, jobs=[job])
        self.say("", LogEvent.JOB_INFO, jobid=job, rule_name=RULES[job], rule_msg=TITLES[job], indent=False)
        self.say("Shell command: None", LogEvent.SHELLCMD, shellcmd=None)

    def end(self, job):
        self.say(f"Finished jobid: {job} (Rule: {RULES[job]})", LogEvent.JOB_FINISHED, job_id=job)
        self.say(None, LogEvent.PROGRESS, done=job, total=3)
        self.say("Select jobs to execute...")

    def fail(self, job, how):
        """Let a job fail as Snakemake tells it."""
        self.say(f"{RAISED}{how}", LogEvent.ERROR, logging.ERROR, exception="RuleException")
        facts = {"jobid": job, "rule_name": RULES[job], "rule_msg": None, "log": [f"results/logs/{job}.log"]}
        facts |= {"input": [], "output": ["a"], "conda_env": None, "shellcmd": None, "aux": {}, "indent": False}
        self.say(f"Error in rule {RULES[job]}", LogEvent.JOB_ERROR, logging.ERROR, **facts)

    @property
    def lines(self):
        return self.stream.getvalue().splitlines()


def test_a_run_is_a_line_for_each_job():
    run = Run()
    for aside in ("Building DAG of jobs...", "Using shell: /usr/bin/bash", "Conda environments: ignored"):
        run.say(aside)
    run.say("Provided cores: 2", LogEvent.RESOURCES_INFO, cores=2)
    run.say("Job stats:\njob count", LogEvent.RUN_INFO, stats={})
    for job in RULES:
        run.begin(job)
        run.end(job)
    # A rule that only gathers files says nothing.
    run.say("", LogEvent.JOB_INFO, jobid=9, rule_name="all", rule_msg=None, indent=False)
    run.say("Finished jobid: 9 (Rule: all)", LogEvent.JOB_FINISHED, job_id=9)
    run.say("Complete log(s): /a/b.log")
    run.say("Elapsed time: 0:00:01")
    assert len(run.lines) == 5
    assert run.lines[0].startswith("3 jobs, about ")
    for done, title in enumerate(TITLES.values()):
        percent = (0, 33, 66)[done]
        assert run.lines[done + 1].startswith(f"[{done}/3  {percent:>2} %  about ")
        assert run.lines[done + 1].endswith(f" left] {title}")
    assert run.lines[4].startswith("3 jobs done in ")


def test_on_a_cluster_a_line_comes_when_a_job_is_done():
    run = Run(local=False)
    run.begin(1)
    run.say("Job 1 has been submitted with SLURM jobid 7 (log: /a/7.log).")
    run.begin(2)
    assert run.lines == []
    run.end(2)
    (line,) = run.lines
    assert line.startswith("[1/3  33 %")
    assert line.endswith(TITLES[2])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("returned non-zero exit status 1.", ""),
        (
            "died with <Signals.SIGKILL: 9>.",
            OUT_OF_MEMORY,
        ),
        (
            "returned non-zero exit status 137.",
            OUT_OF_MEMORY,
        ),
        ("died with <Signals.SIGTERM: 15>.", ": it was ended by SIGTERM"),
    ],
)
def test_a_failed_job_is_a_line_with_its_log(how, why):
    run = Run()
    run.begin(1)
    run.fail(1, how)
    assert run.lines[1:] == [f"failed: Train net (its log: results/logs/1.log){why}"]
    run.say("Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    run.say("Elapsed time: 0:00:01")
    run.say("WorkflowError:\nAt least one job did not complete successfully.", LogEvent.ERROR, logging.ERROR)
    assert run.lines[2:] == ["1 job failed, 2 not done, 0 of 3 done. The same command goes on from here"]


def test_several_failed_jobs_are_listed_in_the_end():
    run = Run()
    for job in (1, 2):
        run.begin(job)
        run.fail(job, "returned non-zero exit status 1.")
    run.say("Trying to restart job 2.")
    run.begin(2)
    run.fail(2, "returned non-zero exit status 1.")
    run.begin(3)
    run.end(3)
    run.say("Elapsed time: 0:00:01")
    assert run.lines[4] == f"tried again: {TITLES[2]}"
    assert run.lines[-3:] == [
        "2 jobs failed, 1 of 3 done. The same command goes on from here",
        "  Train net (its log: results/logs/1.log)",
        f"  {TITLES[2]} (its log: results/logs/2.log)",
    ]


def test_what_another_job_has_set_aside_is_no_riddle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damaged = tmp_path / "results/data/scenes.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    absent = "OSError: Missing files after 5 seconds.\n{} (missing locally, parent dir contents: scenes.zarr)"
    run = Run()
    set_aside(Damaged("x", "results/data/scenes.json"))
    run.say(absent.format("results/data/scenes.json"), LogEvent.ERROR, logging.ERROR, exception="WorkflowError")
    # What was not damaged is Snakemake's to tell.
    run.say(absent.format("results/data/other.json"), LogEvent.ERROR, logging.ERROR, exception="WorkflowError")
    first, *others = run.lines
    assert first == ("results/data/scenes.json: was damaged and set aside; start again: the same command makes it anew")
    assert others == absent.format("results/data/other.json").splitlines()


def test_what_is_not_known_as_an_aside_is_told():
    run = Run()
    run.say("Nothing to be done (all requested files are present and up to date).")
    for _ in range(3):
        run.say("take care", level=logging.WARNING)
    run.say("MissingOutputException: files are missing", LogEvent.ERROR, logging.ERROR)
    assert [line.split()[0] for line in run.lines] == ["Nothing", "take", "MissingOutputException:"]


def test_errors_alone_have_a_color_and_only_on_a_terminal():
    for tty in (False, True):
        run = Run(tty=tty)
        run.begin(1)
        run.fail(1, "died with <Signals.SIGKILL: 9>.")
        begun, failed = run.lines
        assert begun.startswith("[0/3")
        assert failed.startswith("\033[31m" if tty else "failed: ")


def test_time_left_follows_what_jobs_took():
    """Ten jobs of 10 s, two at a time; they take 30 s."""
    progress = Progress(dict.fromkeys(range(10), 10), dict.fromkeys(range(10), "explain"), 2, 0)
    assert progress.left(0) == pytest.approx(50)
    for turn in range(4):
        for job in (2 * turn, 2 * turn + 1):
            progress.begin(job, 30 * turn)
        for job in (2 * turn, 2 * turn + 1):
            progress.finish(job, 30 * turn + 30)
    assert progress.done == 8
    assert 24 < progress.left(120) < 30
    progress.begin(8, 120)
    progress.begin(9, 120)
    assert progress.left(135) == pytest.approx(progress.left(120) - 15, abs=2)


def test_a_rule_that_is_slower_than_expected_tells_little_of_others():
    expected = {0: 10, 1: 10, 2: 1000}
    progress = Progress(expected, {0: "check", 1: "check", 2: "train"}, 1, 0)
    progress.begin(0, 0)
    progress.finish(0, 30)
    assert progress.left(30) > 1000
    # One in thirty seconds has taken thirty instead of ten.
    assert progress.left(30) < 1000 * (30 + TRUSTED) / (10 + TRUSTED) + 30


def test_a_failed_job_is_left_and_may_begin_again():
    progress = Progress({0: 60}, {0: "train"}, 1, 0)
    progress.begin(0, 0)
    assert progress.left(30) == pytest.approx(30)
    progress.fail(0)
    assert progress.left(30) == pytest.approx(60, rel=0.51)
    assert (progress.done, progress.total) == (0, 1)
