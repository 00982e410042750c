"""What the workflow wrote, read labeled: the scores of the tiny study follow from the maps and people's maps."""

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from scipy import stats

from camstudy.analysis.reading import long_scores, open_scores
from camstudy.data.reading import open_data
from camstudy.explain.reading import open_maps

pytestmark = [pytest.mark.quick, pytest.mark.filterwarnings("error")]

N = TINY["catalog"]["datasets"]["tiny"]["n_images"]
SIZE = (224, 224)


def test_maps_people_and_scores_meet(finished):
    results = finished.path / "results"
    floors = {"threshold_gradcam": {"floor": 0.3}}
    maps = open_maps("tiny", size=SIZE, postprocess=floors, results=results)
    assert {name: maps.sizes[name] for name in ("model", "method", "image")} == {"model": 2, "method": 2, "image": N}
    assert {*maps["model"].values} == {*TINY["models"]}
    scores, data = open_scores("tiny", "human_maps", results=results), open_data("tiny", results=results)
    assert data.indexes["image"].equals(maps.indexes["image"])
    both = maps.assign(scores).isel(image=slice(3, 9))
    # As the workflow compares: people's maps enlarged as PyTorch does, in the square that models saw, here the image.
    assert np.unique(both["view"], axis=0).tolist() == [[0, 0, 1, 1]]
    people = data["human_map"].sel(image=both["image"])
    centres = (np.arange(224) + 0.5) / 224
    grid = people.assign_coords(map_y=(np.arange(64) + 0.5) / 64, map_x=(np.arange(64) + 0.5) / 64)
    inside = np.clip(centres, 0.5 / 64, 63.5 / 64)
    people = grid.interp(map_y=inside, map_x=inside)
    seen = 0
    for key in both["spearman"].stack(key=("model", "method", "image"))["key"].values:
        one = both.sel(dict(zip(("model", "method", "image"), key, strict=True)))
        heat = one["heatmap"].values
        if np.ptp(heat) == 0:
            continue
        seen += 1
        expected = stats.spearmanr(heat.ravel(), people.sel(image=key[2]).values.astype(np.float32).ravel())[0]
        assert one["spearman"].item() == pytest.approx(expected, abs=2e-4)
    assert seen > 12
    long = long_scores("tiny", "human_maps", ["control"], TINY["controls"], results=results)
    assert long.groupby("method").size().to_dict() == dict.fromkeys(TINY["controls"], N)


def test_predictions_are_the_models(finished):
    maps = open_maps("tiny", TINY["models"], ["gradcam"], results=finished.path / "results")
    right = (maps["predicted"] == maps["label"]).mean("image")
    for model in TINY["models"]:
        path = finished.path / f"results/scores/tiny/{model}/prediction.parquet"
        table = pd.read_parquet(path).sort_values("image")
        assert right.sel(model=model).item() == pytest.approx(table["top1"].mean())
        np.testing.assert_array_equal(maps["probability"].sel(model=model), table["probability"])
