"""The benchmark of a cluster, at its smallest size. No test looks at a time."""

import math

import pytest

from benchmarks.bench_cluster import rows
from cluster.slurm import unavailable


@pytest.mark.skipif(unavailable() is not None, reason=f"no cluster can run here: {unavailable()}")
def test_smallest_size():
    own, each, wall = rows(small=True)
    for row in (own, each, wall):
        assert math.isfinite(row.figure), row
    # Steps are a part of their jobs.
    assert 0 < own.figure < 1
    assert each.figure > 0
    assert wall.figure > 0
