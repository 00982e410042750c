"""Networks as others write them: other outputs, one logit, other types, grey images, no gradients, computed weights."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, weight_norm

from camstudy.api import explain
from camstudy.core.errors import CamstudyError
from camstudy.explain.checking import check_network
from camstudy.explain.layers import resolve_target_layer
from camstudy.models.build import build_model, fold_variants, input_config
from camstudy.models.inputs import prepare
from camstudy.models.load import draw_fan_in, load_model
from camstudy.models.variants.dcls import dcls_layers
from camstudy.models.weights.checkpoints import load_into, load_weights, save_model

torch.set_num_threads(1)
SIDE, CLASSES = 16, 2
Found = namedtuple("Found", ["features", "logits"])


class ModelOutput(OrderedDict):
    """As that of Hugging Face: keys, attributes and positions."""

    def __getitem__(self, key):
        return [*self.values()][key] if isinstance(key, int) else super().__getitem__(key)


class Net(nn.Module):
    """Two convolutions and a classifier, of one kind."""

    def __init__(self, num_classes=CLASSES, kind="", channels=3):
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)
        self.second = nn.Conv2d(8, 6, 3, 1, 1)
        self.fc = nn.Linear(6, num_classes)
        self.kind = kind
        if kind == "weight_norm":
            weight_norm(self.second)
        if kind == "parametrized":
            parametrizations.weight_norm(self.second)
        if kind == "one memory":
            self.twin = nn.Conv2d(8, 6, 3, 1, 1)
            self.twin.weight = nn.Parameter(self.second.weight.data)
            self.register_buffer("some", self.first.bias.data[2:5])
        if kind in ("half", "bfloat16", "double"):
            getattr(self, kind)()

    def features(self, x):
        if self.kind == "no_grad":
            with torch.no_grad():
                return self.first(x).relu()
        if self.kind == "inference_mode":
            with torch.inference_mode():
                return self.first(x).relu().clone()
        x = self.first(x).relu()
        return x.detach() if self.kind == "detached" else x

    def forward(self, x):
        if self.kind == "half inside":
            x = x.half()
        if self.kind == "in place":
            x.sub_(0.1)
        if self.kind == "numpy":
            x = torch.from_numpy(2 * x.numpy())
        if self.kind == "noise":
            x = x + torch.rand_like(x)
        if self.kind == "batch":
            x = x - x.mean(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.kind == "autocast"):
            return self.logits(x)

    def logits(self, x):
        features = self.features(x)
        if self.kind == "inference_mode":
            features = features.clone()
        x = self.second(features).relu()
        if self.kind == "one memory":
            x = x + self.twin(features).relu()
        logits = self.fc(x.mean((2, 3)))
        returned = {
            "dict": lambda: {"hidden": x, "logits": logits},
            "Hugging Face": lambda: ModelOutput(loss=x, logits=logits),
            "tuple": lambda: (logits, x),
            "list": lambda: [x, [], logits],
            "attribute": lambda: Found(x, logits),
            "flat": lambda: logits[:, 0],
            "half at the end": lambda: logits.half(),
            "bfloat16 at the end": lambda: logits.bfloat16(),
            "double at the end": lambda: logits.double(),
            "nested": lambda: {"out": {"logits": [logits]}},
            "probabilities": lambda: logits.softmax(1),
            "sigmoid": lambda: {"logits": logits.sigmoid()},
            "flat sigmoid": lambda: logits.sigmoid()[:, 0],
            "not finite": lambda: logits / 0,
            "alone": lambda: logits.squeeze(0),
            "transposed": lambda: logits.T,
            "whole numbers": lambda: (1000 * logits).long(),
            "tuple in training": lambda: (logits, x) if self.training else logits,
        }
        return returned.get(self.kind, lambda: logits)()


class Stated(Net):
    """With state that is no tensor."""

    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


class Guided(Net):
    """With another input."""

    def forward(self, x, mask):
        return super().forward(x * mask)


class Lazy(Net):
    """Whose classifier is as large as what it gets first."""

    def __init__(self, num_classes, kind, channels):
        super().__init__(num_classes, kind, channels)
        self.fc = nn.LazyLinear(num_classes)


class Constant(nn.Module):
    """Without parameters."""

    def __init__(self, num_classes, kind, channels):
        super().__init__()

    def forward(self, x):
        return x.mean((2, 3))[:, :2]


def script(num_classes, kind, channels):
    return torch.jit.trace(Net(num_classes).eval(), torch.zeros(1, 3, SIDE, SIDE))


def broken(num_classes, kind, channels):
    raise OSError("no weights here")


class Counted(Net):
    """With state of its own that is a tensor."""

    steps = 3

    def get_extra_state(self):
        return torch.tensor(self.steps)

    def set_extra_state(self, state):
        self.steps = int(state)


def entry(kind="", of="Net", channels=3, **stated):
    default = {"variant": {}, "train": None, "target_layer": None, "num_classes": CLASSES, "weights": "random"}
    kwargs = {"kind": kind, "channels": channels}
    return default | {"arch": f"{__name__}.{of}", "kwargs": kwargs, "input": {"size": SIDE}} | stated


def noise(n=3, side=SIDE):
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def logits(one, images=None):
    model = build_model(one).eval()
    with torch.no_grad():
        return model(prepare(noise() if images is None else images, input_config(one)))


def plain(model, images):
    """Return what a network does to images without its hooks."""
    with torch.no_grad():
        return model.forward(images)


RETURNED = {
    "dict": "logits",
    "Hugging Face": "logits",
    "tuple": 0,
    "list": 2,
    "attribute": "logits",
    "nested": "out.logits.0",
    "half at the end": None,
    "bfloat16 at the end": None,
    "double at the end": None,
    "half": None,
    "bfloat16": None,
    "double": None,
}


@pytest.mark.parametrize("kind", RETURNED)
def test_logits_are_found_and_are_float32(kind):
    one = entry(kind, output=RETURNED[kind])
    found, expected = logits(one), logits(entry())
    assert found.dtype == torch.float32
    tolerance = 1e-2 if "half" in kind or "bfloat16" in kind else 1e-6
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert check_network(one)["layer"]["path"] == "second"


def test_positions_of_hugging_face_and_a_tensor_with_a_stated_position():
    torch.testing.assert_close(logits(entry("Hugging Face", output=1)), logits(entry()))
    # As of networks that return a tuple in training alone: the first position is not the first image.
    torch.testing.assert_close(logits(entry(output=0)), logits(entry()))


TRAINED = {"label_smoothing": 0, "positions": {"repulsive_loss": False}, "backward": "plain"}


def test_a_stated_output_that_no_pass_heeds_is_told():
    check_network(entry("tuple in training", output=0, train=TRAINED))
    message = r"output: found `{}`, but Net returns a tensor, in which there is nothing to choose; take `output` away"
    with pytest.raises(CamstudyError, match=message.format("logits")):
        check_network(entry(output="logits"))
    with pytest.raises(CamstudyError, match=message.format(0)):
        check_network(entry(output=0, train=TRAINED))
    with pytest.raises(CamstudyError, match=message.format(0)):
        check_network(entry("tuple in training", output=0))
    model = build_model(entry())
    with pytest.raises(CamstudyError, match=message.format("logits")):
        explain(model, list(noise()), input={"size": SIDE}, output="logits")
    assert len(model._forward_hooks) == 1  # its own, of no output


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            entry("dict"),
            r"returns a dict with `hidden`, `logits` in evaluation .*; say where the logits are, as in `out",
        ),
        (entry("tuple"), r"returns a tuple of 2 in evaluation mode .*as in `output: logits` or `output: 0`"),
        (
            entry("dict", output="logit"),
            r"output: found `logit`, but the network returns a dict with `hidden`, `logits`",
        ),
        (entry("list", output=3), r"output: found `3`, but the network returns a list of 3; name where"),
        (entry("attribute", output="logit"), r"output: found `logit`, but the network returns a Found of 2"),
        (entry("flat"), r"returns a tensor \(2,\) .*; set `binary: true` with `num_classes: 2` if that is"),
        (entry(binary=True, of="three_outputs"), r"binary: Net returns a tensor \(2, 3\), expected one logit"),
        (entry("whole numbers"), r"returns a tensor \(2, 2\) .* expected logits \(2, 2\)"),
        (entry("half inside"), r"arch: .*another type than float32 \(.*\); take `\.half\(\)`"),
        (entry(channels=1), r"input\.channels: .* takes images of one channel; set `input: \{channels: 1"),
        (entry(channels=4), r"input\.channels: .* does not take the 3 channels of colors"),
        (entry("no_grad"), r"cannot be differentiated by the image, because a part .*; take that out"),
        (entry("inference_mode"), "cannot be differentiated by the image"),
        (entry("detached"), "cannot be differentiated by the image"),
        (entry(of="Stated"), "arch: Stated has state that is no tensor .*: _extra_state; let `get_extra_state`"),
        (
            entry("nested", output="out.logits.1"),
            r"output: found `out\.logits\.1`, but the network returns a dict with `out`",
        ),
        (entry("probabilities"), r"arch: Net returns probabilities, expected logits; take the softmax or sigmoid out"),
        (entry("sigmoid", output="logits"), "arch: Net returns probabilities, expected logits"),
        (entry("flat sigmoid", binary=True), "arch: Net returns probabilities, expected logits"),
        (entry("not finite"), "arch: Net returns NaN or infinity; look in its forward pass"),
        (entry("alone"), r"returns a tensor \(2,\) in evaluation mode for 1 image, expected logits \(1, 2\); correct"),
        (entry("in place"), r"arch: Net changes the images that it is given, in place .*\(`x = x - mean`\)"),
        (
            entry("numpy"),
            r"arch: .* cannot be differentiated by the image \(Can't call numpy.*; take what leaves torch",
        ),
        (entry("autocast"), r"`second`: its output is torch\.bfloat16, .*; take `torch\.autocast` and casts out"),
        (
            entry(of="Guided"),
            r"arch: .*Guided` cannot be called with images alone \(TypeError: .*'mask'\); its forward p",
        ),
        (entry(of="Lazy"), r"arch: the first pass of Lazy decides the shapes of `fc\.weight`, `fc\.bias`; take"),
        (entry(of="Constant"), r"arch: Constant has no parameters, .*; make its weights `nn\.Parameter`"),
        (entry(of="script"), r"arch: TopLevelTracedModule is a program of TorchScript, .*; build the network from"),
        (entry(of="broken"), r"arch: .*broken` cannot be built with .* \(OSError: no weights here\); mend `kwargs`"),
        (entry(channels=1, input={"size": SIDE, "channels": 1}), r"input\.mean: found \[0\.485, .*three times"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value["kwargs"]["kind"] or value["arch"].rpartition(".")[2],
)
def test_the_rest_is_refused_in_a_sentence_that_says_what_to_do(stated, message):
    with pytest.raises(CamstudyError, match=message) as error:
        check_network(stated)
    assert "\n" not in str(error.value)


def three_outputs(num_classes, kind, channels):
    return Net(3, kind, channels)


def test_one_logit_stands_for_two_classes():
    """Probability, cross-entropy and both classes' maps are those of the sigmoid."""
    for kind in ("", "flat"):
        one = entry(kind, binary=True, input={"size": SIDE, "crop_pct": 1.0})
        model = build_model(one).eval()
        assert model.fc.out_features == 1
        images = prepare(noise(), input_config(one))
        z, both = plain(model, images).reshape(-1), model(images)
        torch.testing.assert_close(both.softmax(1)[:, 1], z.sigmoid())
        labels = torch.tensor([0, 1, 1])
        expected = F.binary_cross_entropy_with_logits(z, labels.float())
        torch.testing.assert_close(F.cross_entropy(both, labels), expected)
        assert check_network(one)["classes"] == 2
    activations = model.second(model.first(images).relu())
    # The layer is followed by a ReLU, the mean, and half the logit.
    gradients = (activations > 0) * model.fc.weight[0, :, None, None] / 2 / activations[0, 0].numel()
    weights = gradients.mean((2, 3), keepdim=True)
    without = Net(1).eval()
    without.load_state_dict(model.state_dict())
    for target, sign in ((0, -1), (1, 1)):
        found = explain(without, list(noise()), targets=[target] * 3, **api(one), binary=True)
        expected = (sign * weights * activations).mean(1).relu().detach().numpy()
        np.testing.assert_allclose([each.values for each in found], expected, atol=1e-7)


