"""How far a run is, and how long it will take: by what its jobs are expected to take, and what those done took."""

from collections import Counter, defaultdict
from collections.abc import Mapping

# Jobs of a rule are expected to be off as all are until one was done; all are as expected until so many seconds were.
TRUSTED = 60.0


class Progress:
    """The jobs of a run, by number; times are seconds of any clock.

    Parameters
    ----------
    expected : seconds of each job
    rules : rule of each job
    at_once : how many run side by side
    now : when the run begins
    """

    def __init__(self, expected: Mapping[int, float], rules: Mapping[int, str], at_once: float, now: float) -> None:
        self._expected, self._rules, self._at_once, self._start = expected, rules, max(at_once, 1), now
        self.total, self.done, self.failed = len(expected), 0, 0
        self._begun: dict[int, float] = {}
        self._left: dict[str, float] = defaultdict(float)
        self._took: dict[str, float] = defaultdict(float)
        self._guessed: dict[str, float] = defaultdict(float)
        self._number: Counter[str] = Counter()
        for job, seconds in expected.items():
            self._left[rules[job]] += seconds

    def begin(self, job: int, now: float) -> None:
        """Note that a job has begun, perhaps once more."""
        self._begun[job] = now

    def finish(self, job: int, now: float) -> None:
        """Note that a job is done."""
        if job in self._expected and job in self._begun:
            rule = self._rules[job]
            self._took[rule] += now - self._begun.pop(job)
            self._guessed[rule] += self._expected[job]
            self._number[rule] += 1
            self._left[rule] -= self._expected[job]
            self.done += 1

    def fail(self, job: int) -> None:
        """Note that a job has failed; it may begin again."""
        self._begun.pop(job, None)

    def seconds(self, now: float) -> float:
        """Return how long the run has taken."""
        return now - self._start

    def left(self, now: float) -> float:
        """Return how many seconds are left, as a guess."""
        overall = (sum(self._took.values()) + TRUSTED) / (sum(self._guessed.values()) + TRUSTED)
        off = {rule: self._off(rule, overall) for rule in self._left}
        running = {job: now - begun for job, begun in self._begun.items() if job in self._expected}
        work = sum(off[rule] * seconds for rule, seconds in self._left.items())
        work -= sum(min(seconds, off[self._rules[job]] * self._expected[job]) for job, seconds in running.items())
        busy = sum(self._took.values()) + sum(running.values())
        together = (busy + TRUSTED * self._at_once) / (self.seconds(now) + TRUSTED)
        return max(work, 0) / max(together, 1)

    def _off(self, rule: str, overall: float) -> float:
        """Return how many times as long as expected the jobs of a rule take."""
        one = self._guessed[rule] / self._number[rule] if self._number[rule] else 1
        return (self._took[rule] + one * overall) / (self._guessed[rule] + one)
