"""A control is tried on the class that each model predicts, where the study's methods explain that one."""

import json

import numpy as np
import pandas as pd
from conftest import TINY

from camstudy.explain.store import Heatmaps

MODEL = "tiny_resnet"


def test_controls_are_scored_on_what_the_methods_explain(copied):
    catalog = TINY["catalog"] | {"methods": {"gradcam": {"target": "predicted"}}}
    shown = {"protocols": ["rise_fast"], "tables": ["faithfulness"], "figures": []}
    copied.write_study(TINY | shown | {"methods": ["gradcam"], "controls": ["random"], "catalog": catalog})
    scores = f"results/scores/tiny/{MODEL}/random_predicted/rise_fast.parquet"
    assert "Make the control maps random_predicted for tiny" in copied.run("--dry-run").stdout
    copied.run(scores)
    found = pd.read_parquet(copied.path / scores).set_index("image")["target"]
    predicted = pd.read_parquet(copied.path / f"results/scores/tiny/{MODEL}/prediction.parquet").set_index("image")
    assert found.tolist() == predicted["predicted"].loc[found.index].tolist() != predicted["label"].tolist()
    # The maps are those of the control on the label, which is there from before, and are of no class.
    own, before = (
        Heatmaps([copied.path / f"results/heatmaps/tiny/control/{name}.json"])
        for name in ("random_predicted", "random")
    )
    assert np.array_equal(own.maps(), before.maps())
    assert set(own.targets()) == {-1}
    assert json.loads((copied.path / "results/heatmaps/tiny/control/random.json").read_text())["n_images"] == 24
