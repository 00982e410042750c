"""How stable maps are: `python -m benchmarks.stability [--photographs N] [NAME ...]` prints the table of the docs.

Of a trained network and photographs: rank correlation of the maps of an image and of the same image with noise.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.metrics.ranks import rank_correlation
from tests.unit.lite0 import INPUTS, LAST, MIDDLE, PHOTOGRAPHS, lite0, photographs

NOISE = 1e-4  # standard deviation, of pixels in [0, 1]
LIMIT = 0.9
# What has no defaults, and variants beside the defaults.
PARAMETERS = {
    "pytorch_grad_cam": [
        {"class_name": name} for name in ("GradCAMElementWise", "KPCA_CAM", "SegEigenCAM", "ShapleyCAM")
    ],
    "score_cam": [{}, {"weighting": "softmax_logit"}],
    "opti_cam": [{}, {"objective": "norm"}, {"objective": "probability"}],
}


def cases() -> dict[str, tuple[str, Mapping]]:
    """Return all methods that explain a model, with parameters, by what the table calls them."""
    found = {}
    for name, method in METHODS.items():
        for parameters in PARAMETERS.get(name, [{}]) if method.needs != "dataset" else []:
            found[", ".join([f"`{name}`", *map(str, parameters.values())])] = name, parameters
    return found


def stability(model: torch.nn.Module, path: str, images: torch.Tensor, name: str, parameters: Mapping) -> np.ndarray:
    """Return the rank correlation of each image's map with that of the image and noise of `NOISE`, (n,).

    Images (n, 3, s, s) are normalised as `INPUTS` says. The class explained is the one predicted of the image without
    noise; numbers that methods draw are the same for both.
    """
    layer = resolve_target_layer(model, path)
    with torch.no_grad():
        labels = model(images).argmax(1).numpy()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noise *= NOISE / torch.tensor(INPUTS["std"])[:, None, None]
    first, second = (
        explain(
            model,
            layer,
            shown,
            labels,
            {"map": bind(name, parameters)},
            mean=INPUTS["mean"],
            std=INPUTS["std"],
        ).maps["map"]
        for shown in (images, images + noise)
    )
    return rank_correlation(*(maps.reshape(len(maps), -1) for maps in (first, second)))


def lines(names: Sequence[str], n: int) -> Iterator[str]:
    """Yield the lines of the table for methods of these names, all if none, and the first n photographs."""
    model, images = lite0(), photographs()[:n]
    yield f"| method | last layer (`{LAST}`) | middle layer (`{MIDDLE}`) |"
    yield "|---|---|---|"
    for shown, (name, parameters) in cases().items():
        if names and name not in names:
            continue
        layers = [LAST, MIDDLE]
        method = bind(name, parameters).method
        if method.resolution != "layer" and name != "pytorch_grad_cam":
            layers = [LAST]
        cells = [_cell(stability(model, path, images, name, parameters)) for path in layers]
        yield f"| {shown} | {' | '.join(cells if len(cells) == 2 else [*cells, 'the same'])} |"


def _cell(values: np.ndarray) -> str:
    text = f"{np.median(values):.3f} ({values.min():.3f})"
    return text if values.min() >= LIMIT else f"**{text}**"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.stability", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="methods; all if none")
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS), help="how many, default all")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    for line in lines(given.names, given.photographs):
        print(line, flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
