"""Estimates of what jobs take, against sums done by hand."""

import pytest

from camstudy.data.sources import expected_images
from camstudy.pipeline.pace import Finished, Pace
from camstudy.pipeline.plan import pending_jobs, plan, render
from camstudy.pipeline.resources import estimate, request

ROW = {
    "gpu": False,
    "mem_mb": 1000,
    "mem_mb_per_image": 0,
    "minutes": 0,
    "seconds_per_image": 0,
    "disk_mb": 0,
    "disk_kb_per_image": 0,
    "files": 3,
    "files_per_chunk": 0,
}
EXPLAIN = {"gpu": True, "mem_mb_per_image": 10, "minutes": 1, "seconds_per_image": 0.01}
DISK = {"disk_kb_per_image": 2, "files": 6, "files_per_chunk": 3}
GRADCAM = {"method": "gradcam", "parameters": {}, "passes": 1}
CONFIG = {
    "explain": {"chunk_size": 100, "batch_size": 20},
    "resources": {
        "minutes_per_job": 30,
        "safety": 2,
        "least_minutes": 5,
        "cpu_factor": 10,
        "rules": {
            "prepare": ROW | {"minutes": 2},
            "train": ROW | {"gpu": True, "mem_mb_per_image": 10, "seconds_per_image": 0.03, "disk_mb": 200},
            "explain": ROW | EXPLAIN | DISK,
            "score": ROW | {"seconds_per_image": 0.5},
            "score_on_model": ROW | EXPLAIN,
            "time_method": ROW | EXPLAIN,
        },
    },
    "catalog": {
        "protocols": {
            "cascade": {"family": "sanity", "n_images": 50, "steps": 12},
            "curves": {
                **{"family": "faithfulness", "metrics": ["insertion_auc"], "step": 224, "start": "black"},
                **{"target": "black", "blur": 11, "normalize": "resized", "ties": "row_major", "removed": "rounded"},
            },
            "speed": {"family": "cost", "batch_size": 40, "seconds": 15},
        },
        "datasets": {
            "d": {"n_images": 6000},
            "t": {"n_images": 1000},
            "shards": {"source": "clickme", "n_images": None, "shards": ["a", "b"]},
        },
        "models": {
            "m": {"input": {}, "train": {"dataset": "t", "epochs": 4, "batch_size": 8, "accumulate": 1, "gpu": 1}},
            "pair": {"input": {}, "train": {"dataset": "t", "epochs": 4, "batch_size": 8, "accumulate": 4, "gpu": 2}},
            "large": {"input": {"size": 448}, "train": None},
        },
        "methods": {
            "cam": GRADCAM,
            "slow": GRADCAM | {"passes": 500},
            "first": GRADCAM | {"stage": 1},
            "third": GRADCAM | {"stage": 3},
            "before_last": GRADCAM | {"stage": -2},
            "last": GRADCAM | {"stage": 4},
            "pixels": GRADCAM | {"method": "input_gradient"},
            "masks": GRADCAM | {"method": "meaningful_perturbation", "parameters": {"mask_size": 14}},
        },
    },
}


def job(**wildcards):
    return {"dataset": "d", "model": "m", "method": "cam", "part": ""} | wildcards


@pytest.mark.parametrize(
    ("rule", "wildcards", "options", "seconds"),
    [
        ("prepare", {"dataset": "d"}, {}, 120),
        ("explain", job(), {}, 60 + 6000 * 0.01),
        ("explain", job(), {"gpu": False}, 60 + 10 * 6000 * 0.01),
        ("explain", job(model="large"), {}, 60 + 4 * 6000 * 0.01),
        ("explain", job(method="slow", part="/01024-02047"), {}, 60 + 1024 * 500 * 0.01),
        ("train", {"model": "m"}, {}, 4 * 1000 * 0.03),
        ("train", {"model": "pair"}, {}, 4 * 1000 * 0.03 / 2),
        ("train", {"model": "pair"}, {"gpu": False}, 10 * 4 * 1000 * 0.03),
        # Every step explains the chosen images again; of the timed ones, a batch once and for as long as is allowed.
        ("score_on_model", job(method="slow", protocol="cascade"), {}, 60 + 50 * 13 * 500 * 0.01),
        # The image as it is, masked and cut, and twice 224 steps of 224 pixels; the method has explained before.
        ("score_on_model", job(method="slow", protocol="curves"), {}, 60 + 6000 * 451 * 0.01),
        ("score_on_model", job(method="slow", protocol="cascade"), {"gpu": False}, 60 + 10 * 50 * 13 * 500 * 0.01),
        ("time_method", job(method="slow", protocol="speed"), {}, 60 + 4 * 15 + 40 * 500 * 0.01),
        # Without networks, a GPU more or less is nothing to it; methods cost when they explain, not when scored.
        ("score", job(method="slow", model="large"), {"gpu": False}, 6000 * 0.5),
    ],
)
def test_seconds(rule, wildcards, options, seconds):
    assert estimate(CONFIG, rule, wildcards, **options).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rule", "wildcards", "memory", "disk", "files"),
    [
        ("prepare", {"dataset": "d"}, 1000, 0, 3),
        ("explain", job(), 1000 + 20 * 10, 12, 6 + 3 * 60),
        ("explain", job(part="/05120-05999", model="large"), 1000 + 20 * 10 * 4, 0.88 * 2, 6 + 3 * 9),
        ("time_method", job(protocol="speed"), 1000 + 40 * 10, 0, 3),
        ("train", {"model": "m"}, 1000 + 8 * 10, 200, 3),
        ("train", {"model": "pair"}, 2000 + 8 // 4 * 10, 200, 3),
    ],
)
def test_memory_disk_and_files(rule, wildcards, memory, disk, files):
    found = estimate(CONFIG, rule, wildcards)
    assert (found.memory_mb, found.disk_mb, found.files) == (pytest.approx(memory), pytest.approx(disk), files)


