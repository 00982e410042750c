"""What a machine is learned to take: from made-up benchmarks of one study to the jobs of another, within two."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from test_resources import CONFIG, job

from camstudy.core.provenance import write_json
from camstudy.pipeline.pace import GUESS, LEDGER, Finished, Pace, finished, fit, note
from camstudy.pipeline.resources import estimate

PART = r"(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<method>[^/]+)(?P<part>(/\d+-\d+)?)"
PATTERNS = {
    "explain": (rf"results/benchmarks/explain/{PART}\.tsv", "results/maps/{dataset}/{model}/{method}{part}.json"),
    "train": (r"results/benchmarks/train/(?P<model>[^/]+)\.tsv", "results/models/{model}/model.safetensors"),
    "score": (
        r"results/benchmarks/score/(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<method>[^/]+)/(?P<protocol>[^/]+)\.tsv",
        "results/scores/{dataset}/{model}/{method}/{protocol}.json",
    ),
}
HEADER = "s\th:m:s\tmax_rss\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def images_of(dataset):
    return CONFIG["catalog"]["datasets"][dataset]["n_images"]


def done(rule, seconds, device="cpu", facts=(), **names):
    """Write the benchmark of a finished job, and the record of its run."""
    path = {
        "explain": "{dataset}/{model}/{method}{part}",
        "train": "{model}",
        "score": "{dataset}/{model}/{method}/{protocol}",
    }
    benchmark = Path("results/benchmarks", rule, path[rule].format(**names) + ".tsv")
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"{HEADER}{seconds}\t0:00:01\t500\n")
    if device:
        record = Path(PATTERNS[rule][1].format(**names)).with_suffix(".run.json")
        write_json(record, {"device": device, "seconds": 0.1, **dict(facts)})


def pace(gpu=False):
    return Pace(finished(CONFIG, PATTERNS, images_of).values(), gpu=gpu)


def planned(rule, gpu=False, **names):
    guess = estimate(CONFIG, rule, names, gpu=gpu, images_of=images_of)
    return pace(gpu).seconds(rule, names, guess)


def took(passes, images):
    """Return what explaining takes on this made-up machine: 4 s to start, a sixteenth of the table's time of a pass."""
    return 4 + passes * images * 0.00625


OTHERS = [
    (job(dataset="t"), 1, 1000),
    (job(model="large"), 4, 6000),
    (job(dataset="t", model="pair"), 1, 1000),
    (job(model="pair", method="slow", part="/00000-00099"), 500, 100),
    (job(model="large", method="slow", part="/00000-00299"), 2000, 300),
]


@pytest.mark.parametrize(("names", "passes", "images"), OTHERS)
def test_a_study_tells_what_another_takes(names, passes, images):
    """One of another model, method and number of images, after measurements that are off by up to a sixth."""
    noise = np.random.default_rng(0)
    for other, cost in (("cam", 1), ("third", 1), ("slow", 500)):
        for model in ("m", "pair"):
            part = "/00000-00009" if other == "slow" else ""
            count = 10 if part else 6000
            seconds = took(cost, count) * noise.uniform(5 / 6, 7 / 6)
            done("explain", seconds, **job(model=model, method=other, part=part))
    truth = took(passes, images)
    assert truth / 2 < planned("explain", **names) < truth * 2
    # At first sight the table was off by more.
    guess = estimate(CONFIG, "explain", names, gpu=False, images_of=images_of).seconds
    assert not truth / 2 < guess < truth * 2


def test_jobs_that_are_all_as_large_tell_little_of_larger_ones():
    """What is measured is met; what an image more costs stays nearer to the table than to nothing."""
    done("explain", 5, **job(part="/00000-00009"))
    assert planned("explain", **job(part="/00000-00009")) == pytest.approx(5, rel=0.1)
    assert 100 < planned("explain", **job()) < 600


def test_what_an_image_took_is_known_where_the_job_has_measured_it():
    done("explain", 5, facts={"seconds_per_image": 0.1}, **job(part="/00000-00009"))
    assert planned("explain", **job()) == pytest.approx(4 + 600, rel=0.2)
    # Four epochs of a thousand images.
    done("train", 100, facts={"images_per_second": 50}, model="m")
    assert planned("train", model="m") == pytest.approx(100, rel=0.1)
    (trained,) = [each for each in finished(CONFIG, PATTERNS, images_of).values() if each.rule == "train"]
    assert trained.spent == 80


