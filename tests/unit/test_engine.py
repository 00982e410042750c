"""The engine: one pass for all methods, any batch size and layout, and a model left as it was."""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import TargetLayer, resolve_target_layer
from camstudy.explain.methods import bind

torch.set_num_threads(1)

METHODS = {name: bind(name, {}) for name in ("gradcam", "threshold_gradcam")}
CLASSES = 4


class Net(nn.Module):
    """A small classifier whose feature layer can be NHWC, and whose next operation can work in place."""

    def __init__(self, layout: str = "nchw", in_place: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.features = nn.Conv2d(8, 12, 3, 2, 1)
        self.layout = nn.Identity()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(12, CLASSES)
        self.nhwc, self.in_place = layout == "nhwc", in_place
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = self.features(self.stem(x))
        x = self.layout(x.permute(0, 2, 3, 1) if self.nhwc else x)
        x = x.relu_() if self.in_place else x.relu()
        return self.fc(self.dropout(x.mean((1, 2) if self.nhwc else (2, 3))))


def _net(**options) -> Net:
    torch.manual_seed(0)
    model = Net(**options)
    model.stem[1].running_mean.normal_()
    return model


def _data(n: int = 6) -> tuple[torch.Tensor, np.ndarray]:
    return torch.randn(n, 3, 24, 24, generator=torch.Generator().manual_seed(1)), np.arange(n) % CLASSES


def _layer(model: Net) -> TargetLayer:
    return resolve_target_layer(model, "layout")


def _assert_alive(maps: np.ndarray) -> None:
    assert np.isfinite(maps).all()
    assert (np.ptp(maps, axis=(1, 2)) > 1e-5).mean() > 0.5, "degenerate: the comparison would be empty"


def test_shapes_types_and_classes():
    images, labels = _data()
    model = _net()
    result = explain(model, _layer(model), images, labels, METHODS)
    for maps in result.maps.values():
        assert isinstance(maps, np.ndarray)
        assert (maps.shape, maps.dtype) == ((6, 6, 6), np.float32)
        _assert_alive(maps)
    np.testing.assert_array_equal(result.target, labels)
    with torch.no_grad():
        logits = model.eval()(images)
    np.testing.assert_array_equal(result.predicted, logits.argmax(1).numpy())
    assert result.target.dtype == result.predicted.dtype == np.int64


def test_activations_and_gradients_are_those_of_an_ordinary_backward_pass():
    images, labels = _data()
    model = _net().eval()
    seen = {}

    def keep(activations, gradients):
        seen.update(activations=activations, gradients=gradients)
        return activations.sum(1)

    explain(model, _layer(model), images, labels, {"keep": keep})
    captured = {}
    handles = [
        model.layout.register_forward_hook(lambda m, i, output: captured.update(activations=output.detach())),
        model.layout.register_full_backward_hook(lambda m, i, grads: captured.update(gradients=grads[0])),
    ]
    model(images)[range(6), labels].sum().backward()
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(seen["activations"], captured["activations"])
    torch.testing.assert_close(seen["gradients"], captured["gradients"])
    assert not seen["activations"].requires_grad
    assert not seen["gradients"].requires_grad


def test_one_forward_pass_serves_all_methods():
    images, labels = _data()
    model = _net()
    explain(model, _layer(model), images, labels, METHODS, batch_size=4)
    assert model.calls == 2


def test_target_predicted():
    images, labels = _data(12)
    model = _net()
    model.fc.weight.data *= 10
    predicted = explain(model, _layer(model), images, labels, METHODS, target="predicted")
    np.testing.assert_array_equal(predicted.target, predicted.predicted)
    as_label = explain(model, _layer(model), images, predicted.predicted, METHODS)
    by_label = explain(model, _layer(model), images, labels, METHODS)
    for name in METHODS:
        np.testing.assert_array_equal(predicted.maps[name], as_label.maps[name])
        assert not np.allclose(predicted.maps[name], by_label.maps[name])


@pytest.mark.parametrize("batch_size", [1, 4, 5, 32])
def test_batches_equal_single_images(batch_size):
    images, labels = _data(7)
    model = _net()
    result = explain(model, _layer(model), images, labels, METHODS, batch_size=batch_size)
    assert result.batch_size == batch_size
    for i in range(7):
        single = explain(model, _layer(model), images[i : i + 1], labels[i : i + 1], METHODS)
        for name in METHODS:
            np.testing.assert_allclose(result.maps[name][i], single.maps[name][0], rtol=0, atol=1e-6)


def test_nhwc_equals_nchw():
    images, labels = _data()
    first, last = _net(), _net(layout="nhwc")
    expected = explain(first, _layer(first), images, labels, METHODS)
    for override in ("layout", {"path": "layout", "layout": "nhwc"}):
        found = explain(last, resolve_target_layer(last, override), images, labels, METHODS)
        for name in METHODS:
            _assert_alive(expected.maps[name])
            np.testing.assert_allclose(found.maps[name], expected.maps[name], rtol=0, atol=1e-6)


def test_wrong_layout_is_refused():
    images, labels = _data()
    model = _net(layout="nhwc")
    layer = resolve_target_layer(model, {"path": "layout", "layout": "nchw"})
    with pytest.raises(CamstudyError, match="layout nchw, but"):
        explain(model, layer, images, labels, METHODS)


def test_in_place_operation_after_the_layer():
    images, labels = _data()
    plain, in_place = _net(), _net(in_place=True)
    expected = explain(plain, _layer(plain), images, labels, METHODS)
    found = explain(in_place, _layer(in_place), images, labels, METHODS)
    for name in METHODS:
        np.testing.assert_array_equal(found.maps[name], expected.maps[name])


def _state(model: nn.Module) -> tuple:
    return (
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        {name: parameter.grad for name, parameter in model.named_parameters()},
        {name: module.training for name, module in model.named_modules()},
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
    )


@pytest.mark.parametrize("fails", [False, True])
def test_model_is_left_as_it_was(fails):
    images, labels = _data()
    model = _net()
    model.train()
    model.stem.eval()
    model.stem[0].weight.requires_grad_(False)
    *before, tensors = _state(model)

    def method(activations, gradients):
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not any(module.training for module in model.modules())
        if fails:
            raise RuntimeError("stop")
        return activations.sum(1)

    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            explain(model, _layer(model), images, labels, {"m": method})
    else:
        explain(model, _layer(model), images, labels, {"m": method})
    *after, tensors_after = _state(model)
    assert after == before
    assert tensors.keys() == tensors_after.keys()
    assert all(torch.equal(tensor, tensors_after[name]) for name, tensor in tensors.items())
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not module._forward_pre_hooks


def test_hooks_of_others_stay():
    images, labels = _data()
    model = _net()
    calls = []
    model.layout.register_forward_hook(lambda module, inputs, output: calls.append(1))
    explain(model, _layer(model), images, labels, METHODS)
    assert calls == [1]
    assert len(model.layout._forward_hooks) == 1


def test_frozen_model_under_no_grad():
    images, labels = _data()
    model = _net()
    expected = explain(model, _layer(model), images, labels, METHODS)
    model.requires_grad_(False)
    with torch.no_grad():
        found = explain(model, _layer(model), images, labels, METHODS)
    for name in METHODS:
        np.testing.assert_array_equal(found.maps[name], expected.maps[name])


def test_trunk_records_no_graph():
    images, labels = _data()
    model = _net()
    recorded = {}
    for path in ("stem", "features", "fc"):
        model.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, path=path: recorded.update({path: output.requires_grad})
        )
    explain(model, _layer(model), images.requires_grad_(), labels, METHODS)
    assert recorded == {"stem": False, "features": False, "fc": True}


