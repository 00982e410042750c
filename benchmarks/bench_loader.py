"""Training images per second and core, from JPEGs of ImageNet's usual size, against torchvision's ImageFolder."""

import io
import itertools
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, ratio
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.imagenet import read_imagenet
from camstudy.data.formats.photographs import write_photographs
from camstudy.training.data import TrainingLoader, augmentation
from camstudy.training.distributed import Group

CLASSES = 8
PIXELS, MEAN, STD = 224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROP = {"scale": [0.08, 1.0], "flip": 0.5, "color_jitter": 0, "erase": 0}
AUGMENTATIONS = {"crop and flip": CROP, "with colours and erasing": CROP | {"color_jitter": 0.4, "erase": 0.25}}


class Size(NamedTuple):
    """``each``: images of a class; ``shares``: loader processes that share a batch of all images, one of which runs."""

    each: int
    shares: int
    repeats: int


# Eight processes, as many as have to keep up with a fast GPU.
FULL, SMALL = Size(each=128, shares=8, repeats=5), Size(each=1, shares=2, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield two rows for each augmentation: one loader process against ImageFolder, and its images per second."""
    size = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder, one_thread():
        kilobytes = _write_images(Path(folder), size.each) / 1000
        files, photographs, _ = read_imagenet(folder, CLASSES, "train")
        manifest = Path(folder, "imagenet_train.json")
        write_photographs(manifest, files, photographs, attrs=dict.fromkeys(ATTRIBUTES), identity="benchmark")
        batch = CLASSES * size.each
        images, number = batch // size.shares, itertools.count()
        for name, augment in AUGMENTATIONS.items():
            recipe = {"batch_size": batch, "accumulate": 1, "augment": augment, "hold_out": 0}
            inputs = {"size": PIXELS, "mean": MEAN, "std": STD}
            loader = TrainingLoader(open_dataset(manifest), recipe, inputs, 0, group=Group(0, size.shares))
            same = v2.Compose([v2.PILToTensor(), augmentation(augment, PIXELS, MEAN, STD)])
            peer = ImageFolder(files.path, same)
            peer = DataLoader(peer, batch_size=images, sampler=RandomSampler(peer, num_samples=images))
            contestants = {
                # A new epoch has a new order.
                "ours": lambda loader=loader: _count(loader.epoch(next(number))),
                "peer": lambda peer=peer: _count(peer),
            }
            if {run() for run in contestants.values()} != {images}:
                raise AssertionError("contestants prepare different numbers of images")
            times = interleave(contestants, size.repeats)
            speed = {contestant: images / statistics.median(seconds) for contestant, seconds in times.items()}
            detail = (
                f"{speed['peer']:.0f} / {speed['ours']:.0f} images per second, JPEGs of 500x375, {kilobytes:.0f} KB"
            )
            against = ratio(times["peer"], times["ours"])
            yield Row(f"ImageFolder / training loader, {name}", against, ">= 0.95", detail)
            yield Row(f"training loader, {name}", speed["ours"], "", "images per second and core", unit="images/s")


def _count(batches: Iterable) -> int:
    return sum(len(labels) for _, labels in batches)


def _write_images(root: Path, each: int) -> float:
    """Write training images in ImageNet's folders; return the mean size of the files in bytes."""
    rng, contents = np.random.default_rng(0), []
    for name, shape in itertools.product(("astronaut", "chelsea", "coffee", "rocket"), ((500, 375), (375, 500))):
        pixels = Image.fromarray(getattr(skimage.data, name)()).resize(shape)
        # The grain of a camera, without which these would be half as large as ImageNet's files are on average.
        grainy = np.asarray(pixels) + rng.normal(0, 18, (*reversed(shape), 3))
        buffer = io.BytesIO()
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    for label in range(CLASSES):
        folder = root / f"train/n{label:08d}"
        folder.mkdir(parents=True)
        for number in range(each):
            (folder / f"n{label:08d}_{number}.JPEG").write_bytes(contents[number % len(contents)])
    return statistics.mean(map(len, contents))
