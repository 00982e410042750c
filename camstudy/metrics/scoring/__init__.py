"""What maps are scored by: one module for each family of metrics, which says what it needs and finds the evidence.

A module is imported when its family is asked for, and its libraries within functions, so that a study is planned
without them. `camstudy.metrics.run` does what all families have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from camstudy.core.registry import ModuleRegistry

if TYPE_CHECKING:
    from camstudy.metrics.run import Batch, Evidence, Work

Need = Literal[
    *("maps", "raw_maps", "human_map", "human_ceiling", "boxes", "fixations", "prediction", "model", "method"),
]


@dataclass(frozen=True)
class Family:
    """A family of metrics of maps, and what is to be known of it before anything is scored.

    ``function(work)`` opens what a job needs and returns what finds the evidence of a batch of images.

    Parameters
    ----------
    title : in tables and docs/metrics.md
    needs : what the family works on: the maps with the method's ``postprocess`` (``maps``) or without (``raw_maps``);
        what must be known of every image of the dataset; what the model predicts; the network (``model``), on a GPU
        if there is one; the ``method``, where the family explains anew
    gives : names of the evidence that it finds, which its metrics may need
    of_models : of the evidence, what there is of a model's maps and not of a control's, which all models share;
        metrics that need it have no column there
    metrics : the module of `camstudy.metrics` that defines them; None if it has none, or they are registered with it
    settings : keys of its protocols beside ``family``, ``title`` and ``metrics``
    beside : kinds of tables that it writes beside the scores, `{protocol}.{kind}.parquet`
    place : where a study names its protocol of the family
    batch : images at a time; None for all at once
    sample : setting with the number of images that are scored, drawn by the setting ``seed``; empty for all
    divided : whether large datasets are divided among jobs
    passes : given a protocol, the passes through the network that an image takes, or the times that it is explained
    """

    name: str
    function: Callable[[Work], Callable[[Batch], Evidence]]
    title: str
    needs: tuple[Need, ...]
    gives: tuple[str, ...]
    metrics: str | None = None
    of_models: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    place: tuple[str, ...] = ("protocols",)
    batch: int | None = 64
    sample: str = ""
    divided: bool = False
    passes: Callable[[Mapping], int] = lambda protocol: 1

    @property
    def on_model(self) -> bool:
        """Whether it runs the network, on a GPU where there is one."""
        return "model" in self.needs

    @property
    def on_maps(self) -> bool:
        """Whether it scores maps that are there, of methods and of controls."""
        return not {"maps", "raw_maps"}.isdisjoint(self.needs)


FAMILIES: ModuleRegistry[Family] = ModuleRegistry("family of metrics", Family, __name__)