def test_each_attempt_asks_for_as_much_again():
    slow = job(method="slow", part="/00000-00299")
    first, second = (request(CONFIG, "explain", slow, attempt, gpu=True) for attempt in (1, 2))
    assert first == {"mem_mb": 1200, "runtime": 2 * (1 + 25)}
    assert second == {"mem_mb": 2400, "runtime": 4 * (1 + 25)}


def test_short_jobs_ask_for_the_least_time():
    assert request(CONFIG, "prepare", {"dataset": "d"}, 1, gpu=False)["runtime"] == 5
    assert request(CONFIG, "prepare", {"dataset": "d"}, 3, gpu=False)["runtime"] == 15


def test_data_of_unknown_length_are_guessed():
    assert expected_images(CONFIG["catalog"]["datasets"]["shards"]) == 2 * 3072
    people = {"source": "clickme", "shards": {"url": "https://host/{i}", "count": 17}, "n_images": None}
    assert expected_images(people) == 17 * 3072
    assert expected_images({"source": "imagenet", "n_images": None}) == 50_000
    assert expected_images({"source": "imagenet", "split": "val", "n_images": None}) == 50_000
    assert expected_images({"source": "imagenet", "split": "train", "n_images": None}) == 1_281_167
    assert expected_images({"source": "cub200", "split": "test", "n_images": None}) == 5794
    assert expected_images({"source": "cub200", "split": "train", "n_images": None}) == 5994


SUMMARY = """\
output_file	date	rule	log-file(s)	status	plan
results/maps/d/m/cam.json	-	explain	-	missing	update pending
results/maps/d/m/slow/00000-00299.json	-	explain	-	missing	update pending
results/maps/d/large/cam.json	Sat	explain	a.log	ok	no update
results/models/m/model.safetensors	-	train	-	missing	update pending
results/models/m/model.json	-	train	-	missing	update pending
results/table.csv	-	unknown	-	missing	update pending
"""
OUTPUTS = {
    "explain": r"results/maps/(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<method>[^/]+)(?P<part>(/\d+-\d+)?)\.json",
    "train": r"results/models/(?P<model>[^/]+)/model\.safetensors",
}


def test_pending_jobs_are_read_from_snakemakes_summary():
    assert pending_jobs(SUMMARY.splitlines(), OUTPUTS) == [
        ("explain", job()),
        ("explain", job(method="slow", part="/00000-00299")),
        ("train", {"model": "m"}),
    ]


def test_the_plan_adds_up():
    jobs = pending_jobs(SUMMARY.splitlines(), OUTPUTS)
    # The training is done once and took as long as the table says.
    done = Finished("train", "cuda", {"model": "m"}, fixed=0, varying=120, seconds=121)
    rows = plan(CONFIG, jobs, Pace([done], gpu=True), gpu=True)
    assert list(rows) == ["train", "explain"]
    explain, train = rows["explain"], rows["train"]
    assert (explain.jobs, explain.measured, explain.files) == (2, 0, 6 + 180 + 6 + 9)
    assert (train.jobs, train.measured) == (1, 1)
    assert explain.seconds == pytest.approx(60 + 60 + 60 + 300 * 500 * 0.01)
    assert explain.longest == pytest.approx(60 + 1500)
    text = render("demo", rows)
    assert "in all" in text
    assert "1 of 3 jobs follow from what finished ones took" in text
    whole = render("demo", {"train": train})
    assert "Times follow from what finished jobs took here.\n" in whole
    assert "a guess" in text
    assert "a guess" not in whole
    # 120 s of training and 1680 s of explaining are half an hour.
    assert total(text) == ["in", "all", "3", "30", "min", "30", "min", "212.6", "MB", "204"]
    # Two jobs cannot be shorter than the training and the longest job of explaining, one after the other.
    assert "1: 30 min, 2: 28 min, 8: 28 min" in text


def total(text):
    (line,) = [line for line in text.splitlines() if line.startswith("in all")]
    return line.split()


def test_without_gpus_the_plan_has_no_gpu_hours():
    rows = plan(CONFIG, [("explain", job())], Pace([], gpu=False), gpu=False)
    assert rows["explain"].seconds == pytest.approx(60 + 600)
    assert total(render("demo", rows))[5] == "-"


def test_nothing_to_be_done():
    assert render("demo", plan(CONFIG, [], Pace([], gpu=True), gpu=True)) == "Plan of demo: nothing to be done."


@pytest.mark.parametrize(("method", "larger"), [("first", 64), ("third", 4), ("before_last", 4), ("last", 1)])
def test_maps_of_early_stages_are_larger(method, larger):
    assert estimate(CONFIG, "explain", job(method=method)).disk_mb == pytest.approx(larger * 6000 * 2 / 1000)
    assert estimate(CONFIG, "score", job(method=method)) == estimate(CONFIG, "score", job())


@pytest.mark.parametrize(
    ("method", "model", "larger"), [("pixels", "m", 32**2), ("pixels", "large", 64**2), ("masks", "large", 4)]
)
def test_maps_of_another_resolution_than_the_layers_are_larger(method, model, larger):
    assert estimate(CONFIG, "explain", job(method=method, model=model)).disk_mb == pytest.approx(larger * 12)
