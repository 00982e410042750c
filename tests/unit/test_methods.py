"""What every method must keep to: batches, seeds, memory, resuming, the model left as it was, parameters checked."""

import gc
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nets import MEAN, SIDE, STD, Net, net, normalize, pixels
from stores import CLASSES, INPUT, squares, write_store
from timm.models.vision_transformer import VisionTransformer

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]

# Settings that let small networks be explained quickly; methods that are not here run as they are.
SETTINGS = {
    "fovex": {"fixations": 2, "steps": 6, "learning_rate": 0.4, "blur_size": 7, "side": 5},
    "neva": {"fixations": 2, "steps": 6, "learning_rate": 0.4, "side": 5},
    "extremal_perturbation": {"iterations": 3, "step": 4, "sigma": 5.0, "max_blur": 2.0},
    "integrated_gradients": {"steps": 4},
    "meaningful_perturbation": {"mask_size": 5, "iterations": 3, "blur": 3},
    "opti_cam": {"iterations": 20, "learning_rate": 0.3},
    "pytorch_grad_cam": {"class_name": "RandomCAM"},
    "rise": {"n_masks": 10, "grid": 4},
    "smoothgrad": {"samples": 3},
}
# Those that can explain any model; the others have tests of their own.
NAMES = [
    name for name, method in METHODS.items() if method.needs != "dataset" and not (method.variant or method.attention)
]
RANDOM = ["random_cam", "smoothgrad", "rise", "pytorch_grad_cam", "meaningful_perturbation"]
NORM = {"mean": MEAN, "std": STD}


def bound(name: str, **more: object):
    return bind(name, {**SETTINGS.get(name, {}), **more})


def run(model, name: str, images, labels, **options):
    layer = resolve_target_layer(model, "layer")
    return explain(model, layer, images, labels, {"map": bound(name)}, **{**NORM, **options})


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Up to rounding: in float32, weights of Ablation-CAM are small differences of logits."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(expected.max(), 1e-3))


def data(n: int = 5):
    return normalize(pixels(n)).float(), np.arange(n) % CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_batches_equal_single_images_wherever_they_begin(name):
    model = net("mixer").float()
    images, labels = data(5)
    together = run(model, name, images, labels, batch_size=5, numbers=range(100, 105)).maps["map"]
    assert np.isfinite(together).all()
    assert together.dtype == np.float32
    for i in range(5):
        alone = run(model, name, images[i : i + 1], labels[i : i + 1], numbers=[100 + i]).maps["map"]
        assert_close(alone[0], together[i])
    divided = run(model, name, images, labels, batch_size=2, numbers=range(100, 105)).maps["map"]
    assert_close(divided, together)


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_shape_that_stores_are_made_for(name):
    model = net().float()
    images, labels = data(2)
    shape = map_shape(model, resolve_target_layer(model, "layer"), SIDE, bound(name))
    assert run(model, name, images, labels).maps["map"].shape == (2, *shape)
    side = {"layer": 4, "input": SIDE, "mask_size": 5, "side": 5}[METHODS[name].resolution]
    assert shape == (side, side)


@pytest.mark.parametrize("name", RANDOM)
def test_random_methods_depend_on_seed_and_image_number(name):
    model = net("mixer").float()
    images, labels = data(1)
    layer = resolve_target_layer(model, "layer")

    def maps(number: int, seed: int) -> np.ndarray:
        method = {"map": bound(name, seed=seed)}
        return explain(model, layer, images, labels, method, numbers=[number], **NORM).maps["map"][0]

    np.testing.assert_array_equal(maps(3, 0), maps(3, 0))
    assert not np.array_equal(maps(3, 0), maps(3, 1))
    # One set of masks serves all images.
    assert np.array_equal(maps(3, 0), maps(4, 0)) == (name == "rise")


