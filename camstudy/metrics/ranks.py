"""Exact average ranks and rank correlation of many arrays at once, by radix sorting their bit patterns.

Ranks are handled doubled and as integers (the average rank of a group of ties is a half-integer), so sums of
their products are exact. Zeros of either sign tie; denormals are ordinary values; infinities rank at the
ends. NaN has no rank: callers exclude it.
"""

import numba
import numpy as np

MAX_LENGTH = 3_000_000  # sums of products of doubled, centred ranks reach length**3 / 3 and must fit in int64

# bits sorted per pass: three passes cover 32 bits, and the 2048 counters of a pass stay in the L1 cache
_DIGIT = np.uint32(11)
_BUCKETS = 1 << 11
_PASSES = 3
_MASK = np.uint32(_BUCKETS - 1)
_SIGN = np.uint32(0x80000000)
_NEGATIVE_ZERO = np.uint32(0x7FFFFFFF)  # its key before the correction; that of 0.0 follows it
_ONES = np.uint32(0xFFFFFFFF)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks 1..N along the last axis of (n, N), ties sharing their average, as float64 (n, N).

    Equal to ``scipy.stats.rankdata(values, axis=1)``. Types as for `rank_correlation`.
    """
    return _rank_rows(_bit_patterns(values)) / 2


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each row of ``first`` (n, N) with that of ``second``, as float64 (n,).

    With ``first`` (n, m, N), each of m rows with the same row of ``second``, which is ranked once: float64 (n, m).
    Pearson's correlation of average ranks; 0 where either row is constant. No value is rounded: float16 and
    float32 (and integers that fit) are sorted as float32, float64 through its dense ranks, which is slower.
    Other types raise TypeError; more than `MAX_LENGTH` values a row raise ValueError.
    """
    *rows, length = np.shape(first)
    if len(rows) not in (1, 2) or (rows[0], length) != np.shape(second):
        raise ValueError(f"rows to correlate differ in shape: {np.shape(first)} and {np.shape(second)}")
    patterns = _bit_patterns(np.reshape(first, (-1, length)))
    return _correlate_rows(patterns, _bit_patterns(second)).reshape(rows)


