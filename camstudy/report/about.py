"""What a study is made of: its data, networks, methods, protocols and metrics, as small tables."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

from camstudy.analysis import significance
from camstudy.analysis.summary import TableInputs
from camstudy.core.addresses import redact_text
from camstudy.core.provenance import read_json
from camstudy.core.store import open_store
from camstudy.explain.methods import METHODS, bind
from camstudy.metrics.families import METRICS
from camstudy.metrics.scoring import FAMILIES
from camstudy.pipeline import paths
from camstudy.report.grid import Grid, plural, settings
from camstudy.study.counting import metrics_by_family
from camstudy.study.protocols import chosen, scored
from camstudy.study.study import Study
from camstudy.tables import notes

BETTER = {"up": "higher", "down": "lower"}
SHOWN_CLASSES = 5


def data(study: Study) -> Grid:
    """Return the data sets of a study: what they are for, how many images they have, whose they are."""
    rows = []
    for name in study.datasets():
        entry, record = study.catalog["datasets"][name], Path(paths.dataset(name))
        attrs, count = dict(entry), "not there"
        if record.is_file():
            attrs |= dict(open_store(record).attrs)
            count = f"{read_json(record)['n_images']:,}"
        classes = attrs.get("class_names") or []
        named = ", ".join(classes[:SHOWN_CLASSES]) + (", …" if len(classes) > SHOWN_CLASSES else "")
        known = f"{len(classes):,}: {named}" if classes else str(attrs.get("num_classes") or "–")
        people = attrs.get("human_maps") or "–"
        left = f"{attrs['skipped']:,}" if attrs.get("skipped") else "none"
        cells = (name, _purpose(study, name), count, left, known, people, attrs["source"], attrs.get("licence") or "–")
        rows.append(tuple(map(str, cells)))
    head = ("Data set", "For", "Images", "Left out", "Classes", "Human maps", "Source", "Licence")
    return Grid(head, rows)


def _purpose(study: Study, name: str) -> str:
    found = ["explaining"] if name == study.dataset else []
    found += ["prediction"] if name == study.prediction_dataset and study.has_labels(name) else []
    recipes = [study.catalog["models"][model]["train"] for model in study.models]
    return ", ".join(found + (["training"] if any(r and r["dataset"] == name for r in recipes) else []))


def counted(study: Study, inputs: TableInputs) -> Grid:
    """Return how many images count in the scores of each protocol, and how many maps are degenerate."""
    rows, maps = [], inputs.scores[inputs.scores["method"] != ""]
    for protocol, own in maps.groupby("protocol", sort=False):
        degenerate = own.groupby(["model", "method"])["n_degenerate"].max()
        rows.append((protocol, significance.numbers(own["n"]), f"{len(degenerate):,}", f"{degenerate.sum():,.0f}"))
    worst = maps.sort_values("n_degenerate", ascending=False, kind="stable")
    worst = worst.drop_duplicates(["model", "method"]).sort_index()
    said = [*notes.skipped(inputs), notes.degenerate(inputs, worst, scored="scored as each metric says")]
    return Grid(("Protocol", "Images that count", "Models and methods", "Degenerate maps"), rows, said)


def models(study: Study, inputs: TableInputs | None) -> Grid:
    """Return the networks of a study: what they are, where their weights come from, how often they are right."""
    rows = []
    for name in study.models:
        entry, path = study.catalog["models"][name], Path(paths.model(name))
        record = read_json(path) if path.is_file() else {}
        size = f"{record['parameters'] / 1e6:,.2f} M" if "parameters" in record else "–"
        right = inputs and inputs.estimate(name, "", "top1", 100)
        shown = f"{right.value:.1f} %" if right else "–"
        cells = (entry["title"] or name, name, entry["arch"], settings(entry["variant"]), size)
        rows.append((*cells, _weights(entry, record), shown))
    head = ("Network", "Name", "Architecture", "Variant", "Parameters", "Weights", "Top-1")
    return Grid(head, rows, [*notes.random_weights(inputs)] if inputs else ())


def _weights(entry: Mapping, record: Mapping) -> str:
    """Return where a network's weights come from, as its record says, or its entry where there is none."""
    start = record.get("start")
    if start and "source" in start:
        text = f"{redact_text(str(start['source']))} (sha256 {start['sha256'][:12]}…)"
    else:
        text = settings(entry["weights"])
    recipe = entry["train"]
    if not recipe:
        return text
    epochs, part = plural(recipe["epochs"], "epoch"), settings(recipe["trainable"]) if recipe["trainable"] else ""
    trained = f"trained on {recipe['dataset']}, {epochs}, {recipe['optimizer']}, seed {entry['seed']}"
    return f"{text}; {trained}{f', of it {part} alone' if part else ''}"


def methods(study: Study) -> Grid:
    """Return the methods and controls of a study with their parameters and sources."""
    rows = []
    for name in [*study.methods, *study.controls]:
        entry = study.catalog["methods"][name]
        bound = bind(entry["method"], entry["parameters"])
        further = {key: entry[key] for key in ("postprocess", "stage") if entry.get(key) not in (None, {})}
        further |= {"geometry": entry["geometry"]} if entry["geometry"] != "aligned" else {}
        control = study.is_control(name)
        cells = (settings(dict(bound.parameters) | further), "–" if control else str(entry["target"]))
        rows.append((entry["title"] or name, name, *cells, METHODS[entry["method"]].source))
    head = ("Method", "Name", "Parameters", "Explained class", "Source")
    return Grid(head, rows)


def protocols(study: Study) -> Grid:
    """Return the protocols by which a study scores maps, with their settings."""
    rows = []
    for family, name in chosen(study.config).items():
        if family in scored() or (family == "sweep" and study.shows(family)):
            entry = study.catalog["protocols"][name]
            kept = {key: entry[key] for key in FAMILIES[family].settings}
            named = name if entry["title"] in (None, name) else f"{name}: {entry['title']}"
            rows.append((FAMILIES[family].title, named, settings(kept)))
    return Grid(("Family", "Protocol", "Settings"), rows)


def metrics(study: Study) -> Grid:
    """Return the metrics of a study's protocols: which way is better, what they are, where they are defined."""
    rows = []
    for name in [name for names in metrics_by_family(study.config).values() for name in names]:
        metric = METRICS[name]
        named = f"{name} (primary)" if name == study.config["primary"] else name
        rows.append((metric.label, named, BETTER[metric.direction], definition(name), metric.source))
    return Grid(("Metric", "Name", "Better", "Definition", "Source"), rows)


def definition(name: str) -> str:
    """Return the first paragraph of what a metric's function says that it returns."""
    text = (inspect.getdoc(METRICS[name].function) or "").partition("\n\n")[0]
    text = " ".join(text.split()).removeprefix("Return ")
    return text[:1].upper() + text[1:]


def statistics(inputs: TableInputs) -> Iterator[str]:
    """Yield what intervals, tests and marks are, and which class is explained."""
    yield notes.intervals(inputs)
    if len(inputs.comparisons):
        yield f"{significance.tested(inputs, inputs.comparisons['n_tests'])}."
        yield f"{significance.marks(inputs)}."
    yield from notes.targets(inputs, inputs.study["methods"])
    yield from notes.versions(inputs)
