"""Protocols: which ones ship, which ones a study uses, and whether it may."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from camstudy.core.errors import unknown
from camstudy.data.sources import BESIDE, SOURCES
from camstudy.metrics.scoring import FAMILIES
from camstudy.study.claims import definition, differences
from camstudy.study.registered import Registered
from camstudy.study.schema import fill, load_schema
from camstudy.study.written import Place, load_yaml

SHIPPED = Path(__file__).parents[2] / "config" / "catalog" / "protocols.yaml"
LISTED = ("protocols",)  # where a study lists its protocols
COST = "speed"  # by which cost is measured where a study names no protocol
# What families need to know of every image, as sources call it, and what a dataset without it has.
TRUTHS = {
    "human_map": ("human_maps", "no human maps"),
    "boxes": ("boxes", "no boxes"),
    "masks": ("masks", "no masks"),
    "fixations": ("fixations", "no fixations"),
}


def scored() -> list[str]:
    """Return the families of which a study lists protocols, those that score its maps."""
    return [name for name, family in FAMILIES.items() if family.place == LISTED]


def elsewhere() -> dict[str, tuple[str, ...]]:
    """Return the families of which a study names a protocol elsewhere, and where: the sweep's, and that of cost."""
    return {name: family.place for name, family in FAMILIES.items() if family.place != LISTED} | {"cost": ("cost",)}


@cache
def shipped() -> dict[str, dict]:
    """Return the protocols that ship, by name, with every default."""
    entries = load_yaml(SHIPPED)
    schema = load_schema()["$defs"]["protocol"]
    return {name: fill(entry, schema) for name, entry in entries["catalog"]["protocols"].items()}


def chosen(config: Mapping) -> dict[str, str]:
    """Return the protocols of a study by their family: those that score, in the study's order, `sweep` and `cost`."""
    entries = config["catalog"]["protocols"]
    found = {entries[name]["family"]: name for name in config["protocols"]}
    return found | {"sweep": config["sweep"]["protocol"], "cost": cost_protocol(config)}


def cost_protocol(config: Mapping) -> str:
    """Return the protocol by which a study measures cost, whether it asks for the time of methods or not."""
    return COST if isinstance(config["cost"], bool) else config["cost"]


def times_methods(config: Mapping) -> bool:
    """Whether a study asks how long its methods take: by `cost: true`, or by naming a protocol."""
    return config["cost"] is not False


def metric_names(family: str) -> list[str]:
    """Return the metrics that protocols of a family may list: those that its evidence suffices for."""
    return [name for name, lacks in _registered(family).items() if not lacks]


def _registered(family: str) -> dict[str, list[str]]:
    """Return the metrics of a family, each with what it needs and the family does not find."""
    from camstudy.metrics.families import METRICS

    gives = FAMILIES[family].gives if family in FAMILIES else ()
    own = [metric for metric in METRICS.values() if metric.family == family]
    return {metric.name: [need for need in metric.needs if need not in gives] for metric in own}


