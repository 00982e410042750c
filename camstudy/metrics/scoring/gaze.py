"""Human gaze: maps beside people's fixations, in the pixels of the image that the model saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    import numpy as np

    from camstudy.metrics.looking import View
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "gaze",
    title="Human gaze",
    metrics="gaze",
    needs=("maps", "fixations"),
    gives=("heatmap", "fixations", "other_fixations", "density", "baseline"),
    settings=("baseline", "similarity", "left_out"),
    # Images of a million pixels, in half a dozen arrays each.
    batch=8,
)
def gaze(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds maps, fixated pixels and densities at the resolution of the images.

    Images without a fixation where the model looked do not count. ``n_fixations`` and ``n_fixations_dropped`` are those
    that it saw, and did not. For maps of people each observer's fixations are judged by the density of the others'.
    """
    import numpy as np

    from camstudy.metrics.looking import Looking, shown
    from camstudy.metrics.scoring import Evidence

    looking, wanted = Looking(work.dataset), work.wanted
    parameters = {"sim": {"minmax": work.settings["similarity"] == "minmax"}}
    of_people = work.heatmaps.attrs["reference"] == "observers"

    def find(batch: Batch) -> Evidence:
        views = [*looking.views(batch.images, batch.views)]
        positions = np.arange(work.dataset.n)[batch.images]
        found = {"heatmap": shown(batch.maps, batch.views, views), "fixations": [view.pixels for view in views]}
        if "density" in wanted:
            found["density"] = [view.density(looking.sigma) for view in views]
        if "other_fixations" in wanted:
            found["other_fixations"] = [looking.others(*pair) for pair in zip(positions, views, strict=True)]
        if "baseline" in wanted:
            found["baseline"] = (
                looking.center(batch.images, views)
                if work.settings["baseline"] == "center_bias"
                else [np.full(view.shape, 1 / (view.shape[0] * view.shape[1])) for view in views]
            )
        counted = np.array([len(view.points) > 0 for view in views])
        columns = {
            "n_fixations": np.array([len(view.points) for view in views]),
            "n_fixations_dropped": np.array([view.dropped for view in views]),
        }
        if not of_people:
            return Evidence(found, columns, counted=counted, parameters=parameters)
        rows = left_out(views, positions, work.settings["left_out"])
        counted = np.isin(np.arange(len(views)), [row for row, _ in rows])
        return Evidence(
            _of_people(found, views, rows, looking.sigma),
            columns,
            counted=counted,
            parameters=parameters,
            of=np.array([row for row, _ in rows], int),
        )

    return find


def left_out(views: list[View], positions: np.ndarray, most: int | None) -> list[tuple[int, np.ndarray]]:
    """Return for each observer who is left out the view's number and whose fixations are theirs, bool (k,).

    With ``most``, of so many at an image, drawn by its position; where one person looked, nobody is left.
    """
    import numpy as np

    rows = []
    for number, (position, view) in enumerate(zip(positions, views, strict=True)):
        people = view.people()
        if most is not None and len(people) > most:
            chosen = np.random.default_rng(int(position)).choice(len(people), most, replace=False)
            people = [people[one] for one in sorted(chosen)]
        rows += [(number, own) for own in people if not own.all()]
    return rows


def _of_people(
    found: dict[str, list], views: list[View], rows: list[tuple[int, np.ndarray]], sigma: float
) -> dict[str, list]:
    """Return the evidence of each observer who is left out: the map is the density of the others' fixations."""
    people = {name: [values[number] for number, _ in rows] for name, values in found.items()}
    people["heatmap"] = [views[number].of(~own).density(sigma) for number, own in rows]
    people["fixations"] = [views[number].of(own).pixels for number, own in rows]
    if "density" in found:
        people["density"] = [views[number].of(own).density(sigma) for number, own in rows]
    return people
