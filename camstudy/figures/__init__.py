"""Figures of a study: pure functions from its numbers, images and maps to matplotlib figures.

The workflow reads this registry whenever it starts, in every job on a cluster: matplotlib and pandas are imported when
a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from camstudy.core.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from camstudy.analysis.summary import TableInputs

__all__ = ["FIGURES", "FigureRecord", "save"]


@dataclass(frozen=True)
class FigureRecord:
    """A figure that studies can ask for.

    ``needs`` says what its function is called with: ``"scores"``, a `camstudy.analysis.summary.TableInputs`, or
    ``"maps"``, images with their maps (see `camstudy.figures.qualitative.qualitative`). ``sources`` names what it is
    drawn from beside the scores: ``sweep``, ``layers``, ``cost``, ``curves``, ``steps``, ``redrawn`` and ``images`` of
    the inputs; of maps, ``masked``, the probabilities of masked images. ``metrics`` are the families of metrics that
    the study must have, ``settings`` keys of the study that it alone states. ``items`` says whether its images are
    those of which two classes are items of the dataset, one row each.
    """

    name: str
    function: Callable[..., Figure]
    title: str
    needs: Literal["scores", "maps"]
    sources: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("agreement",)
    settings: tuple[str, ...] = ()
    items: bool = False


FIGURES: Registry[FigureRecord] = Registry("figure", FigureRecord)


@FIGURES.register("qualitative", title="Images with their maps", needs="maps")
def _qualitative(*images: object, **maps: object) -> Figure:
    from camstudy.figures.qualitative import qualitative

    return qualitative(*images, **maps)


@FIGURES.register(
    "method_grid", title="Images with the maps of all methods", needs="maps", sources=("masked",), metrics=()
)
def _method_grid(*images: object, **maps: object) -> Figure:
    from camstudy.figures.method_grid import method_grid

    return method_grid(*images, **maps)


@FIGURES.register(
    "gradients", title="Gradients of compared models", needs="maps", metrics=(), settings=("comparisons",)
)
def _gradients(*images: object, **maps: object) -> Figure:
    from camstudy.figures.gradients import gradients

    return gradients(*images, **maps)


@FIGURES.register("map_pairs", title="Maps of compared models", needs="maps", metrics=(), settings=("comparisons",))
def _map_pairs(*images: object, **maps: object) -> Figure:
    from camstudy.figures.gradients import map_pairs

    return map_pairs(*images, **maps)


@FIGURES.register("gaze", title="Images and maps with people's fixations", needs="maps", metrics=("gaze",))
def _gaze(*images: object, fixations: object, **maps: object) -> Figure:
    from camstudy.figures.method_grid import method_grid

    return method_grid(*images, points=fixations, **maps)


@FIGURES.register("scanpaths", title="Scanpaths over images, and what was seen", needs="maps", metrics=())
def _scanpaths(*images: object, **maps: object) -> Figure:
    from camstudy.figures.scanpaths import scanpaths

    return scanpaths(*images, **maps)


@FIGURES.register("class_specific", title="Maps of two classes of an image", needs="maps", metrics=(), items=True)
def _class_specific(*images: object, **maps: object) -> Figure:
    from camstudy.figures.class_specific import class_specific

    return class_specific(*images, **maps)


@FIGURES.register(
    "nss_by_fixations",
    title="Gaze by number of fixations and size of heat",
    needs="scores",
    sources=("redrawn",),
    metrics=("gaze", "redrawn"),
)
def _nss_by_fixations(inputs: TableInputs) -> Figure:
    from camstudy.figures.redrawn import nss_by_fixations

    return nss_by_fixations(inputs)


@FIGURES.register("alignment", title="Alignment", needs="scores")
def _alignment(inputs: TableInputs) -> Figure:
    from camstudy.figures.alignment import alignment

    return alignment(inputs)


@FIGURES.register(
    "distribution",
    title="Scores of single images",
    needs="scores",
    sources=("images",),
    metrics=(),
    settings=("primary",),
)
def _distribution(inputs: TableInputs) -> Figure:
    from camstudy.figures.distribution import distribution

    return distribution(inputs)


@FIGURES.register("accuracy_alignment", title="Accuracy against alignment", needs="scores")
def _accuracy_alignment(inputs: TableInputs) -> Figure:
    from camstudy.figures.accuracy_alignment import accuracy_alignment

    return accuracy_alignment(inputs)


@FIGURES.register(
    "insertion_deletion", title="Insertion and deletion", needs="scores", sources=("curves",), metrics=("faithfulness",)
)
def _insertion_deletion(inputs: TableInputs) -> Figure:
    from camstudy.figures.methods import insertion_deletion

    return insertion_deletion(inputs)


@FIGURES.register(
    "faithfulness_localization",
    title="Faithfulness against localisation",
    needs="scores",
    metrics=("faithfulness", "localization"),
)
def _faithfulness_localization(inputs: TableInputs) -> Figure:
    from camstudy.figures.methods import faithfulness_localization

    return faithfulness_localization(inputs)


@FIGURES.register("threshold_sweep", title="Sensitivity to the threshold", needs="scores", sources=("sweep",))
def _threshold_sweep(inputs: TableInputs) -> Figure:
    from camstudy.figures.sweeps import threshold_sweep

    return threshold_sweep(inputs)


@FIGURES.register("layer_sweep", title="Alignment by stage", needs="scores", sources=("layers",))
def _layer_sweep(inputs: TableInputs) -> Figure:
    from camstudy.figures.sweeps import layer_sweep

    return layer_sweep(inputs)


@FIGURES.register("alignment_cost", title="Alignment against cost", needs="scores", sources=("cost",))
def _alignment_cost(inputs: TableInputs) -> Figure:
    from camstudy.figures.alignment_cost import alignment_cost

    return alignment_cost(inputs)


@FIGURES.register(
    "randomization", title="Maps of randomised models", needs="scores", sources=("steps",), metrics=("sanity",)
)
def _randomization(inputs: TableInputs) -> Figure:
    from camstudy.figures.randomization import randomization

    return randomization(inputs)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or PDF, by the path's suffix (see `camstudy.figures.style.save`)."""
    from camstudy.figures import style

    style.save(figure, path)