def api(one):
    return {"input": input_config(one), "layer": "second"}


def test_grey_networks_see_what_pillow_calls_grey():
    from PIL import Image

    stated = {"size": SIDE, "crop_pct": 1.0, "channels": 1, "mean": [0.5] * 3, "std": [0.25] * 3}
    one = entry(channels=1, input=stated)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in noise()])
    model = build_model(one).eval()
    expected = plain(model, torch.from_numpy((grey[:, None] / 255 - 0.5) / 0.25).float())
    # Pillow's grey is rounded to whole levels.
    torch.testing.assert_close(logits(one), expected, atol=5e-3, rtol=0)
    assert check_network(one)["layer"]["shape"] == [6, 8, 8]
    found = explain(model, list(noise()), "input_gradient", input=stated, layer="second")
    assert all(each.values.shape == (SIDE, SIDE) and each.values.any() for each in found)


@pytest.mark.parametrize("kind", ["no_grad", "inference_mode", "detached"])
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("input_gradient", {}),
        ("guided_backprop", {}),
        ("opti_cam", {"iterations": 1}),
        ("pytorch_grad_cam", {"class_name": "FullGrad"}),
    ],
)
def test_without_gradients_by_the_image_methods_say_so(kind, method, parameters):
    """Where nobody asked `check_model`, as in a notebook; what needs no such gradient works."""
    torch.manual_seed(0)
    model = Net(kind=kind).eval()
    options = {"input": input_config(entry()), "layer": "second"}
    assert len(explain(model, list(noise()), "gradcam", **options)) == 3
    with pytest.raises(CamstudyError, match=r"cannot be differentiated by the image, because a part of its forward"):
        explain(model, list(noise()), method, **options, **parameters)


