"""Made-up results of a finished study, as the score stage would leave them; no test of its own."""

import dataclasses
import itertools

import numpy as np
import pandas as pd

from camstudy.analysis.steps import STEPS as STEP_COLUMNS
from camstudy.analysis.summary import TableInputs

ARCHITECTURES = {
    "resnet_mini": "ResNet-mini",
    "convnext_mini": "ConvNeXt-mini",
    "caformer_mini": "CAFormer-mini",
    "fastvit_mini": "FastViT-mini",
}
CEILING = 0.702
TITLES = {
    "gradcam": "Grad-CAM",
    "threshold_gradcam": "Threshold-Grad-CAM",
    "random": "Random",
    "center_bias": "Center bias",
    "human_split_half": "Human split-half",
}
CONTROLS = {
    "random": (0.003, -0.012, 0.018),
    "center_bias": (0.31, 0.29, 0.33),
    "human_split_half": (1, 0.98, 1.02),
}
SCORE = ["dataset", "model", "method", "metric", "mean", "ci_low", "ci_high", "n", "n_degenerate"]
FAITHFULNESS = {
    **{"step": 1792, "start": "blurred", "target": "mean", "blur": 5, "normalize": "resized"},
    **{"ties": "row_major", "removed": "rounded"},
}
BOXES = {"iou": [0.5], "components": "largest", "pointing_tolerance": 15, "pointing_ties": "mean"}
BOXES |= {"max_box_share": None, "clip_boxes": True}
COMPARISON = [
    *("dataset", "baseline", "variant", "method", "metric"),
    *("difference", "ci_low", "ci_high", "p", "p_corrected", "n", "n_tests"),
]
P_CORRECTED = (3.2e-12, 0.0042, 0.031, 0.38)


def make_inputs(
    architectures=ARCHITECTURES,
    methods=("gradcam", "threshold_gradcam"),
    controls=tuple(CONTROLS),
    compare=True,
    accuracy=True,
    degenerate=(),
    seed=0,
):
    """Return the inputs of a study; ``degenerate`` holds (model, method, number of maps)."""
    rng = np.random.default_rng(seed)
    dataset = "digits_clickme"
    models, scores, comparisons = {}, [], []
    for name, title in architectures.items():
        for suffix, variant in (("", ""), ("_dcls", " DCLS")):
            model = name + suffix
            models[model] = {"title": title + variant, "parameters": int(rng.integers(180_000, 420_000))}
            if accuracy:
                top1 = rng.uniform(0.95, 0.99)
                scores.append([dataset, model, "", "top1", top1, top1 - 0.013, top1 + 0.009, 384, 0])
    p_values = itertools.cycle(P_CORRECTED)
    for name, method in itertools.product(architectures, methods):
        base, gain = rng.uniform(0.66, 0.86), rng.normal(0.02, 0.04)
        for suffix, mean in (("", base), ("_dcls", base + gain)):
            scores.append([dataset, name + suffix, method, "alignment", mean, mean - 0.021, mean + 0.019, 384, 0])
            scores.append([dataset, name + suffix, method, "dice_at_10", mean / 2, 0.1, 0.9, 384, 0])
        p = next(p_values)
        keys = [dataset, name, f"{name}_dcls", method]
        n_tests = len(architectures) * len(methods)
        # 0 is outside of all intervals.
        values = [gain, gain - 0.3 * abs(gain), gain + 0.4 * abs(gain), p / n_tests, p, 384, n_tests]
        comparisons.append([*keys, "alignment", *values])
        comparisons.append([*keys, "dice_at_10", *values])
    for control in controls:
        scores.append([dataset, "control", control, "alignment", *CONTROLS[control], 384, 0])
    scores = pd.DataFrame(scores, columns=SCORE)
    for model, method, count in degenerate:
        scores.loc[(scores["model"] == model) & (scores["method"] == method), "n_degenerate"] = count
    pairs = [{"title": title, "baseline": n, "variant": f"{n}_dcls"} for n, title in architectures.items()]
    study = {
        "study": "demo",
        "dataset": dataset,
        "prediction_dataset": None,
        "models": list(models),
        "methods": list(methods),
        "controls": list(controls),
        "comparisons": pairs if compare else [],
        "statistics": {"confidence": 0.95, "resamples": 9999, "alpha": 0.05, "correction": "holm"},
        "degenerate": "score",
        "n_images": None,
        "catalog": {
            "methods": {name: {"title": TITLES[name], "target": "label"} for name in (*methods, *controls)},
            "protocols": {"human_maps": {"family": "agreement", "title": "human_maps", "metrics": ["spearman"]}},
        },
    }
    return TableInputs(
        scores=scores,
        comparisons=pd.DataFrame(comparisons if compare else [], columns=COMPARISON),
        models=models,
        study=study,
        dataset={"dataset": dataset, "human_ceiling": CEILING, "human_maps": "simulated"},
    )


