"""Handwritten digits in scenes with simulated human maps, drawn on the spot into shards of ClickMe's format."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from camstudy.data.sources import SOURCES

if TYPE_CHECKING:
    from camstudy.data.formats.clickme import ClickMe

SHARD_SIZE = 512  # scenes


@SOURCES.register(
    "digits",
    kind="shards",
    has=("labels", "human_maps", "human_halves", "boxes", "masks"),
    images=lambda entry: entry["n_images"],
    on_request=("fixations",),
    items=lambda entry: bool(entry.get("label_sets")),
)
def read(entry: Mapping, shards: Sequence[str]) -> "ClickMe":
    """Return the scenes as one sequence of records."""
    from camstudy.data.formats.clickme import ClickMe

    return ClickMe(shards, num_classes=entry["num_classes"])
