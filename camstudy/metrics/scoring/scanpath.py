"""Human scanpaths: where a method looks in which order, beside the order in which people looked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    import numpy as np

    from camstudy.metrics.looking import View
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "scanpath",
    title="Human scanpaths",
    metrics="scanpath",
    needs=("raw_maps", "scanpath", "fixations"),
    gives=("scanpath", "human_scanpaths", "frame", "multimatch"),
    settings=("rows", "columns", "threshold", "gap", "left_out"),
)
def scanpath(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds the scanpaths of a method and those of people, in pixels of what the model saw of the image.

    A method stores `scanpath` (steps, 2) beside its maps, rows and columns in fractions of what the model saw, NaN for
    steps that it did not take; steps beyond the image are moved to its border. For maps of people, each observer's
    scanpath is compared with the others'. Images without a scanpath on either side do not count.
    """
    import numpy as np

    from camstudy.metrics.looking import Looking
    from camstudy.metrics.scanpath import multimatch_of_people
    from camstudy.metrics.scoring import Evidence
    from camstudy.metrics.scoring.gaze import left_out

    looking = Looking(work.dataset, ordered=True)
    parameters = {"scanmatch": {key: work.settings[key] for key in ("rows", "columns", "threshold", "gap")}}
    of_people = work.heatmaps.attrs["reference"] == "observers"

    def find(batch: Batch) -> Evidence:
        views = [*looking.views(batch.images, batch.views)]
        positions = np.arange(work.dataset.n)[batch.images]
        if of_people:
            rows = left_out(views, positions, work.settings["left_out"])
            of = np.array([number for number, _ in rows], int)
            paths = [views[number].of(own).scanpaths()[0] for number, own in rows]
            people = [views[number].of(~own).scanpaths() for number, own in rows]
        else:
            of, taken = np.arange(len(views)), work.heatmaps.array("scanpath", batch.images)
            paths = [_in_part(*each) for each in zip(taken, batch.views, views, strict=True)]
            people = [view.scanpaths() for view in views]
        frames = np.array([views[number].shape for number in of], float).reshape(-1, 2)
        found = {"scanpath": paths, "human_scanpaths": people, "frame": frames}
        if "multimatch" in work.wanted:
            found["multimatch"] = multimatch_of_people(paths, people, frames)
        known = [number for number, path, others in zip(of, paths, people, strict=True) if len(path) and others]
        columns = {
            "n_fixations": np.array([len(view.points) for view in views]),
            "n_fixations_dropped": np.array([view.dropped for view in views]),
        }
        counted = np.isin(np.arange(len(views)), known)
        return Evidence(found, columns, counted=counted, parameters=parameters, of=of)

    return find


def _in_part(steps: np.ndarray, seen: np.ndarray, view: View) -> np.ndarray:
    """Return the steps that were taken, given in fractions of what was seen, in pixels of the image's part of it.

    Those outside of the part are moved to its border: distances to people's fixations, which lie within, stay shares of
    its diagonal.
    """
    import numpy as np

    from camstudy.core.geometry import points_in_view

    taken = steps[np.isfinite(steps).all(axis=1)].astype(np.float64)
    start, end = seen[:2], seen[2:]
    return np.clip(points_in_view(start + taken * (end - start), view.box, view.shape)[0], 0, view.shape)
