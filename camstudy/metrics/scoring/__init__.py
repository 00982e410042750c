"""What maps are scored by: one module for each family of metrics, which says what it needs and finds the evidence.

A module is imported when its family is asked for, and its libraries within functions, so that a study is planned
without them. `camstudy.metrics.run` does what all families have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from camstudy.core.registry import ModuleRegistry
from camstudy.metrics.registry import METRICS

if TYPE_CHECKING:
    import numpy as np
    import torch

    from camstudy.data.dataset import Dataset
    from camstudy.explain.store import Heatmaps

Need = Literal[
    *("maps", "raw_maps", "scanpath", "weight", "human_map", "human_ceiling", "boxes", "masks", "fixations"),
    *("prediction", "model", "method"),
]


@dataclass(frozen=True)
class Family:
    """A family of metrics of maps, and what is to be known of it before anything is scored.

    ``function(work)`` opens what a job needs and returns what finds the evidence of a batch of images.

    Parameters
    ----------
    title : in tables and docs/metrics.md
    needs : what the family works on: the maps with the method's ``postprocess`` (``maps``) or without (``raw_maps``);
        the arrays ``scanpath`` and ``weight`` that a method stores beside its maps, which other methods are not scored
        for lack of, but people are whose scanpaths are known;
        what must be known of every image of the dataset; what the model predicts; the network (``model``), on a GPU
        if there is one; the ``method``, where the family explains anew
    gives : names of the evidence that it finds, which its metrics may need
    of_models : of the evidence, what there is of a model's maps and not of a control's, which all models share;
        metrics that need it have no column there
    metrics : the module of `camstudy.metrics` that defines them; None if it has none, or they are registered with it
    settings : keys of its protocols beside ``family``, ``title`` and ``metrics``
    beside : kinds of tables that it writes beside the scores, `{protocol}.{kind}.parquet`
    method : of a family that looks at no method's maps and explains nothing anew, the catalogue's method under which a
        model has its scores, once
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
    method: str = ""
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


@dataclass
class Work:
    """What a job scores, and with what.

    Parameters
    ----------
    family : of the protocol
    settings : the protocol's entry of the catalogue
    dataset : the images
    heatmaps : the maps; None for a family that makes its own
    method : the method's entry of the catalogue
    model : the model's entry; None where the maps of a control are scored once for all models
    records : the records of the models and predictions that the family needs, by kind; a model's is a path
    device : of the network
    batch_size : images per pass through the network; families halve it where memory does not suffice
    """

    family: Family
    settings: Mapping
    dataset: Dataset
    heatmaps: Heatmaps | None
    method: Mapping
    model: Mapping | None = None
    records: Mapping[str, object] = field(default_factory=dict)
    device: torch.device | None = None
    batch_size: int = 32

    @property
    def control(self) -> bool:
        """Whether the maps are a control's, which look at no model."""
        return self.heatmaps is not None and self.heatmaps.attrs["model"] == "control"

    @cached_property
    def metrics(self) -> list[str]:
        """The protocol's metrics; without those of models alone, where there is none."""
        lacking = {*self.family.of_models} if self.model is None else set()
        return [name for name in self.settings.get("metrics", ()) if lacking.isdisjoint(METRICS[name].needs)]

    @cached_property
    def wanted(self) -> set[str]:
        """The evidence that the metrics need."""
        return {need for name in self.metrics for need in METRICS[name].needs}

    @cached_property
    def kept(self) -> list[str]:
        """The evidence for metrics of the whole dataset, which are made when scores are aggregated."""
        found = [METRICS[name] for name in self.metrics if METRICS[name].level == "dataset"]
        return list(dict.fromkeys(need for metric in found for need in metric.needs))


@dataclass(frozen=True)
class Batch:
    """Some images: their positions in the dataset, labels (n,), and of maps, where there are any, three things.

    ``maps`` are (n, h, w) at native resolution, ``targets`` (n,) the classes that they explain, ``views`` (n, 4) what
    they cover of the images, in fractions.
    """

    images: slice | np.ndarray
    labels: np.ndarray
    maps: np.ndarray | None = None
    targets: np.ndarray | None = None
    views: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """What a family finds for the n images of a batch.

    Parameters
    ----------
    arrays : what metrics are functions of, by the names in `camstudy.metrics.registry.Metric.needs`
    columns : what else the scores say of an image, (n,), or (n, k) for k rows of each image
    counted : bool (n,): images that do not count have no scores; None: all count
    parameters : of metrics, by name
    of : (m,), where arrays have several rows for an image, the image of each row, whose scores are averaged; None: they
        have one row for each image
    beside : the columns of tables beside the scores, by kind: as ``columns``, or a list of arrays, one for a cell
    """

    arrays: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    counted: np.ndarray | None = None
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    of: np.ndarray | None = None
    beside: Mapping[str, Mapping[str, np.ndarray | list]] = field(default_factory=dict)