def test_a_notebook_is_told_of_other_outputs_and_types():
    options = {"input": input_config(entry()), "layer": "second"}
    model = Net(kind="dict").eval()
    with pytest.raises(CamstudyError, match=r"Net returns a dict with `hidden`, `logits`, needed are logits"):
        explain(model, list(noise()), **options)
    assert len(explain(model, list(noise()), "score_cam", output="logits", **options)) == 3
    with pytest.raises(
        CamstudyError, match=r"Net returns a tensor \(2, 1\), needed are logits \(n, classes\) with n = 1"
    ):
        explain(Net(kind="transposed").eval(), list(noise(1)), **options)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    with pytest.raises(CamstudyError, match=r"model: found parameters in torch\.float16, .*call `model\.float\(\)`"):
        explain(Net(kind="half").eval(), list(noise()), **options)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("probabilities", "Net returns probabilities"),
        ("sigmoid", "Net returns probabilities"),
        ("not finite", "Net returns NaN or infinity"),
        ("in place", "Net changes the images that it is given"),
        ("noise", "the logits of Net differ from pass to pass"),
        ("batch", "what Net finds in an image changes with the other images"),
        ("half inside", r"Net cannot take the images \(RuntimeError: .*test_adapting\.py, line \d+\); correct `input`"),
    ],
)
def test_a_notebook_is_told_what_check_model_would_find(kind, message):
    torch.manual_seed(0)
    model, images = Net(kind=kind).eval(), list(noise())
    with pytest.raises(CamstudyError, match=message):
        explain(model, images, "score_cam", input=input_config(entry()), layer="second", output="logits")


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", ["weight_norm", "parametrized"])
def test_normalized_weights_can_be_folded_saved_trained_and_explained(kind, tmp_path):
    plainly = entry(kind)
    dcls = {"dcls": {"replace": "conv3x3", "kernel_size": 5, "kernel_count": 5, "version": "v1", "init": "random"}}
    for one in (plainly, plainly | {"variant": dcls}):
        model = build_model(one).train()
        model(prepare(noise(), input_config(one))).sum().backward()
        folded = fold_variants(model, one)
        assert not [*dcls_layers(folded)]
        images = prepare(noise(), input_config(one))
        torch.testing.assert_close(folded.eval()(images), model.eval()(images))
        save_model(model, tmp_path / "m.safetensors")
        torch.testing.assert_close(load_model(one, tmp_path / "m.safetensors")(images), model(images))
        check_network(one)
    model = build_model(plainly).eval()
    model(prepare(noise(), input_config(plainly))).sum().backward()
    found = explain(model, list(noise()), "pytorch_grad_cam", class_name="LayerCAM", **api(plainly))
    assert len(found) == 3


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", ["weight_norm", "parametrized"])
def test_weights_that_are_computed_are_not_drawn_in_vain(kind):
    with pytest.raises(CamstudyError, match="weight of `second` is computed, as weight normalization does; take `ra"):
        draw_fan_in(Net(kind=kind))


