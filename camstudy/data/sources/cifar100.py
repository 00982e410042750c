"""CIFAR-100 (Krizhevsky 2009): photographs of 32x32 pixels, of a hundred classes, the fine ones."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

IMAGES = {"test": 10_000, "train": 50_000}
# The checksum is that of TensorFlow Datasets.
ARCHIVES = {
    "cifar-100-binary.tar.gz": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    )
}
LAYOUT = "put cifar-100-binary.tar.gz there, the binary version of CIFAR-100, or its folder cifar-100-binary"


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images of a split, and the names of the classes."""
    from camstudy.data.formats.cifar import list_cifar

    found = list_cifar(root, "cifar100", entry["split"])
    return Listing(sum(found.counts.values()), found.classes)


@SOURCES.register(
    "cifar100",
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

    return collection(*read_cifar(root, "cifar100", entry["split"]))
