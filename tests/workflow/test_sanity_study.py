"""Randomisation and the time of methods in the workflow: what a study adds, what is in it, and what runs again."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project
from PIL import Image

from camstudy.analysis.statistics import interval
from camstudy.core.identity import canonical
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.clickme import select
from camstudy.explain.explainer import Explainer
from camstudy.explain.store import Heatmaps
from camstudy.metrics.randomization import randomize_explained

N, CHOSEN, STEPS = 12, 5, 3
METHODS = ["gradcam", "guided"]
MODELS = {"net": RESNET | {"train": None, "weights": "random", "input": {"size": 32, "crop_pct": 1.0}}}
STUDY = {
    "study": "small",
    "dataset": "small",
    "models": list(MODELS),
    "methods": METHODS,
    "controls": ["center_bias"],
    "comparisons": [],
    "tables": ["dcls"],
    "figures": ["randomization"],
    "statistics": {"resamples": 199},
    "protocols": ["human_maps", "three"],
    "cost": "twice",
    "explain": {"chunk_size": 4, "batch_size": 2},
    "device": "cpu",
    "threads": {"train": 1, "explain": 1},
    "catalog": {
        "datasets": {"small": {"source": "digits", "split": "val", "n_images": N}},
        "models": MODELS,
        "methods": {"guided": {"title": "Guided", "method": "guided_backprop", "target": "predicted", "passes": 3}},
        "protocols": {
            "three": {"family": "sanity", "n_images": CHOSEN, "steps": STEPS, "seed": 1},
            "twice": {"family": "cost", "batch_size": 4, "repeats": 2, "seconds": 60},
        },
    },
}
PAIRS = [(model, method) for model in MODELS for method in METHODS]
FIGURE = "results/studies/small/figures/randomization.png"
TIMES = [f"results/cost/twice/small/{model}/{method}.json" for model, method in PAIRS]
AGGREGATED = "results/studies/small/steps.parquet"
TARGETS = [AGGREGATED, *TIMES, "results/cost/twice/net.json"]
SANITY = {f"Score {method} of {model} on small by three" for model, method in PAIRS}
TIMING = {f"Measure how long {method} takes for an image of small with {model}" for model, method in PAIRS}
AGGREGATE = {"Aggregate the randomisation of small"}


def of(messages, *words):
    return {message for message in messages if all(word in message.split() for word in words)}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with these results and heatmaps to compare with."""
    project = Project(tmp_path_factory.mktemp("sanity"))
    project.write_study(STUDY)
    assert asked(project) >= SANITY | TIMING | AGGREGATE
    heatmaps = [f"results/heatmaps/small/{model}/{method}.json" for model, method in PAIRS]
    project.run("--", *TARGETS, *heatmaps)
    return project


def asked(project, *targets):
    """Return the messages of the jobs that these targets would run, by default all."""
    output = project.run("--dry-run", "--", *(targets or TARGETS)).stdout
    return set(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))


def write(project, **changed):
    project.write_study(STUDY | changed)


def with_entry(kind, name, **changed):
    """Return the catalogue with one entry changed."""
    catalog = json.loads(json.dumps(STUDY["catalog"]))
    catalog[kind][name] = catalog[kind].get(name, {"method": name, "title": "Grad-CAM"}) | changed
    return catalog


def test_scores_are_those_of_the_library_on_the_images_chosen(project):
    dataset = open_dataset(project.path / "results/data/small.json")
    chosen = select(N, CHOSEN, 1)
    for model, method in PAIRS:
        place = project.path / f"results/scores/small/{model}/{method}"
        scores, steps = pd.read_parquet(place / "three.parquet"), pd.read_parquet(place / "three.steps.parquet")
        assert scores["image"].tolist() == chosen.tolist()
        assert scores["label"].tolist() == dataset.labels[chosen].tolist()
        assert steps["image"].tolist() == np.repeat(chosen, STEPS).tolist()
        assert steps["step"].tolist() == [1, 2, 3] * CHOSEN
        assert steps["step_name"].tolist() == steps["step_name"].tolist()[:STEPS] * CHOSEN
        assert steps["step_name"][0] == "fc to layer3"
        assert steps["name"].tolist() == np.repeat(dataset.names(chosen), STEPS).tolist()
        means = steps.groupby("image")[["correlation", "correlation_absolute"]].mean()
        np.testing.assert_allclose(scores["randomization_spearman"], means["correlation"])
        np.testing.assert_allclose(scores["randomization_spearman_absolute"], means["correlation_absolute"])
        # The class explained is that of the stored maps.
        maps = Heatmaps([project.path / f"results/heatmaps/small/{model}/{method}.json"])
        assert scores["target"].tolist() == maps.targets(chosen).tolist()
    # Once more by hand, in one batch.
    entry = json.loads(canonical(MODELS["net"] | {"variant": None, "target_layer": None}))
    weights = project.path / "results/models/net/model.safetensors"
    about = {"parameters": {}, "target": "label", "geometry": "aligned", "stage": None}
    explainer = Explainer.load(entry, {"method": "gradcam", **about}, weights, "cpu")
    found = randomize_explained(
        explainer,
        explainer.prepare(dataset.images(chosen)),
        dataset.labels[chosen],
        numbers=chosen,
        max_steps=STEPS,
        seed=1,
    )
    steps = pd.read_parquet(project.path / "results/scores/small/net/gradcam/three.steps.parquet")
    np.testing.assert_allclose(steps["correlation"], found.evidence["step_correlation"].ravel(), atol=0.02)


