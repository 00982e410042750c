"""Whether networks and data mean the same classes: their numbers, and where both are known, their names."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from camstudy.core.errors import CamstudyError
from camstudy.data.sources import Listing
from camstudy.data.synsets import imagenet_synsets
from camstudy.models.timm_names import facts
from camstudy.study.embeddings import EMBEDDING

SYNSET = re.compile(r"n\d{8}")
IMAGENET = re.compile(r"[._](in1k|in1k_\w+)$")  # tags of weights that end with training on ImageNet-1k


def refuse_other_classes(config: Mapping, listing: Callable[[str], Listing | None]) -> None:
    """Raise `CamstudyError` where models have not the classes of the data that they are scored or trained on.

    Their numbers are compared, and where both are known, their names: of data that can be listed or state them, of
    networks that are trained on such data, and of timm's weights for ImageNet-1k, whose classes are its synsets in
    alphabetical order. Data without classes have none to compare.

    Parameters
    ----------
    config : validated configuration
    listing : returns what a list of a dataset's files tells of it
    """
    datasets = config["catalog"]["datasets"]

    @cache
    def names(dataset: str) -> Sequence[str] | None:
        stated = datasets[dataset].get("class_names")
        found = None if stated else listing(dataset)
        return stated or (found.classes if found else None)

    scored = list(dict.fromkeys([config["dataset"], config["prediction_dataset"] or config["dataset"]]))
    mistakes = [
        *(_incomplete(dataset, datasets[dataset].get("num_classes"), names(dataset)) for dataset in scored),
        *(_other_number(config, model, scored) for model in config["models"]),
    ]
    # Names of as many: one mistake, one line.
    if not any(mistakes):
        mistakes = [_other_names(config, model, scored, names) for model in config["models"]]
    if found := [text for text in mistakes if text]:
        raise CamstudyError("\n  ".join(["models and data have different classes:", *found]))


def _incomplete(dataset: str, count: int | None, found: Sequence[str] | None) -> str:
    if not count or not found or len(found) == count:
        return ""
    return (
        f"`catalog.datasets.{dataset}.num_classes`: found {count}, but there are {len(found)} classes. Labels follow "
        "their sorted names and mean nothing if some are missing; complete them, or set "
        f"`num_classes: {len(found)}` for models of these classes"
    )


def _other_number(config: Mapping, model: str, scored: Sequence[str]) -> str:
    datasets, entry = config["catalog"]["datasets"], config["catalog"]["models"][model]
    trained = [entry["train"]["dataset"]] if entry["train"] else []
    for dataset, verb in [*((name, "trained") for name in trained), *((name, "scored") for name in scored)]:
        count, own = datasets[dataset].get("num_classes"), entry["num_classes"]
        if count and own != count and entry.get("head") != EMBEDDING:
            return (
                f"`catalog.models.{model}.num_classes`: found {own}, but `{dataset}`, on which it is {verb}, has "
                f"{count} classes; take a network of these classes, or train one (`num_classes: {count}` and `train`)"
            )
    return ""


def _other_names(
    config: Mapping, model: str, scored: Sequence[str], names: Callable[[str], Sequence[str] | None]
) -> str:
    learnt, where = _learnt(config["catalog"]["models"], model, names)
    if not learnt:
        return ""
    for dataset in scored:
        if text := _difference(learnt, names(dataset)):
            text = text.format(where, f"`{dataset}`")
            return f"`catalog.models.{model}`: {text}; take a network of the classes of the data, or train one"
    return ""


def _learnt(
    models: Mapping, name: str, names: Callable[[str], Sequence[str] | None]
) -> tuple[Sequence[str] | None, str]:
    """Return the names of the classes that a model has learnt, None where they are not known, and from what."""
    entry = models[name]
    weights = entry["weights"]
    if entry["train"]:
        return names(entry["train"]["dataset"]), f"`{entry['train']['dataset']}`, on which it is trained,"
    if isinstance(weights, Mapping) and "model" in weights:
        return _learnt(models, weights["model"], names)
    known = facts(entry["arch"])
    if isinstance(weights, Mapping) and weights.get("timm") and known.classes == 1000 and IMAGENET.search(known.name):
        return imagenet_synsets(), f"timm's weights `{known.name}`"
    return None, ""


def _difference(learnt: Sequence[str], found: Sequence[str] | None) -> str:
    """Return where classes begin to differ, with places for both of their origins; nothing where they do not.

    Synsets are compared with synsets alone, and other names without case and underscores.
    """
    if not found or len(learnt) != len(found) or _are_synsets(learnt) != _are_synsets(found):
        return ""
    pairs = zip(map(_plain, learnt), map(_plain, found), strict=True)
    label = next((label for label, (one, other) in enumerate(pairs) if one != other), None)
    if label is None:
        return ""
    return f"class {label} of {{}} is `{learnt[label]}`, of {{}} it is `{found[label]}`"


def _are_synsets(names: Sequence[str]) -> bool:
    return all(SYNSET.fullmatch(name) for name in names)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")
