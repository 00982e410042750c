"""What FovEx's average drop hangs on: `python -m benchmarks.average_drop` prints the docs' table.

After `camstudy run fovex_demo`, whose network, images, maps and scanpaths it reads; maps are drawn again with other
sizes of heat, and what they hide is replaced by black, as the metric does, or by something else.
"""

from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from camstudy.core.geometry import resample
from camstudy.core.scaling import min_max
from camstudy.data.dataset import open_dataset
from camstudy.explain.context import black_pixel, mask_pixels
from camstudy.explain.fixations import drawn, redrawn
from camstudy.explain.methods.foveation import Eye
from camstudy.explain.store import Heatmaps
from camstudy.metrics.faithfulness import average_drop
from camstudy.models.build import input_config
from camstudy.models.inputs import prepare
from camstudy.models.load import load_model, weights_of

RESULTS, STUDY, DATASET, MODEL, FOVEX = Path("results"), "fovex_demo", "digits_fovex", "resnet_mini", "fovex_112"
SIZES = (0.05, 0.1, 0.15, 0.3, 0.6, 1.2)
SIDE = 56


def masks_of(folder: Path, boxes: np.ndarray) -> dict[str, np.ndarray]:
    """Return maps (n, h, w) by what they are, of methods whose stores are in a folder.

    ``boxes`` (n, 4), in fractions of the images, have a Gaussian each in their middle.
    """
    stores = {path.stem: Heatmaps([path]) for path in sorted(folder.glob("*.json")) if "." not in path.stem}
    found = {name: store.maps() for name, store in stores.items() if not name.startswith(FOVEX)}
    found |= {f"{FOVEX}, heat {size:g}": redrawn(stores[FOVEX], heat_size=size) for size in SIZES}
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    one = np.ones((len(boxes), 1))
    return found | {f"object's place, heat {size:g}": drawn(middle, one, heat_size=size, side=SIDE) for size in SIZES}


def drops(model: nn.Module, images: Tensor, classes: Tensor, maps: np.ndarray, fills: dict[str, Tensor]) -> list[float]:
    """Return the mean of the masks, then the average drop for each of the ``fills`` of what they hide."""
    masks = torch.from_numpy(min_max(resample(np.asarray(maps, np.float32), tuple(images.shape[-2:])))).float()[:, None]

    def probability(shown: Tensor) -> np.ndarray:
        return model(shown).double().softmax(1).gather(1, classes[:, None])[:, 0].numpy()

    whole = probability(images)
    shown = (probability(mask_pixels(images, masks, fill.expand_as(images))) for fill in fills.values())
    return [masks.mean().item(), *(float(average_drop(whole, each).mean()) for each in shown)]


@torch.no_grad()
def main() -> None:
    """Print a row per kind of map, of the images that the network classifies correctly."""
    entry = yaml.safe_load((RESULTS / f"studies/{STUDY}/config.yaml").read_text())["catalog"]["models"][MODEL]
    model, inputs = load_model(entry, weights_of(RESULTS / f"models/{MODEL}/model.json")), input_config(entry)
    dataset = open_dataset(RESULTS / f"data/{DATASET}.json")
    images, classes = prepare(dataset.images(), inputs, torch.device("cpu")), torch.from_numpy(dataset.labels)
    right = model(images).argmax(1) == classes
    boxes = dataset.boxes()[:, 0] / np.tile(dataset.shapes, 2)
    eye = Eye(fovea_size=0.15, forgetting=0.1, blur_size=21, blur_sigma=5.0)
    black = black_pixel(inputs["mean"], inputs["std"], images)
    print(f"{int(right.sum())} images of {dataset.n}\n\n| maps | mean of the mask | black | mean color | blurred |")
    print("|---|---|---|---|---|")
    fills = {"black": black, "mean color": torch.zeros_like(black), "blurred": eye.blurred(images)[right]}
    for name, maps in masks_of(RESULTS / f"heatmaps/{DATASET}/{MODEL}", boxes).items():
        mean, *found = drops(model, images[right], classes[right], maps[right.numpy()], fills)
        print(f"| {name} | {mean:.2f} | " + " | ".join(f"{100 * drop:.1f} %" for drop in found) + " |", flush=True)


if __name__ == "__main__":
    main()
