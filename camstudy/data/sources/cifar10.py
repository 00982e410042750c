"""CIFAR-10 (Krizhevsky 2009): photographs of 32x32 pixels, of ten classes."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

IMAGES = {"test": 10_000, "train": 50_000}
# The checksum is that of TensorFlow Datasets.
ARCHIVES = {
    "cifar-10-binary.tar.gz": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    )
}
LAYOUT = "put cifar-10-binary.tar.gz there, the binary version of CIFAR-10, or its folder cifar-10-batches-bin"


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images of a split, and the names of the classes."""
    from camstudy.data.formats.cifar import list_cifar

    found = list_cifar(root, "cifar10", entry["split"])
    return Listing(sum(found.counts.values()), found.classes)


@SOURCES.register(
    "cifar10",
    kind="photographs",
    has=("labels",),
    images=lambda entry: IMAGES[entry.get("split", "test")],
    layout=lambda entry: LAYOUT,
    listing=listing,
    archives=lambda entry: ARCHIVES,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images of a split."""
    from camstudy.data.formats.cifar import read_cifar
    from camstudy.data.formats.pixels import collection

    return collection(*read_cifar(root, "cifar10", entry["split"]))