def test_weights_of_one_output_are_no_feature_maps():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3, 2, 1)
            self.last = parametrizations.weight_norm(nn.Conv2d(4, 1, 3, 1, 1))
            self.fc = nn.Linear(1, 2)

        def forward(self, x):
            return self.fc(self.last(self.body(x)).mean((2, 3)))

    assert resolve_target_layer(Last().eval(), size=SIDE).path == "last"


def test_tensors_that_lie_in_one_memory_are_saved_whole(tmp_path):
    one = entry("one memory")
    model = build_model(one).eval()
    with torch.no_grad():
        model.first.bias.add_(1)
    save_model(model, tmp_path / "m.safetensors")
    again = build_model(one, seed=1).eval()
    load_weights(again, tmp_path / "m.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    images = prepare(noise(), input_config(one))
    torch.testing.assert_close(again(images), model(images))
    check_network(one)


def test_state_of_a_network_is_kept_where_it_is_a_tensor(tmp_path):
    model = Counted()
    model.steps = 7
    save_model(model, tmp_path / "m.safetensors")
    again = Counted()
    load_weights(again, tmp_path / "m.safetensors")
    assert again.steps == 7
    for what in (lambda: save_model(Stated(), tmp_path / "s.safetensors"), lambda: load_into(Stated(), {}, where="f")):
        with pytest.raises(CamstudyError, match="Stated has state that is no tensor"):
            what()


class Changing(Net):
    """Changes in place what was used before."""

    def logits(self, x):
        x = self.second(self.first(x).relu())
        return self.fc(x.relu().mul_(2).mean((2, 3)))


class Scripted(nn.Module):
    """With a first part in TorchScript."""

    def __init__(self):
        super().__init__()
        self.trunk = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()).eval())
        self.second, self.fc = nn.Conv2d(8, 6, 3, 1, 1), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(self.second(self.trunk(x)).mean((2, 3)))