def check_protocols(config: Mapping, registered: Registered) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake of protocols that contradict what ships, each other, the data, or what is to be shown.

    ``config`` has defaults and lacks what is malformed; ``registered`` is what `camstudy.study.checks.validate` gets.
    """
    entries = config.get("catalog", {}).get("protocols", {})
    for name, entry in entries.items():
        place = ("catalog", "protocols", name)
        yield from _check_shipped(place, entry, registered.get("protocols", {}).get(name))
        yield from _check_metrics(place, entry, registered)
    yield from _check_chosen(config, entries)
    yield from _check_halves(config)
    yield from _check_evidence(config, entries)
    yield from _check_controls(config, registered.get("references", {}))
    yield from _check_scanpaths(config, entries, registered.get("arrays", {}))
    yield from _check_drawn(config, entries, registered.get("families", {}))


def _check_shipped(place: Place, entry: Mapping, ships: Mapping | None) -> Iterator[tuple[Place, str]]:
    if ships is not None and "family" in entry and definition(entry) != definition(ships):
        here, there = differences(definition(entry), definition(ships))
        text = f"found {here}, but the protocol `{place[-1]}` ships with {there} (config/catalog/protocols.yaml)"
        yield place, f"{text}; give yours a name of its own"


def _check_metrics(place: Place, entry: Mapping, registered: Registered) -> Iterator[tuple[Place, str]]:
    """Look up metrics that no protocol that ships has; asking the registry takes a second of every job."""
    if (family := entry.get("family")) is None:
        return
    ships = [other for other in registered.get("protocols", {}).values() if other["family"] == family]
    usual = {name for other in ships for name in other.get("metrics", ())}
    for index, name in enumerate(entry.get("metrics", ())):
        if "metrics" not in registered or name is None or name in usual or name in registered["metrics"](family):
            continue
        if lacks := _registered(family).get(name):
            text = f"`{name}` needs {', '.join(lacks)}, but {family} finds {', '.join(FAMILIES[family].gives)}"
            yield (*place, "metrics", index), f"{text}; take it out, or register it in the family that finds it"
        else:
            yield (*place, "metrics", index), str(unknown(f"metric of {family}", name, registered["metrics"](family)))


def _check_chosen(config: Mapping, entries: Mapping) -> Iterator[tuple[Place, str]]:
    """Find protocols of a family that stands elsewhere, or of one that is there already."""
    seen: dict[str, str] = {}
    for index, name in enumerate(config["protocols"]):
        family = entries.get(name, {}).get("family")
        if family in elsewhere():
            where = ".".join(elsewhere()[family])
            yield ("protocols", index), f"`{name}` is of the family {family}; name it as `{where}`"
        elif family in seen and name != seen[family]:
            text = f"`{name}` and `{seen[family]}` are both of the family {family}, of which a study has one"
            yield ("protocols", index), f"{text}; drop one of them, or make two studies"
        elif family is not None:
            seen[family] = name
    for family, place in elsewhere().items():
        name = config[place[0]][place[1]] if len(place) > 1 else cost_protocol(config)
        found = entries.get(name, {}).get("family", family)
        if found != family:
            yield place, f"`{name}` is of the family {found}; name a protocol of {_of(family, entries)}"


def _check_evidence(config: Mapping, entries: Mapping) -> Iterator[tuple[Place, str]]:
    """Find what a family needs to know of images and the dataset lacks: jobs would fail after the last map."""
    dataset = config.get("catalog", {}).get("datasets", {}).get(config.get("dataset"), {})
    if "source" not in dataset:
        return
    source, lacks = SOURCES[dataset["source"]], {}
    for need, (truth, text) in TRUTHS.items():
        if truth not in source.truths(dataset):
            way = f"`{truth}` names a folder of them" if truth in BESIDE else f"`{truth}: true` reads them"
            lacks[need] = f"{text} ({way})" if truth in source.on_request else text
    if text := _unstated(dataset):
        lacks["human_ceiling"] = text
    for index, name in enumerate(config["protocols"]):
        family = entries.get(name, {}).get("family")
        if missing := [need for need in FAMILIES[family].needs if need in lacks] if family in FAMILIES else []:
            text = f"found `{name}`, of {family}, but dataset `{config['dataset']}` has {lacks[missing[0]]}"
            yield ("protocols", index), f"{text}; take another dataset, or drop `{name}`"


def _unstated(dataset: Mapping) -> str:
    """Return what is not said of a dataset's human maps, though maps are to be compared with them."""
    texts, clickme = [], dataset["source"] == "clickme"
    if dataset.get("human_ceiling") is None:
        ending = ", ClickMe's is 0.65753" if clickme else ""
        texts.append(f"no `human_ceiling` (1 leaves correlations as they are{ending})")
    if clickme and dataset.get("human_maps") is None:
        texts.append("no `human_maps` (recorded, simulated or model)")
    return " and ".join(texts)