def with_images(inputs, n, metric="spearman", seed=0):
    """Return the inputs with scores of so many single images, all made up."""
    rng, images = np.random.default_rng(seed), {}
    for key in itertools.product(inputs.study["models"], inputs.study["methods"]):
        scores = np.clip(rng.normal(0.5, 0.2, n), -1, 1)
        images[key] = pd.DataFrame({"image": np.arange(n), "degenerate": False, metric: scores})
    return dataclasses.replace(inputs, images=images, study=inputs.study | {"primary": None})


FLOORS = [None, 0, 0.1, 0.3, 0.9]
STAGES = [1, 2, -1]


def with_sweeps(inputs, seed=0):
    """Return the inputs with a threshold sweep, a layer sweep and costs, all made up."""
    rng = np.random.default_rng(seed)
    methods, dataset = ("gradcam", "threshold_gradcam"), inputs.dataset["dataset"]
    sweep, layers, cost = [], [], {}
    for model, method in itertools.product(inputs.models, methods):
        for floor in FLOORS:
            mean = rng.uniform(0.3, 0.9)
            key = [dataset, model, method, "alignment", mean, mean - 0.02, mean + 0.03, 384, 0]
            sweep.append([*key, np.nan if floor is None else floor])
        for stage in STAGES:
            mean = rng.uniform(0.3, 0.9)
            layers.append([dataset, model, method, "alignment", mean, mean - 0.02, mean + 0.03, 384, 0, stage])
    for model in inputs.models:
        dcls = model.endswith("_dcls")
        cost[model] = {
            "parameters": int(rng.integers(2e6, 9e7)),
            "multiply_adds": {"dense": int(rng.integers(4e9, 16e9)), "taps": int(rng.integers(3e9, 4e9))},
            "input_size": 256 if "vit" in model else 224,
            "device": "NVIDIA A100",
            "memory": "torch.cuda.max_memory_allocated",
            "batch_size": 32,
            "repeats": 10,
            "warm_up": 3,
            "images_per_second": {"folded": rng.uniform(500, 4000), "unfolded": rng.uniform(50, 400) if dcls else None},
            "peak_memory_mb": {"folded": 1234, "unfolded": 2345 if dcls else None},
        }
    entries = {name: {"postprocess": {}} | entry for name, entry in inputs.study["catalog"]["methods"].items()}
    for name in methods:
        entries.setdefault(name, {"title": TITLES[name], "target": "label", "postprocess": {}})
    entries["threshold_gradcam"]["postprocess"] = {"floor": 0.3}
    asked = {
        "sweep": {"relu_after_sum": "gradcam", "relu_before_sum": "threshold_gradcam"},
        "layer_sweep": {"methods": list(methods), "stages": STAGES},
        "catalog": {
            "methods": entries,
            "protocols": {
                **inputs.study["catalog"]["protocols"],
                "floors": {"family": "sweep", "title": "floors", "floors": FLOORS},
                "speed": {"family": "cost", "title": "Speed of models"},
            },
        },
    }
    return dataclasses.replace(
        inputs,
        study=inputs.study | asked,
        sweep=pd.DataFrame(sweep, columns=[*SCORE, "floor"]),
        layers=pd.DataFrame(layers, columns=[*SCORE, "stage"]),
        cost=cost,
    )


def with_steps(inputs, n_models, n_methods, n_degenerate=0):
    """Return the inputs with what is left of maps as models are randomised step by step, made up."""
    rng = np.random.default_rng(0)
    models, methods = list(inputs.models)[:n_models], [f"method{i}" for i in range(n_methods)]
    rows = []
    for model in models:
        for method in methods:
            for step, name in enumerate(["trained", "head.fc", "stages.3.blocks.2", "stages.3.downsample.norm"]):
                mean = rng.uniform(0, 1) if step else 1.0
                interval = mean - 0.02 * step, mean + 0.01 * step
                # The maps of the first method have signs.
                absolute = (mean, *interval) if method != "method0" else (mean / 2, mean / 4, mean)
                rows.append(("d", model, method, "cascade", step, name, mean, *interval, 50, 0, *absolute))
    steps = pd.DataFrame(rows, columns=list(STEP_COLUMNS)).sample(frac=1, random_state=0)
    steps.loc[steps["step"] == 2, "n_degenerate"] = n_degenerate
    titles = {name: {"title": name.title(), "target": "label"} for name in methods}
    protocols = {"cascade": {"family": "sanity", "title": "cascade", "seed": 0}}
    about = {"models": models, "methods": methods, "catalog": {"methods": titles, "protocols": protocols}}
    return dataclasses.replace(inputs, study=inputs.study | about, steps=steps)


METHOD_TITLES = {"fake_cam": "Fake-CAM", "gradcam": "Grad-CAM", "score_cam": "Score-CAM", "opti_cam": "Opti-CAM"}