def test_the_likest_jobs_count():
    """A protocol that takes ten times as long as another does so for other models, too; a slow model is a slow one."""
    for model, slower in (("m", 1), ("pair", 2)):
        done("score", 30 * slower, "", **job(model=model, protocol="cascade"))
        done("score", 300 * slower, "", **job(model=model, protocol="curves"))
    for model, cascade, curves in (("m", 30, 300), ("pair", 60, 600), ("large", 42, 420)):
        assert planned("score", **job(model=model, protocol="cascade")) == pytest.approx(cascade, rel=0.15)
        assert planned("score", **job(model=model, protocol="curves")) == pytest.approx(curves, rel=0.15)


def test_it_outlives_the_results():
    done("train", 50, model="m")
    done("score", 30, "", **job(protocol="cascade"))
    before = finished(CONFIG, PATTERNS, images_of)
    assert len(before) == 2
    assert planned("train", model="m") == pytest.approx(50, rel=0.1)
    note(CONFIG, PATTERNS, images_of)
    for folder in Path("results").iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    assert finished(CONFIG, PATTERNS, images_of) == before
    # A job that is done anew counts as it was last.
    done("train", 80, model="m")
    assert planned("train", model="m") == pytest.approx(80, rel=0.1)


def test_what_says_nothing_is_left_out():
    guess = estimate(CONFIG, "train", {"model": "m"}, gpu=False, images_of=images_of).seconds
    done("train", 1, "NVIDIA A100", model="m")
    assert planned("train", model="m") == guess
    assert planned("train", gpu=True, model="m") < 5
    # Of an entry that the catalogue has no more; without a record of the run; half written.
    done("train", 1, model="unknown")
    done("train", 1, "", model="pair")
    done("explain", "", **job())
    assert list(finished(CONFIG, PATTERNS, images_of)) == ["results/benchmarks/train/m.tsv"]
    note(CONFIG, PATTERNS, images_of)
    LEDGER.write_text("{")
    assert len(finished(CONFIG, PATTERNS, images_of)) == 1


def test_the_fit_is_the_least_of_its_sum():
    random = np.random.default_rng(1)
    rows = [(random.uniform(5, 60), random.uniform(0, 600), random.uniform(1, 300)) for _ in range(12)]
    split = [(20, 100, 60, 50), (30, 10, 6, 2)]
    start = (0.5, 3.0)

    def loss(logs):
        first, second = np.exp(logs)
        errors = [np.log((first * f + second * v) / s) for f, v, s in rows]
        errors += [np.log(first * f / (s - spent)) for f, _, s, spent in split]
        errors += [np.log(second * v / spent) for _, v, _, spent in split]
        return np.square(errors).sum() + GUESS * np.square(logs - np.log(start)).sum()

    best = np.exp(minimize(loss, np.log(start)).x)
    found = fit([Finished("train", "cpu", {}, *row) for row in [*rows, *split]], start)
    assert found == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("content", [b"", b"s\n", b"s\nnan\t", b"s\n-1\t", b"s\ninf\t", b"\xff\n\xff\n", None])
def test_a_damaged_benchmark_tells_nothing(content):
    done("train", 100, model="m")
    benchmark = Path("results/benchmarks/train/m.tsv")
    assert [*finished(CONFIG, PATTERNS, images_of)] == [str(benchmark)]
    benchmark.unlink()
    if content is None:
        benchmark.mkdir()
    else:
        benchmark.write_bytes(content)
    assert not finished(CONFIG, PATTERNS, images_of)


@pytest.mark.parametrize("content", ["", "[", '{"jobs": 5}', '{"jobs": {"a": {"seconds": 1}}}', '{"jobs": [1]}', None])
def test_a_damaged_ledger_tells_nothing(content):
    done("train", 100, model="m")
    if content is None:
        LEDGER.mkdir()
    else:
        LEDGER.write_text(content)
    note(CONFIG, PATTERNS, images_of)
    assert [*finished(CONFIG, PATTERNS, images_of)] == ["results/benchmarks/train/m.tsv"]