def _check_controls(config: Mapping, references: Mapping[str, str | None]) -> Iterator[tuple[Place, str]]:
    """Find controls that need maps of two halves of the annotators, or fixations, where the data have none."""
    catalog = config.get("catalog", {})
    dataset = catalog.get("datasets", {}).get(config.get("dataset"), {})
    if "source" not in dataset:
        return
    truths = SOURCES[dataset["source"]].truths(dataset)
    if "fixations" not in truths:
        for index, name in enumerate(config.get("controls", ())):
            if references.get(catalog.get("methods", {}).get(name, {}).get("method")) in ("fixation", "observers"):
                yield (
                    ("controls", index),
                    f"found `{name}`, but dataset `{config['dataset']}` has no fixations; drop it",
                )
    if "human_halves" in truths or dataset.get("human_ceiling") == "from_halves":
        return
    for index, name in enumerate(config.get("controls", ())):
        if references.get(catalog.get("methods", {}).get(name, {}).get("method")) == "human_half":
            has = "one human map per image, not those of two halves of the annotators"
            hint = "; `human_ceiling: from_halves` reads them where shards have `heatmap_halves`"
            if "human_maps" not in truths:
                has, hint = "no human maps", ""
            elif "human_halves" in SOURCES[dataset["source"]].on_request:
                hint = ", or name two folders of them, `human_halves`"
            elif dataset["source"] != "clickme":
                hint = ""
            yield ("controls", index), f"found `{name}`, but dataset `{config['dataset']}` has {has}; drop it{hint}"


def _check_halves(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Find a ceiling that is to be measured by maps of two halves of people which are not given, or halves alone."""
    for name, entry in config.get("catalog", {}).get("datasets", {}).items():
        if "human_halves" not in entry or entry.get("source") not in SOURCES:
            continue
        place = ("catalog", "datasets", name)
        if entry["human_ceiling"] == "from_halves" and not entry["human_halves"]:
            yield (
                (*place, "human_ceiling"),
                "`from_halves` needs maps of both halves; name their folders, `human_halves`",
            )
        if entry["human_halves"] and not entry["human_maps"]:
            yield (*place, "human_halves"), "are there without maps of all people; name their folder, `human_maps`"


def _check_scanpaths(
    config: Mapping, entries: Mapping, arrays: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Place, str]]:
    """Find protocols of scanpaths in studies of methods that have none."""
    methods = config.get("catalog", {}).get("methods", {})
    used = [methods.get(name, {}).get("method") for name in config.get("methods", ())]
    if not arrays or any("scanpath" in arrays.get(method, ()) for method in used):
        return
    for index, name in enumerate(config["protocols"]):
        family = entries.get(name, {}).get("family")
        if family in FAMILIES and "scanpath" in FAMILIES[family].needs:
            text = f"found `{name}`, of {family}, but none of `methods` stores scanpaths (an array `scanpath`)"
            yield ("protocols", index), f"{text}; add a method that does, or drop `{name}`"


def _check_drawn(config: Mapping, entries: Mapping, families: Mapping) -> Iterator[tuple[Place, str]]:
    """Find tables and figures of families or metrics that the study does not score."""
    scored = {entries[name].get("family"): name for name in config["protocols"] if name in entries}
    for kind in ("tables", "figures"):
        for index, name in enumerate(config[kind]):
            for family in families.get(name, ()):
                if family not in scored:
                    yield (kind, index), f"`{name}` shows {family}; add to `protocols` one of {_of(family, entries)}"
                elif family == "agreement" and "spearman" not in entries[scored[family]].get("metrics", ["spearman"]):
                    text = f"`{name}` shows alignment, which follows from `spearman`"
                    yield (kind, index), f"{text}; add it to the metrics of the protocol `{scored[family]}`"


def _of(family: str, entries: Mapping) -> str:
    """Return a family with the protocols that there are of it."""
    names = [f"`{name}`" for name, entry in entries.items() if entry.get("family") == family]
    return f"{family}: {', '.join(names)}" if names else f"{family}, of which the catalogue has none yet"