def make_method_inputs(models=("net",), controls=("center_bias",), intervals=False, published=None, seed=0):
    """Return the inputs of a study of methods, whose scores are made up: faithfulness, localisation, curves, times."""
    rng = np.random.default_rng(seed)
    scores, curves, timing = [], [], {}
    methods = list(METHOD_TITLES)
    share = ["average_drop", "average_gain", "average_increase", "insertion_auc", "deletion_auc"]
    located = ["localization_error", "pixel_f1", "box_accuracy", "pointing_game", "energy_pointing_game"]
    for model in models:
        for method in [*methods, *controls]:
            names = share + (located if method in methods else [])
            for metric in [*names, "saliency_metric"]:
                mean = rng.uniform(0.1, 0.9)
                n = 40 if metric in located else 48
                scores.append(["boxes", model, method, metric, mean, mean - 0.05, mean + 0.06, n, 0])
            for curve in ("insertion", "deletion"):
                points = np.sort(rng.random(5))[:: 1 if curve == "insertion" else -1]
                curves += [[model, method, curve, i / 4, point, 48] for i, point in enumerate(points)]
        for n, method in enumerate(methods):
            timing[model, method] = {
                "seconds_per_image": 0.01 * 10**n,
                "ratio": 1.5 * 10**n,
                "device": "NVIDIA A100",
                "batch_size": 32,
            }
    for control in controls:
        for metric in located:
            scores.append(["boxes", "control", control, metric, 0.4, 0.35, 0.45, 40, 0])
    titles = METHOD_TITLES | TITLES
    study = {
        "study": "methods",
        "dataset": "boxes",
        "models": list(models),
        "methods": methods,
        "controls": list(controls),
        "comparisons": [],
        "show_intervals": intervals,
        "statistics": {"confidence": 0.95, "resamples": 999, "alpha": 0.05, "correction": "holm"},
        "degenerate": "score",
        "n_images": None,
        "catalog": {
            "methods": {
                name: {"title": titles[name], "target": "label", "ranked": name != "fake_cam"}
                for name in (*methods, *controls)
            },
            "protocols": {
                "rise_blunt": {"family": "faithfulness", "title": "RISE, blurred less", **FAITHFULNESS},
                "boxes": {"family": "localization", "title": "boxes", **BOXES},
                "speed": {"family": "cost", "title": "speed", "batch_size": 32, "images": None},
            },
        },
    }
    return TableInputs(
        scores=pd.DataFrame(scores, columns=SCORE),
        comparisons=pd.DataFrame([], columns=COMPARISON),
        models={name: {"title": name.upper()} for name in models},
        study=study,
        dataset={"dataset": "boxes", "human_maps": None},
        curves=pd.DataFrame(curves, columns=["model", "method", "curve", "share", "mean", "n"]),
        timing=timing,
        published=published,
    )


def make_redrawn_inputs(models=("net", "other")):
    """Return the inputs of a study of scanpaths: gaze of two methods and controls, and of their maps drawn again."""
    rows, scores = [], []
    titles = {"gradcam": "Grad-CAM", "fovex": "FovEx", "neva": "NeVA"}
    controls = {"human_observers": "Humans (leave one out)", "gaze_center_bias": "Center bias (other images)"}
    for (place, model), (index, method) in itertools.product(enumerate(models), enumerate(("fovex", "neva"))):
        kinds = [(number, 0.15) for number in range(1, 5)] + [(4, size) for size in (0.02, 0.05, 0.1, 0.3, 0.6, 1.2)]
        for number, size in kinds:
            mean = (
                (1.9 - 0.7 * index) * number / (number + 0.5)
                - 0.1 * place
                - abs(np.log(size / (0.2 - 0.1 * index))) / 4
            )
            rows.append(
                ["scenes", model, method, "redrawn", number, size, size == 0.15, mean, mean - 0.2, mean + 0.15, 31]
            )
    for control, mean in zip(controls, (2.9, 1.0), strict=True):
        scores.append(["scenes", "control", control, "nss", mean, mean - 0.1, mean + 0.1, 31, 0])
    columns = [
        "dataset",
        "model",
        "method",
        "protocol",
        "fixations",
        "heat_size",
        "own",
        "mean",
        "ci_low",
        "ci_high",
        "n",
    ]
    entries = {name: {"title": title, "target": "label"} for name, title in (titles | controls).items()}
    study = {
        "study": "eyes",
        "dataset": "scenes",
        "models": list(models),
        "methods": list(titles),
        "controls": list(controls),
        "comparisons": [],
        "show_intervals": False,
        "statistics": {"confidence": 0.95, "resamples": 999, "alpha": 0.05, "correction": "holm"},
        "degenerate": "score",
        "n_images": None,
        "catalog": {
            "methods": entries,
            "protocols": {
                "gaze": {"family": "gaze", "title": "gaze", "metrics": ["nss"]},
                "redrawn": {"family": "redrawn", "title": "redrawn", "metrics": ["nss_first_fixation"]},
            },
        },
    }
    return TableInputs(
        scores=pd.DataFrame(scores, columns=SCORE),
        comparisons=pd.DataFrame([], columns=COMPARISON),
        models={name: {"title": name.upper()} for name in models},
        study=study,
        dataset={"dataset": "scenes", "human_maps": "simulated"},
        redrawn=pd.DataFrame(rows, columns=columns),
    )