def test_memory_is_flat():
    """The number of live tensors does not grow over 100 batches, even without the cycle collector."""
    images, labels = _data(2)
    model = _net()
    layer = _layer(model)

    def live() -> int:
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    explain(model, layer, images, labels, METHODS)
    gc.collect()
    before = live()
    gc.disable()
    try:
        for _ in range(100):
            explain(model, layer, images, labels, METHODS, batch_size=1)
        after = live()
    finally:
        gc.enable()
    assert after <= before


class Greedy(Net):
    """Runs out of memory above a number of images."""

    limit = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes = [*getattr(self, "sizes", []), len(x)]
        if len(x) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize(
    ("limit", "batch_size", "used", "sizes"),
    [
        (3, 8, 2, [8, 4, 2, 2, 2, 2, 2]),
        (1, 4, 1, [4, 2] + [1] * 10),
        (10, 64, 64, [10]),
        (5, 64, 5, [10, 5, 5]),
    ],
)
def test_out_of_memory_halves_the_batch(limit, batch_size, used, sizes):
    images, labels = _data(10)
    model = _net()
    expected = explain(model, _layer(model), images, labels, METHODS)
    greedy = Greedy()
    greedy.load_state_dict(model.state_dict())
    greedy.limit = limit
    result = explain(greedy, _layer(greedy), images, labels, METHODS, batch_size=batch_size)
    assert result.batch_size == used
    assert greedy.sizes == sizes
    for name in METHODS:
        np.testing.assert_allclose(result.maps[name], expected.maps[name], rtol=0, atol=1e-6)
    assert not greedy.layout._forward_hooks