def _bit_patterns(values: np.ndarray) -> np.ndarray:
    """Return uint32 (n, N) patterns that, read as float32, are ordered and tied as ``values`` are."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] > MAX_LENGTH:
        raise ValueError(f"expected (n, at most {MAX_LENGTH:,}) values, found shape {values.shape}")
    if np.can_cast(values.dtype, np.float32):
        return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    if values.dtype != np.float64:
        raise TypeError(f"values of type {values.dtype} cannot be ranked exactly; convert them to float64")
    patterns = np.empty(values.shape, dtype=np.uint32)
    for row, pattern in zip(values, patterns, strict=True):
        # dense ranks: as patterns, small integers are non-negative float32 numbers in the same order
        pattern[:] = np.unique(row, return_inverse=True)[1]
    return patterns


@numba.njit(cache=True, nogil=True)
def _rank_rows(patterns: np.ndarray) -> np.ndarray:
    """Return doubled average ranks (n, N) of bit patterns (n, N)."""
    rows, length = patterns.shape
    ranks = np.empty((rows, length), np.uint32)
    work = np.empty((2, length), np.uint64)
    counts = np.empty((_PASSES, _BUCKETS), np.uint32)
    index = np.arange(length).astype(np.uint32)
    for row in range(rows):
        _rank(patterns[row], index, work, counts, ranks[row])
    return ranks


@numba.njit(cache=True, nogil=True)
def _correlate_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rank correlations (n m,) of bit patterns (n m, N), m running rows with each of ``second`` (n, N)."""
    rows, length = first.shape
    each = rows // max(len(second), 1)
    result = np.empty(rows)
    variance_second = 0
    ranks = np.empty(length, np.uint32)
    work = np.empty((2, length), np.uint64)
    counts = np.empty((_PASSES, _BUCKETS), np.uint32)
    index = np.arange(length).astype(np.uint32)
    for row in range(rows):
        if row % each == 0:
            variance_second = _rank(second[row // each], index, work, counts, ranks)
        # carrying the ranks of `second` through the sort of `first` puts them in its order without look-ups
        ordered = _sort(first[row], ranks, work, counts)
        variance_first = 0
        covariance = 0
        start = 0
        while start < length:
            stop = _end_of_ties(ordered, start)
            centred = start + stop - length  # 2 rank - (N + 1), as in `_rank`
            total = 0
            for position in range(start, stop):
                total += np.int64(ordered[position] & _LOW) - (length + 1)
            variance_first += (stop - start) * centred**2
            covariance += centred * total
            start = stop
        if variance_first == 0 or variance_second == 0:
            result[row] = 0.0
        else:
            result[row] = covariance / np.sqrt(float(variance_first) * float(variance_second))
    return result


@numba.njit(cache=True, nogil=True)
def _rank(patterns: np.ndarray, index: np.ndarray, work: np.ndarray, counts: np.ndarray, ranks: np.ndarray) -> int:
    """Write a row's doubled average ranks to ``ranks``; return the sum of squares of 2 rank - (N + 1)."""
    length = patterns.size
    ordered = _sort(patterns, index, work, counts)
    squares = 0
    start = 0
    while start < length:
        stop = _end_of_ties(ordered, start)
        doubled = np.uint32(start + stop + 1)  # twice the mean of the ranks start + 1, ..., stop
        for position in range(start, stop):
            ranks[ordered[position] & _LOW] = doubled
        squares += (stop - start) * (start + stop - length) ** 2
        start = stop
    return squares


@numba.njit(cache=True, nogil=True)
def _end_of_ties(ordered: np.ndarray, start: int) -> int:
    """Return the position after the last element whose key equals that at ``start``."""
    key = ordered[start] >> _HALF
    stop = start + 1
    while stop < ordered.size and ordered[stop] >> _HALF == key:
        stop += 1
    return stop


@numba.njit(cache=True, nogil=True)
def _sort(patterns: np.ndarray, payload: np.ndarray, work: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return ``key << 32 | payload`` sorted by key, where key is the sortable form of a float32 pattern.

    Least significant digit first; ``work`` (2, N) holds both buffers. The minimum is often a plateau (the
    zeros of a ReLU, a floor); its members go to the front at once, since counting sort is slowest when one
    bucket takes all.
    """
    length = patterns.size
    source, target = work[0], work[1]
    smallest = _ONES
    for i in range(length):
        smallest = min(smallest, _sortable(patterns[i]))
    ties = 0
    for i in range(length):
        ties += _sortable(patterns[i]) == smallest
    counts[:] = 0
    front, back = np.uint64(0), np.uint64(ties)
    for i in range(length):
        key = _sortable(patterns[i])
        packed = np.uint64(key) << _HALF | np.uint64(payload[i])
        if key == smallest:
            target[front] = packed  # an odd number of passes ends in `target`
            front += np.uint64(1)
        else:
            source[back] = packed
            back += np.uint64(1)
            counts[0, key & _MASK] += np.uint32(1)
            counts[1, key >> _DIGIT & _MASK] += np.uint32(1)
            counts[2, key >> _DIGIT >> _DIGIT] += np.uint32(1)
    for digit in range(_PASSES):
        following = counts[digit]
        position = np.uint32(ties)
        for bucket in range(_BUCKETS):
            position, following[bucket] = position + following[bucket], position
        shift = _HALF + np.uint64(_DIGIT) * np.uint64(digit)
        for i in range(ties, length):
            packed = source[i]
            bucket = packed >> shift & np.uint64(_MASK)
            place = following[bucket]
            target[place] = packed
            following[bucket] = place + np.uint32(1)
        source, target = target, source
    return source


@numba.njit(cache=True, nogil=True, inline="always")
def _sortable(pattern: int) -> int:
    """Return the uint32 whose unsigned order is the order of float32 patterns, with -0.0 equal to 0.0."""
    key = pattern ^ (np.uint32(np.int32(pattern) >> np.int32(31)) | _SIGN)
    return key + np.uint32(key == _NEGATIVE_ZERO)
