"""Figures of a study: pure functions from its numbers, images and maps to matplotlib figures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from camstudy.figures.accuracy_alignment import accuracy_alignment
from camstudy.figures.alignment import alignment
from camstudy.figures.qualitative import qualitative
from camstudy.figures.style import save
from camstudy.registry import Registry

__all__ = ["FIGURES", "FigureRecord", "save"]


@dataclass(frozen=True)
class FigureRecord:
    """A figure that studies can ask for.

    ``needs`` says what its function is called with: ``"scores"``, a `camstudy.summary.TableInputs`, or
    ``"maps"``, images with their maps (see `camstudy.figures.qualitative.qualitative`).
    """

    name: str
    function: Callable[..., Figure]
    title: str
    needs: Literal["scores", "maps"]


FIGURES: Registry[FigureRecord] = Registry("figure", FigureRecord)
FIGURES.register("qualitative", title="Images with their maps", needs="maps")(qualitative)
FIGURES.register("alignment", title="Alignment", needs="scores")(alignment)
FIGURES.register("accuracy_alignment", title="Accuracy against alignment", needs="scores")(accuracy_alignment)
