"""Which images a study counts and the metric that its report speaks of: whether the study has what they need."""

from collections.abc import Iterator, Mapping

from camstudy.core.errors import unknown
from camstudy.data.sources import SOURCES
from camstudy.study.written import Place

SPLIT = ("agreement", "faithfulness")  # families of the table `by_prediction`

# Values under which all is as it was before the keys existed; they are stated nowhere.
SINCE = {"images": "all", "primary": None}


def stated_since(config: Mapping) -> dict[str, object]:
    """Return which images count and the primary metric, as far as a study says so."""
    return {key: config[key] for key, before in SINCE.items() if config.get(key, before) != before}


def check_counting(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake of images that cannot be told to count or to be split, and of an unknown primary metric.

    ``config`` has defaults and lacks what is malformed.
    """
    policy, dataset = config["images"], config.get("catalog", {}).get("datasets", {}).get(config.get("dataset"), {})
    unlabeled = "source" in dataset and "labels" not in SOURCES[dataset["source"]].truths(dataset)
    if policy != SINCE["images"] and unlabeled:
        text = f"found {policy}, but dataset `{config['dataset']}` has no labels to be predicted"
        yield ("images",), f"{text}; take a dataset that has, or `images: all`"
    if "by_prediction" in config["tables"]:
        place = ("tables", config["tables"].index("by_prediction"))
        if unlabeled:
            text = f"`by_prediction` tells right from wrong, but dataset `{config['dataset']}` has no labels"
            yield place, f"{text}; take a dataset that has, or drop it"
        elif None not in config["protocols"] and not {*SPLIT} & {*metrics_by_family(config)}:
            yield place, f"`by_prediction` shows {' and '.join(SPLIT)}; add to `protocols` one of either"
    if (primary := config["primary"]) is not None and None not in config["protocols"]:
        given = [name for names in metrics_by_family(config).values() for name in names]
        if primary not in given:
            text = str(unknown("primary metric", primary, given))
            yield ("primary",), f"{text} (looked in the study's protocols: {', '.join(config['protocols'])})"


def metrics_by_family(config: Mapping) -> dict[str, list[str]]:
    """Return the metrics that the study's protocols give, by family, `alignment` with `spearman`."""
    found = {}
    for name in config["protocols"]:
        entry = config.get("catalog", {}).get("protocols", {}).get(name, {})
        names = [metric for metric in entry.get("metrics", ()) if metric is not None]
        extra = ["alignment"] if entry.get("family") == "agreement" and "spearman" in names else []
        found[entry.get("family", "")] = extra + names
    return found


def compared_alone(config: Mapping) -> list[str]:
    """Return the metrics of agreement that are compared between models: alignment, and the primary one if it is one."""
    primary = config.get("primary")
    own = [] if primary is None or primary not in metrics_by_family(config).get("agreement", ()) else [primary]
    return list(dict.fromkeys(["alignment", *own]))
