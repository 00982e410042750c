"""The layer sweep by faithfulness: which entries a study gets, and its table."""

import pandas as pd
import yaml
from conftest import ROOT
from studies import FAITHFULNESS

from camstudy.analysis.summary import TableInputs
from camstudy.pipeline.inputs import Inputs
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.study import Study
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS


def test_every_stage_is_scored_by_faithfulness():
    given = yaml.safe_load((ROOT / "config/studies/gradients_layers.yaml").read_text())
    study = Study(validate(with_catalogs(given, ROOT), check_files=False))
    names = [f"{method}_stage{stage}" for method in ("gradcam", "xgrad_cam") for stage in (1, 2, 3, 4)]
    assert [*study.stages()] == names
    assert study.stage_families() == ["faithfulness"]
    found = Inputs(study).stage_scores("faithfulness")
    assert {(model, method) for model, method, _ in found} == {(m, name) for m in study.models for name in names}
    # 10,000 images are divided.
    assert len(found) == len(names) * 4 * 10
    assert study.catalog["methods"]["xgrad_cam_stage3"]["stage"] == 3


def test_the_best_stage_is_bold():
    rows = [
        ["d", model, "gradcam", "p", metric, 0.1 * stage + 0.01 * n, 0.0, 1.0, 50, 0, stage]
        for n, model in enumerate(("one", "two"))
        for metric in ("average_drop", "insertion_auc")
        for stage in (1, 2, 3)
    ]
    columns = ["dataset", "model", "method", "protocol", "metric", "mean", "ci_low", "ci_high", "n", "n_degenerate"]
    study = {
        "models": ["one", "two"],
        "layer_sweep": {"methods": ["gradcam"], "stages": [1, 2, 3]},
        "degenerate": "score",
        "statistics": {"confidence": 0.95, "resamples": 99},
        "catalog": {
            "methods": {"gradcam": {"title": "Grad-CAM", "target": "label"}},
            "protocols": {"p": {"family": "faithfulness", "title": "p", **FAITHFULNESS}},
        },
    }
    inputs = TableInputs(
        scores=pd.DataFrame(),
        comparisons=pd.DataFrame(),
        models={name: {"title": name.upper()} for name in study["models"]},
        study=study,
        dataset={"dataset": "d"},
        layer_scores=pd.DataFrame(rows, columns=[*columns, "stage"]),
    )
    table = TABLES["layer_faithfulness"].function(inputs)
    # A low drop is good, a high insertion as well.
    assert [row.bold for row in table.rows] == [{"average_drop"}, set(), {"insertion_auc"}] * 2
    assert table.rows[4].cells["average_drop"].value == 100 * (0.2 + 0.01)
    for render in RENDERERS.values():
        assert "Grad-CAM" in render(table)
