"""What of a configuration a study's own results state: what tables and figures get to see stands in their identity."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from camstudy.explain.methods import bind
from camstudy.figures import FIGURES
from camstudy.metrics.scoring import FAMILIES
from camstudy.study.counting import SINCE, stated_since
from camstudy.study.protocols import chosen, scored, times_methods
from camstudy.study.seeds import replicated_pairs, replicates
from camstudy.tables import TABLES

if TYPE_CHECKING:
    from camstudy.study.registered import Record

STATED = (
    *(
        "study",
        "dataset",
        "prediction_dataset",
        "models",
        "methods",
        "controls",
        "comparisons",
        "statistics",
        "degenerate",
    ),
    *("n_images",),
)
METHOD = ("title", "target", "postprocess", "ranked")
# No result depends on them: where and how jobs run, and what they are estimated to take.
HOW = ("device", "threads", "explain", "resources", "group_minutes", "local_seconds")
ESTIMATES = ("passes",)


def settings(config: Mapping) -> dict:
    """Return what the statistics of a study depend on, for `camstudy.analysis.aggregate.Settings.of`."""
    protocols = chosen(config)
    localization = config["catalog"]["protocols"][protocols["localization"]] if "localization" in protocols else {}
    statistics = {key: config["statistics"][key] for key in ("confidence", "resamples", "correction")}
    return {
        "seed": config["seed"],
        "degenerate": config["degenerate"],
        "statistics": statistics,
        "iou": localization.get("iou"),
    }


def stated_by(config: Mapping, record: "Record") -> dict:
    """Return the part of a configuration that a table or figure may state, with titles of models and methods.

    Parameters
    ----------
    config : validated configuration
    record : the registered record of the table or figure
    """
    catalog, methods = config["catalog"], [*config["methods"], *config["controls"]]
    kept = {key: config[key] for key in (*STATED, *record.settings)}
    kept["statistics"] = _statistics(config)
    # In captions; what is the primary metric, tables do not say.
    kept |= {key: value for key, value in stated_since(config).items() if key == "images"}
    if "sweep" in record.sources:
        kept["sweep"] = config["sweep"]
        methods += [config["sweep"][role] for role in ("relu_after_sum", "relu_before_sum")]
    if "layers" in record.sources or "layer_scores" in record.sources:
        kept["layer_sweep"] = config["layer_sweep"]
        methods += config["layer_sweep"]["methods"]
    if "seeds" in record.sources:
        kept["replicates"] = replicates(config)
        kept["pairs"] = [[*pair, title] for pair, title in replicated_pairs(config).items()]
    methods += [own for family in protocols_of(config, record) if (own := _own_method(family)) and own not in methods]
    entries = {name: catalog["methods"][name] for name in methods}
    protocols = {name: catalog["protocols"][name] for name in protocols_of(config, record).values()}
    models = [*config["models"], *(name for name in kept.get("replicates", ()) if name not in config["models"])]
    of_methods = (*METHOD, *getattr(record, "method_keys", ()))
    kept["catalog"] = {
        "methods": {name: {key: entry[key] for key in of_methods} for name, entry in entries.items()},
        "models": {name: {"title": catalog["models"][name]["title"]} for name in models},
        "protocols": protocols,
    }
    return kept


def _own_method(family: str) -> str:
    return FAMILIES[family].method if family in FAMILIES else ""


def stated_by_maps(config: Mapping, record: "Record") -> dict:
    """Return the part of a configuration that a figure of maps depends on: titles, floors, the choice of images.

    ``record`` is the registered one of the figure, which may state more.
    """
    models = {name: config["catalog"]["models"][name]["title"] for name in config["models"]}
    entries = {name: config["catalog"]["methods"][name] for name in config["methods"]}
    methods = {name: [entry["title"], entry["postprocess"]] for name, entry in entries.items()}
    # In their order, which canonical text would sort.
    kept = {"models": [*models.items()], "methods": [*methods.items()], "qualitative": config["qualitative"]}
    return kept | {key: config[key] for key in record.settings}


def shown(config: Mapping) -> "list[Record]":
    """Return the records of a study's tables and figures."""
    return [TABLES[name] for name in config["tables"]] + [FIGURES[name] for name in config["figures"]]


def sources_of(config: Mapping, record: "Record") -> tuple[str, ...]:
    """Return what a table or figure of a study is made from beside the scores.

    Methods are timed only where the study asks for it; what a record shows ``if_made`` is there if another needs it.
    """
    needed = {name for other in shown(config) for name in other.sources}
    found = (*record.sources, *(name for name in getattr(record, "if_made", ()) if name in needed))
    return tuple(name for name in found if name != "timing" or times_methods(config))


def protocols_of(config: Mapping, record: "Record") -> dict[str, str]:
    """Return the protocols, by family, of what a table or figure is made from; one without a family shows all."""
    measured = {"sweep": "sweep", "cost": "cost", "timing": "cost"}
    protocols = chosen(config)
    families = {*record.metrics} or {family for family in protocols if family in scored()}
    families |= {measured[name] for name in sources_of(config, record) if name in measured}
    return {family: name for family, name in protocols.items() if family in families}


def resolved(config: Mapping) -> dict:
    """Return a configuration with all defaults, of the catalogue what the study uses, without how its jobs run."""
    catalog, recipes = config["catalog"], []
    models = list(config["models"])
    for name in models:
        weights = catalog["models"][name]["weights"]
        if isinstance(weights, Mapping) and weights.get("model") not in (None, *models):
            models.append(weights["model"])
        recipes.append(catalog["models"][name]["train"])
    datasets = [config["dataset"], config["prediction_dataset"], *(recipe["dataset"] for recipe in recipes if recipe)]
    methods = [
        name for name in catalog["methods"] if name in {*config["methods"], *config["controls"], *_swept(config)}
    ]
    used = {"datasets": datasets, "models": models, "methods": methods, "protocols": chosen(config).values()}
    entries = {
        kind: {name: _without(entry) for name, entry in catalog[kind].items() if name in {*names}}
        for kind, names in used.items()
    }
    kept = {key: value for key, value in config.items() if key not in (*HOW, *SINCE)}
    # Whether methods are timed is said where a table would show it, as there once was no choice.
    could = any("timing" in record.sources for record in shown(config))
    kept["cost"] = chosen(config)["cost"] if times_methods(config) or not could else False
    return kept | stated_since(config) | {"statistics": _statistics(config), "catalog": entries}


def _statistics(config: Mapping) -> dict:
    """Return what is chosen of statistics, without how asterisks are given where it is as ever."""
    return {key: value for key, value in config["statistics"].items() if (key, value) != ("stars", "both")}


def _without(entry: Mapping) -> dict:
    kept = {key: value for key, value in entry.items() if key not in ESTIMATES}
    if "method" in kept:
        kept["parameters"] = dict(bind(kept["method"], kept["parameters"]).parameters)
    if kept.get("train"):
        kept["train"] = {key: value for key, value in kept["train"].items() if key != "gpu"}
    return kept


def _swept(config: Mapping) -> list[str]:
    """Return the methods of the sweeps, asked for or not, as far as the catalogue has them."""
    roles = [config["sweep"][role] for role in ("relu_after_sum", "relu_before_sum")]
    stages = [
        f"{method}_stage{stage}"
        for method in config["layer_sweep"]["methods"]
        for stage in config["layer_sweep"]["stages"]
    ]
    return [*roles, *config["layer_sweep"]["methods"], *stages]
