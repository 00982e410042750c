"""Figures compared with reference pictures; `pytest --redraw` writes these anew, to be looked at before a commit."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from PIL import Image

REFERENCES = Path(__file__).parent / "unit/data/figures"
REDUCE = 4  # of 200 dots per inch, so that references stay small
# Root mean square of the pixels' differences, of 255. The same numbers, drawn by the same Matplotlib, differ by none; a
# dot at another place makes 2.
SAME = 0.2


def check_picture(path: Path, reference: Path, *, tolerance: float, scratch: Path) -> None:
    """Fail if a figure's PNG differs from its reference; both and their difference are left in ``scratch``."""
    assert reference.exists(), f"{reference} is missing; `pytest --redraw` with this test makes it"
    small = shrink(path, scratch / reference.name)
    difference = compare_images(str(reference), str(small), tolerance)
    assert difference is None, difference


def shrink(path: Path, to: Path) -> Path:
    """Write a PNG in small."""
    with Image.open(path) as picture:
        picture.convert("RGB").reduce(REDUCE).save(to, optimize=True)
    return to


def is_on_its_page(figure: Figure) -> bool:
    """Return whether nothing that is drawn is cut off, but for a hundredth of an inch."""
    figure.set_dpi(200)  # as saved, since letters are a little wider in fewer dots
    figure.draw_without_rendering()
    place, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(place.x0, place.y0, width - place.x1, height - place.y1) > -0.01


@pytest.fixture
def looks_like(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """A function that compares a figure's PNG with the reference of a name, or makes it that with `--redraw`."""

    def compare(path: Path, name: str, tolerance: float = SAME) -> None:
        reference = REFERENCES / f"{name}.png"
        if request.config.getoption("redraw"):
            shrink(path, reference)
        else:
            check_picture(path, reference, tolerance=tolerance, scratch=tmp_path)

    return compare