def maps(model, **options):
    return np.stack(
        [one.values for one in explain(model, list(noise()), input={"size": SIDE}, targets=[1, 0, 1], **options)]
    )


def test_what_was_compiled_is_explained_as_it_was_written():
    model = build_model(entry()).eval()
    expected = maps(model)
    assert np.ptp(expected) > 0
    images = prepare(noise(), input_config(entry()))
    compiled = torch.compile(model, backend="eager")
    compiled(images)
    np.testing.assert_array_equal(maps(compiled), expected)
    model.compile(backend="eager")
    model(images)
    np.testing.assert_array_equal(maps(model), expected)
    found = build_model(entry("dict")).eval()
    found.compile(backend="eager")
    found(images)
    np.testing.assert_array_equal(maps(found, output="logits"), expected)


def test_parts_in_torchscript_are_passed_over():
    model = Scripted().eval()
    layer, images = resolve_target_layer(model, size=SIDE), prepare(list(noise()), input_config(entry()))
    assert layer.path == "second"
    seen = model.second(model.trunk(images)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.fc(seen.mean((2, 3)))[[0, 1, 2], [1, 0, 1]].sum(), seen)
    expected = (gradient.mean((2, 3), keepdim=True) * seen.detach()).mean(1).relu()
    np.testing.assert_allclose(maps(model), expected.numpy(), rtol=1e-5, atol=1e-9)
    with pytest.raises(CamstudyError, match=r"target_layer `trunk.1`: is a program of TorchScript, or in one"):
        resolve_target_layer(model, "trunk.1", size=SIDE)


def exported():
    return torch.export.export(build_model(entry()).eval(), (torch.zeros(3, 3, SIDE, SIDE),)).module()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "resnet18", r"model: found a str, expected a network, as `timm\.create_model` returns it"),
        (lambda: build_model(entry()).state_dict(), r"model: found a OrderedDict, expected a network"),
        (
            lambda: Changing(),
            r"target_layer `.*`: the logits of Changing cannot be differentiated by it \(RuntimeError: .*in",
        ),
        (exported, r"arch: GraphModule cannot be put into evaluation mode .*; give the network itself"),
    ],
)
def test_what_a_notebook_cannot_have_explained_is_told(make, message):
    with pytest.raises(CamstudyError, match=message):
        maps(make())
