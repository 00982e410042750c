"""ClickMe (arXiv 1805.08819), and whatever comes in its format: TFRecord shards, downloaded or the user's own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from camstudy.data.sources import SOURCES, Listing

if TYPE_CHECKING:
    from camstudy.data.formats.clickme import ClickMe

# What the authors count; a user's own shards may hold any number.
SHARD_RECORDS = 3072


def _images(entry: Mapping) -> int:
    shards = entry["shards"]
    return SHARD_RECORDS * (shards["count"] if isinstance(shards, Mapping) else len(shards))


def listing(entry: Mapping, shards: Sequence[str]) -> Listing | None:
    """Return the number of records of shards, by walking over their lengths, and the names of the classes if stated."""
    from camstudy.data.formats.clickme import ClickMe

    return Listing(ClickMe(shards, num_classes=entry["num_classes"]).n, entry["class_names"])


@SOURCES.register("clickme", kind="shards", has=("labels", "human_maps"), images=_images, listing=listing)
def read(entry: Mapping, shards: Sequence[str]) -> "ClickMe":
    """Return the images as one sequence of records."""
    from camstudy.data.formats.clickme import ClickMe

    return ClickMe(shards, num_classes=entry["num_classes"], jpeg=entry["jpeg"])
