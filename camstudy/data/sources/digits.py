"""Handwritten digits in scenes with simulated human maps, drawn on the spot into shards of ClickMe's format."""

from camstudy.data.sources import SOURCES

SHARD_SIZE = 512  # scenes


@SOURCES.register(
    "digits",
    kind="shards",
    has=("labels", "human_maps", "boxes", "masks"),
    images=lambda entry: entry["n_images"],
)
def read(entry, shards):
    """Return the scenes as one sequence of records."""
    from camstudy.data.clickme import ClickMe

    return ClickMe(shards, num_classes=entry["num_classes"])
