"""Networks without a classifier: what a study may ask of them, and which methods explain them."""

from collections.abc import Iterator, Mapping

from camstudy.data.sources import SOURCES
from camstudy.metrics.scoring import FAMILIES
from camstudy.study.layers import shows, sweeps_layers
from camstudy.study.written import Place

# The head of a network whose output is an embedding, and the target of methods that explain it.
EMBEDDING = "embedding"


def check_embeddings(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake of models and methods that speak of embeddings where there are none, or of none.

    ``config`` has defaults and lacks what is malformed.
    """
    models, methods = (_entries(config, kind) for kind in ("models", "methods"))
    for name, entry in models.items():
        yield from _check_model(("catalog", "models", name), entry)
    for name, entry in methods.items():
        if entry.get("references") is not None and entry.get("target") != EMBEDDING:
            text = f"is for methods with `target: {EMBEDDING}` alone; leave it out, or set that target"
            yield ("catalog", "methods", name, "references"), text
    chosen = {name: models[name] for name in config.get("models", ()) if name in models}
    heads = {name: entry.get("head") for name, entry in chosen.items()}
    used = {name: methods[name].get("target") for name in config.get("methods", ()) if name in methods}
    yield from _check_pairs(config, heads, used)
    if EMBEDDING in heads.values():
        yield from _check_scores(config, next(name for name, head in heads.items() if head == EMBEDDING))


def _check_model(place: Place, entry: Mapping) -> Iterator[tuple[Place, str]]:
    if entry.get("head") != EMBEDDING:
        if (count := entry.get("num_classes", 2)) < 2:
            text = f"found {count}, expected at least 2, or with it `head: {EMBEDDING}` for a network without classes"
            yield (*place, "num_classes"), text
        return
    for key in ("train", "variant"):
        if entry.get(key):
            text = f"with `head: {EMBEDDING}` there is no classifier to train; leave it out, or set `head: softmax`"
            yield (*place, key), text


def _check_pairs(config: Mapping, heads: Mapping, used: Mapping) -> Iterator[tuple[Place, str]]:
    """Find methods that explain none of the study's models, and models without a classifier that none explains."""
    for index, name in enumerate(config.get("methods", ())):
        if name not in used or not heads:
            continue
        if used[name] == EMBEDDING and EMBEDDING not in heads.values():
            text = f"`{name}` explains networks with `head: {EMBEDDING}` alone, and none of `models` has it"
            yield ("methods", index), text
        if used[name] != EMBEDDING and set(heads.values()) == {EMBEDDING}:
            text = f"`{name}` explains a class, and none of `models` has any; set its `target: {EMBEDDING}`"
            yield ("methods", index), text
    for index, name in enumerate(config.get("models", ())):
        if heads.get(name) == EMBEDDING and used and EMBEDDING not in used.values():
            text = f"`{name}` has no classifier, and none of `methods` has `target: {EMBEDDING}`; add one"
            yield ("models", index), text


def _check_scores(config: Mapping, model: str) -> Iterator[tuple[Place, str]]:
    """Find what asks about the model's classes."""
    entries = _entries(config, "protocols")
    for index, name in enumerate(config["protocols"]):
        family = str(entries.get(name, {}).get("family"))
        if family in FAMILIES and FAMILIES[family].on_model:
            text = f"`{name}`, of {family}, asks a model about classes, and `{model}` has none; leave one of them out"
            yield ("protocols", index), text
    sweeps = {"threshold_sweep": shows(config, "threshold_sweep"), "a sweep of layers": sweeps_layers(config)}
    for name, shown in sweeps.items():
        if shown:
            yield ("tables",), f"{name} explains classes, and `{model}` has none; leave one of them out"
    for name in (config.get("dataset"), config.get("prediction_dataset")):
        entry = _entries(config, "datasets").get(str(name), {})
        if entry.get("source") in SOURCES and "labels" not in SOURCES[entry["source"]].truths(entry):
            text = f"`{name}` has no labels, whose images `target: {EMBEDDING}` compares with; take a labeled dataset"
            yield ("dataset",), text


def _entries(config: Mapping, kind: str) -> dict[str, Mapping]:
    """Return the entries of a kind that are mappings."""
    found = (config.get("catalog") or {}).get(kind) or {}
    return {name: entry for name, entry in found.items() if isinstance(entry, Mapping)}