def state(model) -> tuple:
    return (
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        {name: parameter.grad for name, parameter in model.named_parameters()},
        {name: module.training for name, module in model.named_modules()},
        [name for name, _ in model.named_modules()],
        {name: set(vars(module)) for name, module in model.named_modules()},
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(name, fails):
    model = net("mixer").float().train()
    model.stem.eval()
    model.fc.weight.requires_grad_(False)
    images, labels = data(3)
    before, tensors = state(model), {key: value.clone() for key, value in model.state_dict().items()}
    if fails and name not in ("fake_cam", "random_cam", "pytorch_grad_cam"):

        def fail(module, inputs) -> None:
            # Beyond what one pass that all methods share has called.
            calls.append(1)
            if len(calls) > (METHODS[name].needs == "model"):
                raise KeyboardInterrupt

        calls: list[int] = []
        handle = model.fc.register_forward_pre_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            run(model, name, images, labels)
        handle.remove()
    else:
        run(model, name, images, labels)
    assert state(model) == before
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            assert not hooks


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_flat(name):
    """The number of live tensors does not grow with the images explained, even without the cycle collector."""
    model = net("mixer").float()
    images, labels = data(2)

    def live() -> int:
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    run(model, name, images, labels)
    gc.collect()
    gc.freeze()  # what is there already is not looked through again
    gc.disable()
    try:
        for _ in range(10):
            run(model, name, images, labels)
        # The library's class refers to itself.
        if name == "pytorch_grad_cam":
            gc.collect()
        assert live() == 0
    finally:
        gc.enable()
        gc.unfreeze()


class Greedy(Net):
    """Runs out of memory above a number of images."""

    limit = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize("name", NAMES)
def test_out_of_memory_halves_what_runs_at_once(name):
    images, labels = data(5)
    model = net("mixer").float()
    expected = run(model, name, images, labels).maps["map"]
    greedy = Greedy("mixer")
    greedy.load_state_dict(model.state_dict())
    greedy.limit = 2
    result = run(greedy, name, images, labels, batch_size=8)
    assert result.batch_size <= 2
    assert_close(result.maps["map"], expected)
    greedy.limit = 0
    with pytest.raises(CamstudyError, match="out of memory with one image"):
        run(greedy, name, images, labels, batch_size=8)


def test_all_methods_together_equal_each_alone():
    model = net("mixer").float()
    images, labels = data(3)
    layer = resolve_target_layer(model, "layer")
    together = explain(model, layer, images, labels, {name: bound(name) for name in NAMES}, **NORM).maps
    assert list(together) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(together[name], run(model, name, images, labels).maps["map"])


def test_methods_from_activations_and_gradients_share_one_pass():
    model = net("mixer").float()
    images, labels = data(4)
    names = [name for name in NAMES if METHODS[name].needs == "activations_gradients"]
    assert {"gradcam", "gradcam_plusplus", "xgrad_cam", "layer_cam", "hires_cam", "eigen_cam"} < set(names)
    layer = resolve_target_layer(model, "layer")
    explain(model, layer, images, labels, {name: bound(name) for name in names})
    assert model.sizes == [4]


@pytest.mark.parametrize("name", NAMES)
def test_no_more_images_at_once_than_asked_for(name):
    model = net("mixer").float()
    images, labels = data(4)
    run(model, name, images, labels, batch_size=3)
    assert max(model.sizes) <= 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "guided_backprop"])