def test_steps_are_aggregated_over_images(project):
    table = pd.read_parquet(project.path / "results/studies/small/steps.parquet")
    assert list(zip(*[iter(table["step"])] * (STEPS + 1), strict=True)) == [(0, 1, 2, 3)] * len(PAIRS)
    assert list(dict.fromkeys(zip(table["model"], table["method"], strict=True))) == PAIRS
    for model, method in PAIRS:
        steps = pd.read_parquet(project.path / f"results/scores/small/{model}/{method}/three.steps.parquet")
        for step in range(1, STEPS + 1):
            values = steps[steps["step"] == step]["correlation"].to_numpy()
            row = table[(table["model"] == model) & (table["method"] == method) & (table["step"] == step)].iloc[0]
            expected = (values.mean(), *interval(values, resamples=199), CHOSEN)
            assert tuple(row[["mean", "ci_low", "ci_high", "n"]]) == pytest.approx(expected)


def test_times_are_recorded(project):
    for path in TIMES:
        record = json.loads((project.path / path).read_text())
        assert record["seconds_per_image"] > 0
        assert record["ratio"] == pytest.approx(record["seconds_per_image"] / record["forward_seconds_per_image"])
        assert (record["batch_size"], record["repeats"], record["warm_up"]) == (4, 2, 3)
        assert "thread" in record["device"]


def test_what_is_done_stays_and_what_was_interrupted_is_made(project):
    assert asked(project) == set()
    # Scores are known by their record.
    for path in ("results/scores/small/net/guided/three.json", AGGREGATED, TIMES[-1]):
        (project.path / path).unlink()
    before = {path: (project.path / path).stat().st_mtime_ns for path in TIMES[:-1]}
    assert asked(project) == of(SANITY, "guided") | of(TIMING, "guided") | AGGREGATE
    project.run("--", *TARGETS)
    assert before == {path: (project.path / path).stat().st_mtime_ns for path in TIMES[:-1]}


def test_only_what_changed_runs_again(project):
    write(project, catalog=with_entry("methods", "gradcam", title="Another", postprocess={"floor": 0.2}))
    assert asked(project) == set()
    write(project, catalog=with_entry("methods", "guided", target="label"))
    assert asked(project) == of(SANITY, "guided") | of(TIMING, "guided") | AGGREGATE
    write(project, catalog=with_entry("protocols", "three", steps=4))
    assert asked(project) == SANITY | AGGREGATE
    # What the model costs by itself is not measured again.
    write(project, catalog=with_entry("protocols", "twice", seconds=30), statistics={"resamples": 299})
    assert asked(project) == TIMING | AGGREGATE
    write(project)
    path = project.path / "camstudy/metrics/randomization.py"
    kept = path.read_text()
    project.edit("camstudy/metrics/randomization.py", "return list(groups), {name", "return [*groups], {name")
    assert asked(project) == SANITY | AGGREGATE
    path.write_text(kept)


def test_controls_look_at_no_model(project):
    refused = {
        "results/scores/small/net/center_bias/three.parquet": "the control `center_bias` explains none",
        "results/cost/twice/small/net/center_bias.json": "no rule makes it",
    }
    for path, text in refused.items():
        done = project.run("--dry-run", "--", path, check=False)
        assert done.returncode == 1
        assert text in done.stdout + done.stderr


def test_the_figure_is_drawn(project):
    """How it looks is compared in the unit tests."""
    project.run("--", FIGURE)
    with Image.open(project.path / FIGURE) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert asked(project, FIGURE) == set()
