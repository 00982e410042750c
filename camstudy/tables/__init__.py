"""Paper tables: pure functions from a study's numbers to a `Table`, and its rendering in four formats.

The workflow reads this registry whenever it starts, in every job on a cluster: pandas is imported when a table is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camstudy.core.registry import Registry

if TYPE_CHECKING:
    from camstudy.analysis.summary import TableInputs
    from camstudy.tables.table import Table

__all__ = ["TABLES", "TableRecord"]


@dataclass(frozen=True)
class TableRecord:
    """A table that studies can ask for: ``function(inputs: TableInputs) -> Table``.

    ``sources`` names what it is made from beside the scores: ``sweep``, ``layers``, ``layer_scores``, ``cost``,
    ``published``, ``steps``, ``timing``, ``seeds``, ``redrawn``, ``by_prediction`` of the inputs; ``if_made`` what it
    shows where another table or figure of the study needs it. ``metrics`` are the families of metrics that the study
    must have, ``settings`` keys of the study that it alone states, ``method_keys`` those of the methods' entries.
    """

    name: str
    function: Callable[[TableInputs], Table]
    title: str
    sources: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("agreement",)
    settings: tuple[str, ...] = ()
    if_made: tuple[str, ...] = ()
    method_keys: tuple[str, ...] = ()


TABLES: Registry[TableRecord] = Registry("table", TableRecord)


@TABLES.register("dcls", title="Alignment of baselines and DCLS variants")
def _dcls(inputs: TableInputs) -> Table:
    from camstudy.tables.dcls import dcls

    return dcls(inputs)


@TABLES.register(
    "heat_sizes",
    title="Gaze and the size of heat",
    sources=("redrawn",),
    metrics=("redrawn",),
    settings=("show_intervals",),
)
def _heat_sizes(inputs: TableInputs) -> Table:
    from camstudy.tables.redrawn import heat_sizes

    return heat_sizes(inputs)


@TABLES.register(
    "faithfulness",
    title="Faithfulness of methods",
    sources=("timing", "published"),
    metrics=("faithfulness",),
    settings=("show_intervals",),
)
def _faithfulness(inputs: TableInputs) -> Table:
    from camstudy.tables.methods import faithfulness

    return faithfulness(inputs)


@TABLES.register(
    "localization",
    title="Localisation by methods",
    sources=("published",),
    metrics=("localization",),
    settings=("show_intervals",),
)
def _localization(inputs: TableInputs) -> Table:
    from camstudy.tables.methods import localization

    return localization(inputs)


@TABLES.register(
    "explanations",
    title="Faithfulness, localisation and gaze of methods",
    sources=("published",),
    metrics=(),
    settings=("show_intervals",),
    # Methods are published by what they are, whatever the study calls them.
    method_keys=("method",),
)
def _explanations(inputs: TableInputs) -> Table:
    from camstudy.tables.methods import explanations

    return explanations(inputs)


@TABLES.register(
    "by_prediction", title="Explanations by right and wrong prediction", sources=("by_prediction",), metrics=()
)
def _by_prediction(inputs: TableInputs) -> Table:
    from camstudy.tables.by_prediction import by_prediction

    return by_prediction(inputs)


@TABLES.register("gaze", title="Agreement with gaze", metrics=("gaze",), settings=("show_intervals",))
def _gaze(inputs: TableInputs) -> Table:
    from camstudy.tables.gaze import gaze

    return gaze(inputs)


@TABLES.register("scanpaths", title="Agreement with scanpaths", metrics=("scanpath",), settings=("show_intervals",))
def _scanpaths(inputs: TableInputs) -> Table:
    from camstudy.tables.gaze import scanpaths

    return scanpaths(inputs)


@TABLES.register(
    "pooling",
    title="Poolings compared",
    sources=("cost", "published", "similarity"),
    metrics=("faithfulness",),
    settings=("show_intervals",),
)
def _pooling(inputs: TableInputs) -> Table:
    from camstudy.tables.pooling import pooling

    return pooling(inputs)


@TABLES.register(
    "ablation",
    title="Ablations of a variant",
    sources=("cost", "published", "similarity"),
    metrics=("faithfulness",),
    settings=("show_intervals",),
)
def _ablation(inputs: TableInputs) -> Table:
    from camstudy.tables.ablation import ablation

    return ablation(inputs)


@TABLES.register("recognition", title="Recognition over seeds", sources=("seeds", "published"), metrics=())
def _recognition(inputs: TableInputs) -> Table:
    from camstudy.tables.seeds import recognition

    return recognition(inputs)


@TABLES.register(
    "interpretable_recognition",
    title="Faithfulness over seeds",
    sources=("seeds", "published"),
    metrics=("faithfulness",),
)
def _interpretable_recognition(inputs: TableInputs) -> Table:
    from camstudy.tables.seeds import interpretable_recognition

    return interpretable_recognition(inputs)


@TABLES.register("sanity", title="What randomisation leaves of maps", sources=("steps",), metrics=("sanity",))
def _sanity(inputs: TableInputs) -> Table:
    from camstudy.tables.sanity import sanity

    return sanity(inputs)


@TABLES.register("threshold_sweep", title="Sensitivity to the threshold", sources=("sweep",))
def _threshold_sweep(inputs: TableInputs) -> Table:
    from camstudy.tables.sweeps import threshold_sweep

    return threshold_sweep(inputs)


@TABLES.register("layer_sweep", title="Alignment by stage", sources=("layers",))
def _layer_sweep(inputs: TableInputs) -> Table:
    from camstudy.tables.sweeps import layer_sweep

    return layer_sweep(inputs)


@TABLES.register(
    "layer_faithfulness", title="Faithfulness by stage", sources=("layer_scores",), metrics=("faithfulness",)
)
def _layer_faithfulness(inputs: TableInputs) -> Table:
    from camstudy.tables.layers import layer_faithfulness

    return layer_faithfulness(inputs)


@TABLES.register("cost", title="Cost beside alignment", sources=("cost", "published"))
def _cost(inputs: TableInputs) -> Table:
    from camstudy.tables.cost import cost

    return cost(inputs)


@TABLES.register("published", title="Measured beside published", sources=("published",), metrics=(), if_made=("cost",))
def _published(inputs: TableInputs) -> Table:
    from camstudy.tables.published import published

    return published(inputs)


@TABLES.register("scores", title="All scores", metrics=())
def _scores(inputs: TableInputs) -> Table:
    from camstudy.tables.scores import scores

    return scores(inputs)
