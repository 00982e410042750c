"""The golden cases of registered things: every method, metric and variant at small fixed inputs, in float64."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from timm.models import VisionTransformer
from torch import nn

from camstudy.explain.methods import METHODS
from camstudy.explain.registry import Method
from camstudy.metrics.families import METRICS
from camstudy.models.guided import switchable
from camstudy.models.variants import VARIANTS
from camstudy.training.terms import TERMS, Batch, Measured
from tests.golden.numbers import noise, weights
from tests.golden.values import Values, named
from tests.unit import nets

N, SIDE, CLASSES, THRESHOLDS = 4, 12, 7, 255

# Parameters that a method is tried with, beside its defaults or, where these take long, instead of them.
SHORT = {
    "rise": [{"n_masks": 10, "grid": 3}],
    "meaningful_perturbation": [{"iterations": 6, "mask_size": 6, "blur": 3}],
    "extremal_perturbation": [{"iterations": 6, "step": 4, "sigma": 5.0}],
    "fovex": [{"fixations": 2, "steps": 4, "blur_size": 9, "blur_sigma": 3.0, "side": 6}],
    "neva": [{"fixations": 2, "steps": 4, "side": 6, "released_offset": True, "factors": [1.0, 0.5]}],
    "binary_cross_entropy": [{"label_smoothing": 0.1}],
    "gradient_guidance": [
        {
            **{"weight": 0.5, "error": "cosine", "of": "loss", "detach_guided": False, "batch_norm": "batch"},
            **{"teacher": "guided", "samples": 2, "noise": 0.1, "label_smoothing": 0.1},
        }
    ],
    "opti_cam": [{"iterations": 12}, {"objective": "norm", "early_stop": False, "iterations": 6}],
    "score_cam": [{}, {"weighting": "softmax_logit", "outside": "mean", "align_corners": True}],
    "smoothgrad": [{"samples": 3, "reduce": "sum_abs"}],
    "integrated_gradients": [{"steps": 5}, {"steps": 3, "baseline": "mean", "reduce": "sum"}],
    "gradcam_plusplus": [{}, {"eps": 1e-3}],
    "pytorch_grad_cam": [{"class_name": "HiResCAM"}],
    "pointing_game": [{}, {"ties": "any"}, {"ties": "first", "tolerance": 0}],
    "energy_pointing_game": [{}, {"max_box_share": 0.3, "negative": "relu"}],
    "pixel_f1": [{}, {"over_boxes": "mean"}],
    "sim": [{}, {"minmax": True}],
    "scanmatch": [{}, {"rows": 3, "columns": 2, "threshold": 1.5, "gap": -0.1}],
    "cross_entropy": [{"label_smoothing": 0.1}],
    "repulsion": [{"from_epoch": 1}],
    "raw_attention": [{}, {"block": 0, "values": "scores"}],
    "castream": [
        {},
        {"block": "projca", "token": "class_specific"},
        {"block": "projca", "bias": False, "start": 1},
    ],
    "dcls": [
        {"replace": "conv3x3", "kernel_size": 7, "kernel_count": 5, "version": version, "init": init}
        for version in ("v0", "v1", "gauss")
        for init in ("random", "preserve")
    ],
}

# What controls of gaze are made from: the fixations of two observers on each of three images.
GAZE = {
    "human_map": noise(3, 8, 8, seed=26).astype(np.float32),
    "pixels": np.empty((3, 9, 7, 3), np.uint8),
    "fixation": noise(9, 2, seed=27).astype(np.float32) * 7,
    "fixation_offset": np.array([0, 4, 6, 9]),
    "observer": np.array([0, 0, 1, 1, 0, 1, 0, 1, 1], np.int16),
}


def evidence() -> dict[str, object]:
    """Return what metrics are called with, by the names that their records give to it."""
    maps, human = noise(N, SIDE, SIDE, seed=1) - 0.2, noise(N, SIDE, SIDE, seed=2)
    maps[1] = np.round(maps[1], 1)  # ties
    maps[3] = 0.5  # degenerate
    low = np.floor(noise(N, 2, 2, seed=3) * 6)
    boxes = np.concatenate([low, low + 3 + np.floor(noise(N, 2, 2, seed=4) * 3)], 2)
    boxes[0, 1] = 0
    logits = noise(N, CLASSES, seed=5) * 8
    probability, masked = noise(N, seed=6), noise(N, seed=7)
    return {
        "heatmap": maps,
        "human_map": human,
        "box": boxes,
        "map_box": boxes[:, 0] + [0, 1, 1, 2],
        "correct": np.array([True, False, True, True]),
        "box_hits": (noise(N, THRESHOLDS, seed=8) * 2).astype(np.uint8),
        "logits": logits,
        "label": np.argsort(logits, 1)[np.arange(N), [-1, -3, 0, -6]],
        "probability": probability,
        "masked_probability": masked,
        "insertion_curve": np.sort(noise(N, 9, seed=9), 1),
        "deletion_curve": np.sort(noise(N, 9, seed=10), 1)[:, ::-1],
        "positive_correct": noise(N, 9, seed=11) < 0.4,
        "negative_correct": noise(N, 9, seed=12) < 0.6,
        "map_box_share": noise(N, seed=13),
        "crop_log_probability": np.log(noise(N, seed=14)),
        "step_correlation": 2 * noise(N, 3, seed=15) - 1,
        "step_correlation_absolute": noise(N, 3, seed=16),
        "spearman": 2 * noise(N, seed=17) - 1,
        "human_ceiling": 0.65,
        "tied_share": noise(N, seed=18),
        "class_logit": logits,
        "label_set": (3 * noise(N, CLASSES, seed=35)).astype(np.int8) - 1,
        "input_gradient": noise(N, 3, SIDE, SIDE, seed=24) - 0.5,
        "guided_gradient": noise(N, 3, SIDE, SIDE, seed=25) - 0.4,
        "fixations": [np.floor(noise(count, 2, seed=23) * SIDE).astype(int) for count in (3, 5, 1, 4)],
        "other_fixations": np.floor(noise(N, SIDE, SIDE, seed=24) * 3).astype(int),
        "density": human / human.sum((1, 2), keepdims=True),
        "baseline": noise(N, SIDE, SIDE, seed=25),
        "scanpath": [noise(count, 2, seed=28) * SIDE for count in (3, 5, 1, 4)],
        "human_scanpaths": [[noise(count, 2, seed=29) * SIDE, noise(4, 2, seed=30) * SIDE] for count in (3, 1, 6, 4)],
        "frame": np.full((N, 2), SIDE),
        "multimatch": noise(N, 4, seed=31),
        "first_fixation_nss": 4 * noise(N, seed=36) - 1,
    }


def network(tail: str, variant: str | None = None) -> nets.Net:
    """Return a small network with weights made by a formula, float64; one that a variant can be made of."""
    model = Pooled(tail) if variant == "castream" else nets.Net(tail)
    values = weights({name: value.numpy() for name, value in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return model.double().eval()


class Pooled(nets.Net):
    """The network with two paths whose pooling and stages a stream finds."""

    feature_info = ({"module": "stem"}, {"module": "layer"}, {"module": "mixer"})

    def __init__(self, tail: str) -> None:
        super().__init__(tail)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        x = self.layer(stem)
        return self.fc(self.pool(self.mixer(x) + self.side(stem)).flatten(1))


def transformer() -> nn.Module:
    """Return a small ViT of timm with weights made by a formula, float64."""
    model = VisionTransformer(
        img_size=nets.SIDE, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=4, fc_norm=False
    )
    values = weights({name: value.numpy() for name, value in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return model.double().eval()


def images() -> torch.Tensor:
    """Return images in [0, 1], float64 (3, 3, 16, 16)."""
    return torch.from_numpy(noise(3, 3, nets.SIDE, nets.SIDE, seed=20))


def method(name: str) -> Values:
    """Return the maps of a method for two networks, one of which has a path around the explained layer."""
    record, found = METHODS[name], {}
    for number, parameters in enumerate(SHORT.get(name, [{}])):
        if record.needs == "dataset":
            halves = noise(3, 2, 8, 8, seed=21).astype(np.float32)
            with made_elsewhere() as folder:
                parameters = {**parameters, "path": folder} if name == "files" else parameters
                maps = record.function(
                    np.arange(3), {"human_half": halves, "image": ["a", "b", "c"], **GAZE}, **parameters
                )
            found |= beside(f"{number}", maps, record)
            continue
        tails = ("linear", "residual") if record.variant or not record.attention else ()
        # Parameters but the first may be for the variant alone.
        for tail in (*tails, *["transformer"] * (record.attention and not (record.variant and number))):
            model = transformer() if tail == "transformer" else network(tail, record.variant)
            if record.variant and tail != "transformer":
                model = VARIANTS[record.variant].function(model, seed=0, **SHORT[record.variant][0])
            context = nets.context(model, images(), layer=None if tail == "transformer" else "layer")
            if record.needs == "model":
                with torch.no_grad():
                    maps = record.function(context, **parameters)
            else:
                activations = torch.from_numpy(noise(3, 5, 4, 4, seed=22) - 0.3)
                gradients = torch.from_numpy(noise(3, 5, 4, 4, seed=len(tail)) - 0.4)
                maps = record.function(activations, gradients, **parameters)
            found |= beside(f"{number} {tail}", maps, record)
    return dict(named(key, np.asarray(value)) for key, value in found.items())


@contextmanager
def made_elsewhere() -> Iterator[str]:
    """Make a folder of maps of three images for the time of a block."""
    with TemporaryDirectory() as folder:
        for name, values in zip("abc", noise(3, 4, 4, seed=33), strict=True):
            np.save(Path(folder, f"{name}.npy"), values)
        yield folder


def beside(key: str, result: object, record: Method) -> dict[str, object]:
    """Return the maps of a method and, if it declares any, the arrays beside them."""
    maps, arrays = result if record.arrays else (result, {})
    return {key: maps} | {f"{key} {name}": values for name, values in arrays.items()}


def metric(name: str) -> Values | None:
    """Return the scores of a metric; None where `evidence` does not have what it needs."""
    known, record = evidence(), METRICS[name]
    if not known.keys() >= set(record.needs):
        return None
    inputs = [known[need] for need in record.needs]
    tried = SHORT.get(name, [{}])
    return dict(named(f"{number}", record.function(*inputs, **parameters)) for number, parameters in enumerate(tried))


def variant(name: str) -> Values | None:
    """Return the outputs of a changed network, and of the same folded; None without parameters in `SHORT`."""
    if name not in SHORT:
        return None
    record, found = VARIANTS[name], {}
    for number, parameters in enumerate(SHORT[name]):
        model = record.function(network("residual", name), seed=0, **parameters).double()
        with torch.no_grad():
            found[f"{number}"] = model(nets.normalize(images())).numpy()
            found[f"{number} folded"] = record.fold(model)(nets.normalize(images())).numpy()
    return dict(named(key, value) for key, value in found.items())


def term(name: str) -> Values | None:
    """Return a term of the loss and its gradient by the logits or by the weights; None without parameters."""
    if name not in SHORT:
        return None
    model = VARIANTS["dcls"].function(network("residual"), seed=0, **SHORT["dcls"][0]).double()
    pictures = images().requires_grad_()
    logits = torch.from_numpy(noise(3, CLASSES, seed=23)).requires_grad_()
    labels = torch.tensor([0, 2, 1] if TERMS[name].demands(SHORT[name][0]).once else [0, 3, 6])
    if TERMS[name].heads == ("sigmoid",):
        labels = torch.from_numpy(np.floor(3 * noise(3, CLASSES, seed=34)).astype(np.int8) - 1)
    demands = TERMS[name].demands(SHORT[name][0])
    with switchable(model, *demands.switchable) if demands.switchable else nullcontext():
        batch = Batch(model, pictures, labels, model(pictures) if demands.once else logits, epoch=1)
        value = TERMS[name].function(batch, **SHORT[name][0])
    value = value.value if isinstance(value, Measured) else value
    if demands.once:
        logits = pictures
    seen = [logits] if TERMS[name].of == "images" else [p for n, p in model.named_parameters() if n.endswith(".P")]
    gradients = torch.autograd.grad(value, seen, allow_unused=True)
    found = {"value": value.detach().numpy()}
    found |= {f"gradient {number}": one.numpy() for number, one in enumerate(gradients) if one is not None}
    return dict(named(key, value) for key, value in found.items())


# By the kind of a unit.
CASES: dict[str, Callable[[str], Values | None]] = {
    "method": method,
    "metric": metric,
    "variant": variant,
    "term": term,
}
