"""From the samples of an eye tracker to fixations."""

import numpy as np

RATE = 240.0  # samples per second of MIT1003's eye tracker
DISPERSION = 70.0  # pixels, about two degrees of MIT1003's screen
SHORTEST = 100.0  # milliseconds


def find_fixations(
    samples: np.ndarray, *, rate: float = RATE, dispersion: float = DISPERSION, shortest: float = SHORTEST
) -> tuple[np.ndarray, np.ndarray]:
    """Return where an eye rested and for how long: float64 (k, 2) and (k,), medians of samples and milliseconds.

    By dispersion (I-DT, Salvucci and Goldberg 2000): a fixation begins with the first samples that last ``shortest``
    and whose range along both axes adds up to at most ``dispersion``, and takes in samples as long as it does. Negative
    samples, and those that are not finite, are blinks: a fixation ends before them.

    Parameters
    ----------
    samples : (n, 2) in pixels
    rate : samples per second
    dispersion : in pixels
    shortest : in milliseconds
    """
    samples = np.asarray(samples, np.float64)
    least = max(int(np.ceil(shortest * rate / 1000)), 1)
    seen = (np.isfinite(samples) & (samples >= 0)).all(1)
    points = samples.tolist()  # plain numbers, of which a million are compared faster one by one
    centres, durations, start = [], [], 0
    while start + least <= len(samples):
        stop = _rest(points, seen, start, dispersion)
        if stop - start >= least:
            centres.append(np.median(samples[start:stop], axis=0))
            durations.append((stop - start) * 1000 / rate)
            start = stop
        else:
            start += 1
    return np.reshape(centres, (-1, 2)), np.array(durations)


def _rest(points: list[list[float]], seen: np.ndarray, start: int, dispersion: float) -> int:
    """Return where the samples that lie close together end that begin at ``start``."""
    left, upper = right, lower = points[start]
    for stop in range(start, len(points)):
        if not seen[stop]:
            return stop
        x, y = points[stop]
        left, right, upper, lower = min(left, x), max(right, x), min(upper, y), max(lower, y)
        if right - left + lower - upper > dispersion:
            return stop
    return len(points)
