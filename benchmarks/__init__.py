"""Speed and memory beside peers: each ``bench_*.py`` has ``rows(small)``, which `benchmarks.run` finds by its name."""

import os

# Before anything imports tqdm, which reads it then; for processes that benchmarks start, too.
os.environ["TQDM_DISABLE"] = "1"