def test_vision_transformers(name):
    """Through the default target layer: maps of positions, without class and register tokens."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5, reg_tokens=2
    )
    images, labels = data(3)
    layer = resolve_target_layer(model, size=16)
    result = explain(model, layer, images, labels, {"map": bound(name)}, **NORM).maps["map"]
    assert result.shape == (3, *map_shape(model, layer, 16, bound(name)))
    alone = explain(model, layer, images[1:2], labels[1:2], {"map": bound(name)}, numbers=[1], **NORM).maps["map"]
    assert_close(alone[0], result[1])


# --- datasets ---

ATTRS = {
    **dict.fromkeys(("dataset", "model", "method", "layer", "target_policy"), "x"),
    **{"parameters": {}, "reference": "human_map"},
}
N, CHUNK = 7, 3


class Stopping(Net):
    """Breaks off at a pass."""

    left = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().forward(x)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


def write(manifest, dataset, model, name, *, images=slice(0, N), batch_size=2, chunk=CHUNK) -> np.ndarray:
    method = {"method": name, "parameters": SETTINGS.get(name, {}), "target": "label", "geometry": "aligned"}
    explain_dataset(
        manifest,
        dataset,
        Explainer(model, resolve_target_layer(model, "layer"), INPUT, method),
        images=images,
        settings={"batch_size": batch_size, "chunk_size": chunk},
        attrs=ATTRS,
        identity="f",
    )


@pytest.mark.parametrize("name", NAMES)
def test_datasets_in_parts_and_after_an_interruption(name, tmp_path, dataset):
    model = Stopping("mixer")
    model.load_state_dict(net("mixer").state_dict())
    write(tmp_path / "whole.json", dataset, model, name)
    whole = Heatmaps([tmp_path / "whole.json"]).maps()
    assert np.isfinite(whole).all()
    # Interrupted after the first chunk: that chunk is not made again.
    undisturbed = len(model.sizes)
    model.left = undisturbed // 2 + 1
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "resumed.json", dataset, model, name)
    model.left = None
    model.sizes.clear()
    write(tmp_path / "resumed.json", dataset, model, name)
    if name != "pytorch_grad_cam":  # which runs copies
        assert len(model.sizes) < undisturbed
    np.testing.assert_array_equal(Heatmaps([tmp_path / "resumed.json"]).maps(), whole)
    # Parts, other chunks and other batches: image numbers are the dataset's.
    for part, images in (("a", slice(0, 4)), ("b", slice(4, N))):
        write(tmp_path / f"{part}.json", dataset, model, name, images=images, batch_size=3, chunk=4)
    parts = Heatmaps([tmp_path / "a.json", tmp_path / "b.json"]).maps()
    assert_close(parts, whole)


# --- parameters ---


def test_shipped_entries_can_be_bound():
    entries = yaml.safe_load((ROOT / "config/catalog/methods.yaml").read_text())["catalog"]["methods"].values()
    used = {entry["method"] for entry in entries}
    assert used >= set(NAMES)
    for entry in entries:
        if entry["method"] in NAMES:
            bind(entry["method"], entry.get("parameters", {}))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "score_cam",
            {"weighting": "probabilty"},
            r"`weighting` of method `score_cam`: .*did you mean `probability`\?",
        ),
        ("score_cam", {"outside": "white"}, r"`outside` of method `score_cam`: `white`; valid names: black, mean"),
        ("score_cam", {"align_corners": 1}, r"`align_corners` must be true or false, found 1"),
        ("opti_cam", {"iterations": 0}, r"method `opti_cam`: `iterations` must be at least 1, found 0"),
        ("opti_cam", {"iterations": 2.5}, r"`iterations` must be an integer, found 2.5"),
        ("opti_cam", {"iterations": True}, r"`iterations` must be an integer, found True"),
        ("opti_cam", {"learning_rate": "fast"}, r"`learning_rate` must be a number, found 'fast'"),
        ("opti_cam", {"objective": "logits"}, r"did you mean `logit`\?"),
        ("rise", {"n_masks": 0}, r"`n_masks` must be at least 1"),
        ("rise", {"grid": 17}, r"`grid` must be from 1 to the side of the images, 16, found 17"),
        ("rise", {"probability": 1.5}, r"`probability` must be above 0 and at most 1"),
        ("rise", {"seed": -1}, r"`seed` must be at least 0"),
        ("rise", {"masks": 100}, r"parameter of method `rise`: `masks`, did you mean `n_masks`\?"),
        ("meaningful_perturbation", {"mask_size": 1}, r"`mask_size` must be at least 2"),
        ("meaningful_perturbation", {"mask_size": 17}, r"`mask_size` must be from 2 to the images' side, 16"),
        ("meaningful_perturbation", {"mask_size": 5, "blur": 4}, r"`blur` must be odd"),
        ("extremal_perturbation", {"area": 1.0}, r"`area` must be above 0 and below 1"),
        ("extremal_perturbation", {"levels": 1}, r"`levels` must be at least 2"),
        ("input_gradient", {"reduce": "max"}, r"`reduce` of method `input_gradient`: `max`, did you mean `max_abs`\?"),
        ("smoothgrad", {"samples": 0}, r"`samples` must be at least 1"),
        ("integrated_gradients", {"baseline": "grey"}, r"`baseline` of method"),
        ("gradcam_plusplus", {"eps": -1.0}, r"`eps` must be at least 0"),
        ("opti_cam", {"learning_rate": math.inf}, r"`learning_rate` must be above 0, found inf"),
        ("opti_cam", {"learning_rate": math.nan}, r"`learning_rate` must be above 0, found nan"),
        ("random", {"size": 1}, r"method `random`: `size` must be at least 2, found 1"),
        ("center_bias", {"sigma": 0}, r"`sigma` must be above 0, found 0"),
        ("gaze_center_bias", {"size": 0}, r"`size` must be at least 2, found 0"),
        ("files", {"path": "maps", "size": 1}, r"`size` must be 0, or a number of pixels from 2, found 1"),
        ("raw_attention", {"values": "score"}, r"did you mean `scores`"),
        ("fovex", {"blur_size": 4}, r"method `fovex`: `blur_size` must be odd and at least 1, found 4"),
        ("neva", {"fixations": 0}, r"method `neva`: `fixations` must be at least 1"),
        ("pytorch_grad_cam", {"class_name": "GradCam"}, r"`class_name` of method .*did you mean `GradCAM`"),
        ("pytorch_grad_cam", {"class_name": "RefineCAM"}, r"`RefineCAM` .* cannot be taken: it multiplies the maps"),
        ("random_cam", {"seed": -1}, r"`seed` must be at least 0"),
        ("pytorch_grad_cam", {}, r"method `pytorch_grad_cam` needs the parameter `class_name`"),
        ("pytorch_grad_cam", {"class_name": 3}, r"`class_name` must be text, found 3"),
        ("fake_cam", {"size": 3}, r"method `fake_cam` takes no parameters, but `size` is given"),
    ],
)
def test_mistakes_in_parameters(name, parameters, message):
    model = net().float()
    images, labels = data(1)
    with pytest.raises(CamstudyError, match=message):
        explain(model, resolve_target_layer(model, "layer"), images, labels, {"map": bind(name, parameters)})
