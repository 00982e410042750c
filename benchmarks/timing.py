"""How all benchmarks measure: contestants in turn, round after round, and the median of the rounds' ratios."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import torch
from threadpoolctl import threadpool_limits

from benchmarks.table import Row

CPU = torch.device("cpu")


def device() -> torch.device:
    """Return where networks are measured: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one CPU thread, so that ratios do not depend on how well each contestant uses several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def float32() -> AbstractContextManager:
    """Compute in the precision of the engine, so that a GPU does not compare TF32 with float32."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def interleave(
    contestants: Mapping[str, Callable[[], object]], repeats: int, on: torch.device = CPU
) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round, after one round of warm-up.

    On the CPU: the time that the process computes, which other programs disturb little. On a GPU: wall time between
    synchronisations.
    """
    clock = time.perf_counter if on.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(repeats + 1):
        for name, run in contestants.items():
            _wait(on)
            start = clock()
            run()
            _wait(on)
            if round_:
                times[name].append(clock() - start)
    return times


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median of the ratios within rounds."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def versus(name: str, times: Mapping[str, list[float]], a: str, b: str, limit: str, detail: str) -> Row:
    """Return the row of one contestant's time against another's."""
    shown = f"{milliseconds(times[a])} / {milliseconds(times[b])}, {detail}"
    return Row(name, ratio(times[a], times[b]), limit, shown)


def milliseconds(times: list[float]) -> str:
    """Return the median, for people to read."""
    median = 1000 * statistics.median(times)
    return f"{median:.0f} ms" if median >= 100 else f"{median:.1f} ms"


def _wait(on: torch.device) -> None:
    if on.type == "cuda":
        torch.cuda.synchronize(on)
