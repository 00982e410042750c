"""Training images per second and core, from JPEGs of ImageNet's usual size, against torchvision's ImageFolder.

Alone it also says how many loader processes feed networks of some speeds, in images per second:
`python -m benchmarks.bench_loader 1000 2500`.
"""

import io
import itertools
import math
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.timing import interleave, one_thread, ratio
from camstudy.data.imagenet import read_imagenet
from camstudy.data.photographs import write_photographs
from camstudy.data.store import ATTRIBUTES, open_dataset
from camstudy.training.data import TrainingLoader, augmentation
from camstudy.training.distributed import Group

CLASSES, EACH = 8, 128
# A batch is shared by eight processes, as many as have to keep up with a fast GPU.
BATCH, SHARES = 1024, 8
SIZE, MEAN, STD = 224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROP = {"scale": [0.08, 1.0], "flip": 0.5, "color_jitter": 0, "erase": 0}
AUGMENTATIONS = {"crop and flip": CROP, "with colours and erasing": CROP | {"color_jitter": 0.4, "erase": 0.25}}


def rows(repeats: int = 5) -> list[dict]:
    """Return a row for each augmentation: how many times as fast as ImageFolder one loader process is."""
    found = []
    with tempfile.TemporaryDirectory() as folder, one_thread():
        size = _write_images(Path(folder))
        files, photographs, _ = read_imagenet(folder, CLASSES, "train")
        manifest = Path(folder, "imagenet_train.json")
        write_photographs(manifest, files, photographs, attrs=dict.fromkeys(ATTRIBUTES), identity="benchmark")
        images, number = BATCH // SHARES, itertools.count()
        for name, augment in AUGMENTATIONS.items():
            recipe = {"batch_size": BATCH, "accumulate": 1, "augment": augment}
            inputs = {"size": SIZE, "mean": MEAN, "std": STD}
            loader = TrainingLoader(open_dataset(manifest), recipe, inputs, 0, group=Group(0, SHARES))
            same = v2.Compose([v2.PILToTensor(), augmentation(augment, SIZE, MEAN, STD)])
            peer = ImageFolder(files.path, same)
            peer = DataLoader(peer, batch_size=images, sampler=RandomSampler(peer, num_samples=images))
            contestants = {
                # A new epoch has a new order.
                "ours": lambda loader=loader: _count(loader.epoch(next(number))),
                "peer": lambda peer=peer: _count(peer),
            }
            if {run() for run in contestants.values()} != {images}:
                raise AssertionError("contestants prepare different numbers of images")
            times = interleave(contestants, repeats)
            speed = {contestant: images / statistics.median(seconds) for contestant, seconds in times.items()}
            found.append(
                {
                    "name": f"ImageFolder / training loader, {name}",
                    "ratio": ratio(times["peer"], times["ours"]),
                    "target": ">= 0.95",
                    "detail": f"{speed['peer']:.0f} / {speed['ours']:.0f} images per second and core, "
                    f"JPEGs of 500x375 and {size / 1000:.0f} KB",
                    "speed": speed["ours"],
                }
            )
    return found


def workers(images_per_second: float, per_core: float) -> int:
    """Return how many loader processes a network needs that trains on so many images per second."""
    return math.ceil(images_per_second / per_core)


def _count(batches: Iterable) -> int:
    return sum(len(labels) for _, labels in batches)


def _write_images(root: Path) -> float:
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
        for number in range(EACH):
            (folder / f"n{label:08d}_{number}.JPEG").write_bytes(contents[number % len(contents)])
    return statistics.mean(map(len, contents))


def main(speeds: list[str]) -> None:
    for row in rows():
        print(f"{row['name']}: {row['ratio']:.2f}; {row['detail']}")
        for speed in map(float, speeds):
            print(f"  {speed:g} images per second need {workers(speed, row['speed'])} loader processes")


if __name__ == "__main__":
    main(sys.argv[1:] or ["1000", "2500"])
