"""The reference of the metrics, written from their registry: ``python -m camstudy.study.metrics_reference``."""

import dataclasses
import inspect
import math
import re
from collections.abc import Iterator

from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric
from camstudy.metrics.scoring import FAMILIES, Family

INTRODUCTION = """\
# Metrics

<!-- Generated from the registry: `python -m camstudy.study.metrics_reference > docs/metrics.md` -->

Every metric is a pure function in `camstudy/metrics`; what follows is its documentation there. A protocol, an entry of
the catalogue, lists metrics of one family with settings, and its scores are in files of its name,
`results/scores/{dataset}/{model}/{method}/{protocol}.parquet`. They hold one row per image and one column per metric,
the long table their means with intervals ([definitions.md](definitions.md), "Statistics"). Shares are kept as numbers
from 0 to 1, also where tables print percent.

- Heatmaps are resized bilinearly (`align_corners=False`) to the square that the model saw: 224x224 pixels where they
  are compared with people or with boxes, the model's own input size where the model looks at masked images. Human maps
  and boxes are cut and resized as the image was.
- A **degenerate** heatmap is constant or has a value that is not finite. It gets the score that each metric states
  below, and is counted in every table (`degenerate: skip` leaves it out of the means instead, and counts it all the
  same).
- Probabilities are the softmax, in float64, of logits computed in float32; with `head: sigmoid`, the sigmoid.
- Where an image has several items, one for each class that is in it, values are those of items, and intervals and
  tests are over images.
"""

PREDICTION = ("Predictions", "Of a model's logits, without heatmaps: `prediction.parquet`.")
BETTER = {"up": "higher", "down": "lower"}


def reference() -> str:
    """Return the reference as Markdown: a table of all metrics, then a section per family and metric."""
    families = list(dict.fromkeys(metric.family for metric in METRICS.values()))
    return "\n".join([INTRODUCTION, *_overview(families), *(line for family in families for line in _family(family))])


def _overview(families: list[str]) -> Iterator[str]:
    yield from ("| Metric | Family | Range | Better | Printed in |", "| --- | --- | --- | --- | --- |")
    for metric in sorted(METRICS.values(), key=lambda metric: families.index(metric.family)):
        unit = "its own scale" if metric.unit == "1" else metric.unit
        cells = (f"[`{metric.name}`](#{metric.name})", metric.family, _range(metric), BETTER[metric.direction], unit)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _family(family: str) -> Iterator[str]:
    other = PREDICTION if family == "prediction" else (family.capitalize(), "")
    title, text = _about(FAMILIES[family]) if family in FAMILIES else other
    yield from (f"## {title}", "", text, "")
    if family == "faithfulness":
        yield from ("The class is the one that the heatmap explains. Protocols that ship:", "", *_protocols())
    for metric in METRICS.values():
        if metric.family == family:
            yield from _metric(metric)


def _about(family: Family) -> tuple[str, str]:
    """Return the title of a family, and what its module says of it."""
    text = (inspect.getmodule(family.function).__doc__ or "").partition("\n")[0]
    text = f"{text.rstrip('.')}. Protocols of the family `{family.name}`"
    tables = " and ".join(f"`{{protocol}}.{kind}.parquet`" for kind in family.beside)
    return family.title, f"{text}, with {tables} beside their scores." if tables else f"{text}."


def _protocols() -> Iterator[str]:
    from camstudy.metrics.faithfulness import FAMILY, Protocol, asks_perturbation
    from camstudy.study.protocols import shipped

    yield "| Protocol | Pixels per step at 224x224 | Passes | Insertion starts from | Deletion ends in | Ties | Masks |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    settings = {field.name for field in dataclasses.fields(Protocol)}
    for name, entry in shipped().items():
        if entry["family"] != FAMILY:
            continue
        protocol = Protocol(**{key: value for key, value in entry.items() if key in settings})
        passes = protocol.passes(224**2, perturbation=asks_perturbation(entry["metrics"]))
        start = f"{protocol.start}, {protocol.blur}x{protocol.blur} kernel"
        masks = {"resized": "scaled to 0 to 1 after resizing", "native": "scaled to 0 to 1 before resizing"}
        cells = (f"`{name}`", protocol.step, passes, start, f"{protocol.target} colour")
        yield f"| {' | '.join(map(str, cells))} | {protocol.ties} | {masks[protocol.normalize]} |"
    yield ""


def _metric(metric: Metric) -> Iterator[str]:
    yield from (f"### {metric.name}", "", _markdown(inspect.getdoc(metric.function) or ""), "")
    yield f"- Range {_range(metric)}, {BETTER[metric.direction]} is better; {_level(metric)}"
    if metric.parameters:
        given = ", ".join(f"`{name}` = {default!r}" for name, default in metric.parameters.items())
        yield f"- Parameters: {given}"
    yield from (f"- Source: {metric.source}", "")


def _level(metric: Metric) -> str:
    text = "one value per image" if metric.level == "image" else "one value for the whole dataset"
    return text + (", which may be missing" if metric.partial and metric.level == "image" else "")


def _range(metric: Metric) -> str:
    low, high = ("-∞" if bound == -math.inf else "∞" if bound == math.inf else f"{bound:.4g}" for bound in metric.range)
    return f"{low} to {high}"


def _markdown(docstring: str) -> str:
    """Return a docstring as Markdown: what is returned, without the word and without examples."""
    text = re.sub(r"^>>>.*?(?:\n\n|\Z)", "", docstring, flags=re.MULTILINE | re.DOTALL).strip()
    text = text.removeprefix("Return ").replace("``", "`")
    text = text[:1].upper() + text[1:]
    # Outside of code, characters that Markdown would take for its own.
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<|])", r"\\\1", part) for part in parts)


if __name__ == "__main__":
    print(reference(), end="")
