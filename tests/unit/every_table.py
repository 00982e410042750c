"""Small made-up numbers from which every registered table can be made, and its text; no test of its own."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
from studies import COMPARISON, FLOORS, SCORE, STAGES, make_inputs, with_steps, with_sweeps

from camstudy.analysis.by_prediction import BY_PREDICTION
from camstudy.analysis.redrawn import REDRAWN
from camstudy.analysis.seeds import SEEDS
from camstudy.analysis.similarity import SIMILARITY
from camstudy.analysis.summary import TableInputs
from camstudy.metrics.families import METRICS
from camstudy.metrics.scoring import FAMILIES
from camstudy.study.protocols import shipped
from camstudy.tables import TABLES
from camstudy.tables.table import Table

DATASET = "digits_clickme"


def every_input(title: str, seed: int = 0) -> TableInputs:
    """Return a study of two models, three methods and a control that has all that tables are made from.

    Every model, method and comparison has the same title, as has whoever published a number.
    """
    rng = np.random.default_rng(seed)
    inputs = with_sweeps(make_inputs({"net": "Net"}, methods=("gradcam", "threshold_gradcam"), controls=("random",)))
    inputs = with_steps(inputs, 2, 2)
    models, methods, controls = ["net", "net_dcls"], ["gradcam", "threshold_gradcam"], ["random"]
    # Two of each family, and those of multi-label data.
    families = {family: [name for name in METRICS if METRICS[name].family == family] for family in FAMILIES}
    metrics = ["top1", "top5", *(name for names in families.values() for name in names[:2]), "box_accuracy"]

    def numbers(count: int = 3) -> list[float]:
        low, mean, high = sorted(rng.random(3))
        return [mean, low, high][:count]

    scores = [
        [DATASET, model, method, metric, *numbers(), 48, 1]
        for model in models
        for method, metric in itertools.product(["", *methods, *controls], metrics)
        if (method == "") == (metric in ("top1", "top5"))
    ]
    scores += [[DATASET, "control", "random", metric, *numbers(), 48, 0] for metric in metrics]
    pairs = [("net", "net_dcls"), ("control", "net")]
    compared = [
        [DATASET, *pair, method, metric, *numbers(), 0.0001, 0.0004, 48, 4]
        for pair, method, metric in itertools.product(pairs, methods, metrics)
    ]
    seeds = [
        [DATASET, baseline, model, method, "castream", metric, *numbers(), *sorted(rng.random(2)), 0.01, 3, 48]
        for (baseline, model), method, metric in itertools.product(
            [("", "net"), ("", "net_dcls"), ("net", "net_dcls")], ["", *methods], metrics
        )
    ]
    split = [
        [DATASET, part, baseline, model, method, "p", metric, *numbers(), *tests, 24, 0, tests[-1] and 4]
        for (part, baseline, model, tests), method, metric in itertools.product(
            [
                *(("right", "", model, (np.nan, np.nan)) for model in models),
                *(("wrong", "", model, (np.nan, np.nan)) for model in models),
                ("both_right", "net", "net_dcls", (0.001, 0.004)),
            ],
            methods,
            ["alignment", *families["faithfulness"][:2]],
        )
    ]
    staged = [
        [DATASET, model, method, metric, *numbers(), 48, 0, stage]
        for model, method, metric, stage in itertools.product(
            models, methods, ["average_drop", "insertion_auc"], STAGES
        )
    ]
    redrawn = [
        [DATASET, model, method, "p", number, size, (number, size) == (2, 0.1), *numbers(), 48]
        for model, method, (number, size) in itertools.product(models, methods, [(1, 0.1), (2, 0.1), (2, 0.4)])
    ]
    alike = [[DATASET, "net", "net_dcls", method, *numbers(), 48, 0] for method in methods]
    known = [
        {"dataset": DATASET, "catalog_model": model, "catalog_method": method, "method": method, "metric": metric}
        | {"value": 12.5, "unit": unit, "source": title, "verified": False, "protocol": ""}
        for model in models
        for method, metric, unit in (
            *(("", "top1", "%"), ("", "top5", "%"), ("", "parameters", "M"), ("", "gmacs", "GMAC")),
            *(("gradcam", "alignment", "1"), ("gradcam", "average_drop", "%"), ("gradcam", "seconds_per_image", "s")),
        )
    ]
    timed = {"seconds_per_image": 0.01, "ratio": 1.5, "device": title, "batch_size": 32}
    entry = {"title": title, "method": "gradcam", "target": "label", "ranked": True, "postprocess": {"floor": 0.1}}
    protocols = {}
    for name, protocol in shipped().items():
        if protocol["family"] not in {other["family"] for other in protocols.values()}:
            protocols[name] = protocol | {"title": title}
    floors = next(name for name, protocol in protocols.items() if protocol["family"] == "sweep")
    protocols[floors] |= {"floors": FLOORS}
    named = dict.fromkeys((*methods, *controls, *(f.method for f in FAMILIES.values() if f.method)), entry)
    study = inputs.study | {
        "models": models,
        "methods": methods,
        "controls": controls,
        "comparisons": [{"title": title, "baseline": "net", "variant": "net_dcls"}],
        "show_intervals": True,
        "replicates": {model: [model] for model in models},
        "pairs": [["net", "net_dcls", title]],
        "catalog": {"methods": named, "models": {model: {"title": title} for model in models}, "protocols": protocols},
    }
    steps = inputs.steps.replace({"method": {"method0": "gradcam", "method1": "threshold_gradcam"}})
    return dataclasses.replace(
        inputs,
        study=study,
        scores=pd.DataFrame(scores, columns=SCORE),
        comparisons=pd.DataFrame(compared, columns=COMPARISON),
        models={model: {"title": title, "parameters": 3_000_000} for model in models},
        layer_scores=pd.DataFrame(staged, columns=[*SCORE, "stage"]),
        seeds=pd.DataFrame(seeds, columns=list(SEEDS)),
        similarity=pd.DataFrame(alike, columns=list(SIMILARITY)),
        redrawn=pd.DataFrame(redrawn, columns=list(REDRAWN)),
        by_prediction=pd.DataFrame(split, columns=list(BY_PREDICTION)),
        steps=steps,
        published=pd.DataFrame(known),
        timing=dict.fromkeys(itertools.product(models, methods), timed),
    )


def every_table(title: str) -> dict[str, Table]:
    """Return every table that the package registers, by name; those of plugins of other tests are none."""
    own = {name: record for name, record in TABLES.items() if record.function.__module__ == "camstudy.tables"}
    inputs = every_input(title)
    return {name: record.function(inputs) for name, record in own.items()}
