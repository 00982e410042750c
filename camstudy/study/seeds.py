"""Seeds of a study: each of its models is made once for each, as a catalogue's entry of its own.

With `seeds: [0, 1]`, the model `net` stands for `net_seed0` and `net_seed1`, which have these seeds and share the rest
of the entry; so does every comparison, seed by seed.
"""

import copy
from collections.abc import Iterator, Mapping

from camstudy.study.written import Place


def replicate(model: str, seed: int) -> str:
    """Return the name of a model under a seed."""
    return f"{model}_seed{seed}"


def replicates(config: Mapping) -> dict[str, list[str]]:
    """Return the models of a study as they were named, each with its entries in the order of the seeds.

    Without `seeds`, each has itself alone. ``config`` is a complete one, as `make_replicates` leaves it.
    """
    found: dict[str, list[str]] = {}
    for model in config["models"]:
        found.setdefault(_named(config, model), []).append(model)
    return found


def replicated_pairs(config: Mapping) -> dict[tuple[str, str], str]:
    """Return the title of each comparison by its models as they were named, baseline and variant."""
    pairs: dict[tuple[str, str], str] = {}
    for pair in config["comparisons"]:
        key = _named(config, pair["baseline"]), _named(config, pair["variant"])
        pairs.setdefault(key, pair["title"].rpartition(", seed ")[0] if config.get("seeds") else pair["title"])
    return pairs


def shown_pairs(config: Mapping) -> list[tuple[str, list[str]]]:
    """Return for each baseline its title as a network, and the titles of the models to show, those of the first seed.

    Without comparisons, each model is one of its own.
    """
    made, entries = replicates(config), config["catalog"]["models"]
    groups: dict[str, tuple[str, list[str]]] = {}
    for (baseline, variant), title in replicated_pairs(config).items():
        groups.setdefault(baseline, (title, [baseline]))[1].append(variant)
    if not groups:
        groups = {name: (entries[name]["title"], [name]) for name in made}
    return [(title, [entries[made[name][0]]["title"] for name in names]) for title, names in groups.values()]


def check_seeds(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake of models that are the same whatever the seed, and of names that are taken."""
    if not config.get("seeds"):
        return
    entries = config["catalog"]["models"]
    for index, model in enumerate(config["models"]):
        if (entry := entries.get(model)) is None or _named(config, model) != model:
            continue
        if not entry["train"] and isinstance(entry["weights"], Mapping):
            text = f"`{model}` is neither trained nor random, so that it is the same for all `seeds`"
            yield ("models", index), f"{text}; leave it out, or make it another study's"
        for seed in config["seeds"]:
            made = replicate(model, seed)
            if made in entries and {**entries[made], "title": None} != {**_entry(config, model, seed), "title": None}:
                text = f"this is the name of `{model}` of `seeds`, whose entry is another"
                yield ("catalog", "models", made), f"{text}; rename the entry"


def make_replicates(config: dict) -> None:
    """Put the entries, models and comparisons of the seeds in place; a configuration that has them stays as it is."""
    if not config.get("seeds") or all(_named(config, model) != model for model in config["models"]):
        return
    seeds, models = config["seeds"], config["models"]
    made = {replicate(model, seed): _entry(config, model, seed) for model in models for seed in seeds}
    config["catalog"]["models"] |= made
    config["models"] = [*made]
    config["comparisons"] = [
        {
            "title": f"{pair['title']}, seed {seed}",
            "baseline": replicate(pair["baseline"], seed),
            "variant": replicate(pair["variant"], seed),
        }
        for pair in config["comparisons"]
        for seed in seeds
    ]


def _entry(config: Mapping, model: str, seed: int) -> dict:
    """Return the entry of a model under a seed; one that starts from another of the study starts from that seed's."""
    entry = copy.deepcopy(config["catalog"]["models"][model])
    weights = entry["weights"]
    if isinstance(weights, Mapping) and weights.get("model") in config["models"]:
        entry["weights"] = {**weights, "model": replicate(weights["model"], seed)}
    return entry | {"seed": seed, "title": f"{entry['title'] or model}, seed {seed}"}


def _named(config: Mapping, model: str) -> str:
    """Return the model that an entry is of a seed of, itself if of none."""
    name, _, number = model.rpartition("_seed")
    seeds = map(str, config.get("seeds") or ())
    return name if number in seeds and name in config["catalog"]["models"] else model