def test_out_of_memory_with_one_image():
    images, labels = _data(4)
    model = Greedy()
    with pytest.raises(CamstudyError, match="cpu: out of memory with one image"):
        explain(model, _layer(model), images, labels, METHODS)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_float32_in_spite_of_autocast():
    images, labels = _data()
    model = _net()
    expected = explain(model, _layer(model), images, labels, METHODS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = explain(model, _layer(model), images, labels, METHODS)
    for name in METHODS:
        np.testing.assert_array_equal(found.maps[name], expected.maps[name])


def test_tf32_is_off_and_comes_back():
    images, labels = _data()
    model = _net()
    before = torch.backends.cudnn.allow_tf32
    seen = []
    model.stem.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    explain(model, _layer(model), images, labels, METHODS)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


class Strange(Net):
    """Answers in a way that cannot be explained."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.unused = nn.Conv2d(3, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "aside":
            self.unused(x)
        if self.how == "twice":
            self.stem(x)
        logits = super().forward(x)
        answers = {"tuple": (logits, logits), "map": logits[..., None, None], "detached": logits.detach()}
        return answers.get(self.how, logits)


@pytest.mark.parametrize(
    ("how", "path", "message"),
    [
        ("tuple", "layout", r"Strange returns a tuple of \d, needed are logits .*; say where the logits are"),
        ("map", "layout", r"Strange returns a tensor \(6, 4, 1, 1\), needed are logits"),
        ("detached", "layout", r"the logits of Strange cannot be differentiated by the image"),
        ("aside", "unused", r"`unused`: the logits do not depend on it"),
        ("plain", "unused", r"`unused`: ran 0 times"),
        ("twice", "stem", r"`stem`: ran 2 times"),
        ("plain", "fc", r"`fc`: its output must be 4-D"),
    ],
)
def test_what_cannot_be_explained(how, path, message):
    images, labels = _data()
    model = Strange(how)
    with pytest.raises(CamstudyError, match=message):
        explain(model, resolve_target_layer(model, path), images, labels, METHODS)
    assert not any(module._forward_hooks for module in model.modules())


def test_wrong_labels_and_targets():
    images, labels = _data()
    model = _net()
    with pytest.raises(CamstudyError, match=r"labels from 4 to 7, but the model has 4 classes"):
        explain(model, _layer(model), images, np.arange(6) % 4 + 4, METHODS)
    with pytest.raises(CamstudyError, match=r"labels from -1 to 2"):
        explain(model, _layer(model), images, labels - 1, METHODS)
    with pytest.raises(CamstudyError, match=r"unknown target `lable`, did you mean `label`\?"):
        explain(model, _layer(model), images, labels, METHODS, target="lable")
    explain(model, _layer(model), images, labels + 100, METHODS, target="predicted")
    with pytest.raises(ValueError, match="6 images, but labels of shape"):
        explain(model, _layer(model), images, labels[:2], METHODS)


def test_zero_evidence_is_zero_not_nan():
    images, labels = _data()
    model = _net()
    model.fc.weight.data.zero_()
    result = explain(model, _layer(model), images, labels, METHODS)
    for maps in result.maps.values():
        assert (maps == 0).all()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(("size", "side"), [(24, 6), (30, 8)])
def test_map_shape(layout, size, side):
    """Two convolutions of stride 2, padding 1, each leave ceil(side / 2) positions."""
    model = _net(layout=layout)
    assert map_shape(model, _layer(model), size) == (side, side)


def test_gradients_of_two_consumers_add_up():

    class Fork(Net):
        def forward(self, x):
            x = self.layout(self.features(self.stem(x)))
            return self.fc(x.mean((2, 3))) + self.fc(x.relu().amax((2, 3)))

    images, labels = _data()
    torch.manual_seed(0)
    model = Fork().eval()
    seen = {}
    explain(model, _layer(model), images, labels, {"g": lambda a, g: seen.setdefault("gradients", g).sum(1)})
    features = model.features(model.stem(images)).detach().requires_grad_()
    pooled = model.fc(features.mean((2, 3))) + model.fc(features.relu().amax((2, 3)))
    pooled[range(6), labels].sum().backward()
    torch.testing.assert_close(seen["gradients"], features.grad)
