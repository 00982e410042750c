"""Sweeps and costs in the workflow: what they add to a finished study, and what reruns when something changes."""

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from test_reruns import planned

ASKED = {
    "tables": ["dcls", "threshold_sweep", "layer_sweep", "cost"],
    "figures": [*TINY["figures"], "threshold_sweep", "layer_sweep", "alignment_cost"],
    "sweep": {"protocol": "few"},
    "layer_sweep": {"methods": ["gradcam"], "stages": [2, -1]},
    "cost": "once",
}
PROTOCOLS = {
    "few": {"family": "sweep", "floors": [None, 0, 0.3]},
    "once": {"family": "cost", "batch_size": 2, "repeats": 1},
}
MODELS, METHODS, STAGES = TINY["models"], TINY["methods"], ["gradcam_stage2", "gradcam_stage-1"]
SWEEPS = {f"Score {method} of {model} on tiny by few" for model in MODELS for method in METHODS}
COSTS = {f"Measure what {model} costs" for model in MODELS}
LAYERS = {f"Explain {model} on tiny with {method}" for model in MODELS for method in STAGES} | {
    f"Score {method} of {model} on tiny by human_maps" for model in MODELS for method in STAGES
}
AGGREGATES = {"Aggregate the threshold sweep of tiny", "Aggregate the layer sweep of tiny"}
OF_SWEEP = {"Make table threshold_sweep of tiny", "Draw threshold_sweep of tiny"}
OF_LAYERS = {"Make table layer_sweep of tiny", "Draw layer_sweep of tiny"}
OF_COST = {"Make table cost of tiny", "Draw alignment_cost of tiny"}
CONFIGURATION = {"Write down the configuration of tiny"}
EVERYTHING = CONFIGURATION | SWEEPS | COSTS | LAYERS | AGGREGATES | OF_SWEEP | OF_LAYERS | OF_COST


def write(project, *, models=None, protocols=PROTOCOLS, **changed):
    catalog = TINY["catalog"] | {"protocols": protocols} | ({"models": models} if models else {})
    project.write_study(TINY | ASKED | {"catalog": catalog} | changed)


def test_sweeps_add_their_jobs_and_change_nothing_else(copied):
    write(copied)
    assert planned(copied) == EVERYTHING
    copied.run()
    assert planned(copied) == set()

    # The maps are read as the scores read them.
    for model in MODELS:
        sweep = pd.read_parquet(copied.path / f"results/scores/tiny/{model}/threshold_gradcam/few.parquet")
        scores = pd.read_parquet(copied.path / f"results/scores/tiny/{model}/threshold_gradcam/human_maps.parquet")
        assert sweep.groupby("image").size().eq(3).all()
        at_floor = sweep[sweep["floor"] == 0.3].set_index("image")
        np.testing.assert_array_equal(at_floor["spearman"], scores["spearman"])
        np.testing.assert_array_equal(at_floor["degenerate"], scores["degenerate"])
    # A ResNet's last stage is what is explained otherwise.
    table = pd.read_csv(copied.path / "results/studies/tiny/tables/layer_sweep.csv").set_index("model")
    scores = pd.read_parquet(copied.path / "results/studies/tiny/scores.parquet").set_index(
        ["model", "method", "metric"]
    )
    for model in MODELS:
        expected = scores.loc[(model, "gradcam", "alignment"), "mean"]
        assert table.loc[model, "gradcam_stage-1"] == pytest.approx(expected, abs=1e-6)

    write(copied, protocols=PROTOCOLS | {"few": PROTOCOLS["few"] | {"floors": [None, 0.3, 0.6]}})
    assert planned(copied) == CONFIGURATION | SWEEPS | {"Aggregate the threshold sweep of tiny"} | OF_SWEEP
    model, models = MODELS[0], TINY["catalog"]["models"]
    entry = models[model] | {"train": models[model]["train"] | {"learning_rate": 0.003}}
    write(copied, models=models | {model: entry})
    jobs = planned(copied)
    assert f"Train {model}" in jobs
    assert f"Score gradcam of {model} on tiny by few" in jobs
    assert not jobs & COSTS, "another training measures nothing again"
    write(copied)
    copied.edit(
        "camstudy/metrics/sweep.py",
        "for column, floor in enumerate(floors)",
        "for column, floor in [*enumerate(floors)]",
    )
    assert planned(copied) == SWEEPS | {"Aggregate the threshold sweep of tiny"} | OF_SWEEP


def test_stages_that_a_model_lacks_are_told(copied):
    write(copied, layer_sweep={"methods": ["gradcam"], "stages": [5]})
    done = copied.run("results/heatmaps/tiny/tiny_resnet/gradcam_stage5.json", check=False)
    assert done.returncode == 1
    assert "stage: found 5, but ResNet has the stages 1 to 4" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_method_s_stage_is_part_of_it(copied):
    catalog = TINY["catalog"] | {"methods": {"gradcam": {"title": "Grad-CAM", "method": "gradcam", "stage": 3}}}
    copied.write_study(TINY | {"catalog": catalog})
    assert {f"Explain {model} on tiny with gradcam" for model in MODELS} < planned(copied)
