"""How fast this machine is: what finished jobs took, kept beside the results, and what others will take by that."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import exp, inf, log
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import read_json, run_record_path, write_json
from camstudy.pipeline.resources import Estimate, estimate

# Kept where results are deleted, as by `make clean`.
LEDGER = Path("results/speed.json")
# Wildcards by which jobs of a rule are alike; data and parts differ by their number of images alone.
LIKENESS = ("model", "method", "protocol", "table", "figure")
# What the table's guess counts, in finished jobs.
GUESS = 0.05
# Finished jobs that are looked at to tell what others like them take.
MOST = 64
LEAST = 0.1  # seconds


@dataclass(frozen=True)
class Finished:
    """A job that is done: what the table guessed, in seconds without its images and for them, and what it took.

    ``device`` is `cpu` or `cuda`, and empty where no network runs; ``names`` has those wildcards that make jobs alike.
    ``spent`` are the seconds that went to images, where the job has measured them.
    """

    rule: str
    device: str
    names: Mapping[str, str]
    fixed: float
    varying: float
    seconds: float
    spent: float | None = None


Patterns = Mapping[str, tuple[str, str]]  # rule: its benchmark as a regular expression, and its first output


class Pace:
    """What jobs take on a machine, learned from those that are done there."""

    def __init__(self, finished: Iterable[Finished], *, gpu: bool) -> None:
        self._finished: dict[str, list[Finished]] = {}
        for job in finished:
            if job.device in ("", "cuda" if gpu else "cpu"):
                self._finished.setdefault(job.rule, []).append(job)
        self._factors: dict[tuple[str, ...], tuple[float, float]] = {}

    def knows(self, rule: str) -> bool:
        """Whether any job of a rule is done."""
        return rule in self._finished

    def seconds(self, rule: str, wildcards: Mapping[str, str], guess: Estimate) -> float:
        """Return what a job takes by what those most like it took, or else by the table, whose ``guess`` is given."""
        if not self.knows(rule):
            return guess.seconds
        names = alike(wildcards)
        key = (rule, *names.values())
        if key not in self._factors:
            self._factors[key] = self._learn(rule, names)
        fixed, varying = self._factors[key]
        return fixed * max(guess.start, 1) + varying * (guess.seconds - guess.start)

    def _learn(self, rule: str, names: Mapping[str, str]) -> tuple[float, float]:
        """Return by what to multiply the two parts of the table's guess: first of the rule, then of the likest jobs."""
        jobs = self._finished[rule]
        if (rule,) not in self._factors:
            self._factors[(rule,)] = fit(jobs, (1, 1))
        shared = [sum(job.names.get(name) == value for name, value in names.items()) for job in jobs]
        likest = [job for job, count in zip(jobs, shared, strict=True) if count == max(shared)]
        return fit(likest, self._factors[(rule,)])


def alike(wildcards: Mapping[str, str]) -> dict[str, str]:
    """Return the wildcards by which jobs of a rule are alike."""
    return {name: wildcards[name] for name in LIKENESS if name in wildcards}


def fit(jobs: Sequence[Finished], start: tuple[float, float]) -> tuple[float, float]:
    """Return the factors of the fixed and of the varying part of a guess with which it is closest to what jobs took.

    Close in ratios: the sum of the squared logarithms of guess / seconds (of each part, where a job has measured them)
    and `GUESS` times those of the factors / ``start``, is least. So both parts stay above zero, and what the jobs do
    not tell, as all have as many images, is as it was in ``start``. By Gauss and Newton's method.

    >>> jobs = [Finished("explain", "cpu", {}, 30, images * 0.1, 3 + images * 0.4) for images in (8, 800)]
    >>> [round(factor, 2) for factor in fit(jobs, (1, 1))]
    [0.15, 3.5]
    """
    jobs = jobs[:: -(-len(jobs) // MOST)]
    first = second = 0.0  # logarithms of the factors, above `start`
    for _ in range(50):
        ff, fs, ss, f, s = GUESS, 0.0, GUESS, GUESS * first, GUESS * second
        for job in jobs:
            fixed = start[0] * exp(first) * max(job.fixed, 1)
            varying = start[1] * exp(second) * job.varying
            if job.spent and varying:
                errors = [(1.0, fixed, job.seconds - job.spent), (0.0, varying, job.spent)]
            else:
                errors = [(fixed / (fixed + varying), fixed + varying, job.seconds)]
            for part, guess, took in errors:
                error = log(guess / max(took, LEAST))
                ff, fs, ss = ff + part * part, fs + part * (1 - part), ss + (1 - part) ** 2
                f, s = f + part * error, s + (1 - part) * error
        whole = ff * ss - fs * fs
        steps = [(fs * s - ss * f) / whole, (fs * f - ff * s) / whole]
        # A step that is too long would be one to nowhere.
        scale = min(1, 1 / max(max(map(abs, steps)), 1e-9))
        first, second = first + scale * steps[0], second + scale * steps[1]
        if max(map(abs, steps)) < 1e-4:
            break
    return start[0] * exp(first), start[1] * exp(second)


def finished(config: Mapping, patterns: Patterns, images_of: Callable[[str], int]) -> dict[str, Finished]:
    """Return the jobs that are done, by their benchmarks: those of which results lie here, and those of the ledger."""
    return _noted() | dict(_found(config, patterns, images_of))


def note(config: Mapping, patterns: Patterns, images_of: Callable[[str], int]) -> None:
    """Write down what finished jobs took, so that it is known when their results are gone."""
    jobs = finished(config, patterns, images_of)
    if jobs and jobs != _noted():
        # A run does not fail where no more can be written: guesses are worse then.
        with suppress(OSError):
            write_json(LEDGER, {"jobs": {name: asdict(job) for name, job in sorted(jobs.items())}})


def _noted() -> dict[str, Finished]:
    try:
        return {name: Finished(**job) for name, job in read_json(LEDGER)["jobs"].items()}
    except (CamstudyError, KeyError, TypeError, AttributeError, OSError):
        # None yet, or none that can be read: it is a help to guess, no result.
        return {}


def _found(config: Mapping, patterns: Patterns, images_of: Callable[[str], int]) -> Iterator[tuple[str, Finished]]:
    for rule, (pattern, output) in patterns.items():
        row = config["resources"]["rules"].get(rule)
        for path in sorted(Path("results/benchmarks", rule).glob("**/*.tsv")) if row else ():
            match = re.fullmatch(pattern, str(path))
            if not match:
                continue
            wildcards = {name: text or "" for name, text in match.groupdict().items()}
            device, rate = _measured(output.format(**wildcards)) if row["gpu"] else ("", None)
            try:
                guess = estimate(config, rule, wildcards, gpu=device == "cuda", images_of=images_of)
                seconds = float(path.read_text().splitlines()[1].split("\t")[0])
            except (KeyError, ValueError, IndexError, OSError):
                # About entries that the catalogue lacks, not written yet, or damaged.
                continue
            if device is not None and 0 <= seconds < inf:
                varying = guess.seconds - guess.start
                spent = None if rate is None else min(rate * guess.images, seconds)
                yield str(path), Finished(rule, device, alike(wildcards), guess.start, varying, seconds, spent)


def _measured(result: str) -> tuple[str | None, float | None]:
    """Return on what a result was computed and the seconds that an image took; None where nothing says so."""
    try:
        record = read_json(run_record_path(result))
    except (CamstudyError, OSError):
        return None, None
    device, speed = record.get("device"), record.get("images_per_second")
    rate = record.get("seconds_per_image") or (1 / speed if speed else None)
    return None if device is None else "cpu" if device == "cpu" else "cuda", rate
