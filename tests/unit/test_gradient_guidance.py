"""Training towards guided gradients: its loss and gradients against finite differences, and runs that must be alike."""

from pathlib import Path

import pytest
import timm
import torch
from stores import CLASSES, INPUT, SIDE, squares, write_store
from test_training import CPU, RECIPE, Loader, N, assert_same_run, run, states_equal
from torch import nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import open_dataset
from camstudy.explain.checking import check_network
from camstudy.study.recipes import check_recipe
from camstudy.training import loop
from camstudy.training.run import train_entry
from camstudy.training.terms import Batch, Measured
from camstudy.training.terms.gradient_guidance import gradient_guidance

torch.set_num_threads(1)

TERM = {
    "weight": 0.5,
    "error": "cosine",
    "of": "loss",
    "detach_guided": True,
    "batch_norm": "batch",
    "teacher": "guided",
    "samples": 2,
    "noise": 0.15,
}
FIGURES = ["cross_entropy", "guidance_error", "cosine", "input_gradient_norm", "zero_gradients"]
ERRORS = {
    "cosine": lambda d, t: 1 - (d * t).sum(1) / (d * d).sum(1).sqrt() / (t * t).sum(1).sqrt(),
    "mae": lambda d, t: (d - t).abs().sum(1) / d.shape[1],
    "mse": lambda d, t: (d - t).square().sum(1) / d.shape[1],
    "histogram": lambda d, t: 1 - torch.minimum(d.abs(), t.abs()).sum(1) / (d.abs().sum(1) * t.abs().sum(1)),
}


def recipe(**term) -> dict:
    return RECIPE | {"terms": {"gradient_guidance": TERM | term}}


class Network(nn.Sequential):
    """A small network with norms and, if wanted, dropout."""

    def __init__(self, num_classes: int = CLASSES, activation: type = nn.ReLU, norm: bool = True, drop: float = 0.0):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), activation()]
        layers += [
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            activation(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        ]
        layers += [nn.Dropout(drop), nn.Linear(32, num_classes)]
        super().__init__(*(layer for layer in layers if norm or not isinstance(layer, nn.BatchNorm2d)))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "squares.json"
    write_store(path, *squares(N))
    return path


@pytest.fixture(scope="module")
def store(manifest):
    return open_dataset(manifest)


def batch(model: nn.Module, **term) -> Batch:
    """Return a batch of the tests in double precision, passed as the training loop passes it."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, SIDE, SIDE, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 1, 2, 1])
    with loop._passing(model, loop.demanded(recipe(**term)), loop.ALONE):
        return Batch(model, images, labels, model(images), 0)


def by_hand(model: nn.Module, images, labels, of: str, is_guided: bool):
    """Return the gradient of each image, guided by a hook on each ReLU; norms as the model's mode has it."""
    values = images = images.detach().requires_grad_()
    for layer in model:
        values = layer(values)
        if isinstance(layer, nn.ReLU) and is_guided:
            values.register_hook(lambda signal: signal * (signal > 0))
    chosen = values if of == "logit" else values.log_softmax(1)
    sign = 1 if of == "logit" else -1
    total = sign * chosen.gather(1, labels[:, None]).sum()
    return torch.autograd.grad(total, images)[0].flatten(1)


def kept(model: nn.Module) -> nn.Module:
    """Return the network whose norms update no statistics, so that it can be asked twice."""
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return model


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        *((error, {}) for error in ERRORS),
        ("cosine", {"of": "logit"}),
        ("mse", {"detach_guided": False}),
        ("cosine", {"detach_guided": False}),
        ("cosine", {"batch_norm": "frozen"}),
    ],
)
def test_the_gradient_of_the_whole_loss_equals_finite_differences(error, changes):
    weight = {"mae": 100, "mse": 10_000}.get(error, 0.7)  # so that the term counts
    settings = TERM | {"error": error, "weight": weight} | changes
    model = kept(Network().double())
    frozen = settings["batch_norm"] == "frozen"
    given = batch(model)
    images, labels, of = given.images, given.labels, settings["of"]

    def modes(function, *arguments):
        for module in model:
            if isinstance(module, nn.BatchNorm2d):
                module.train(not frozen)
        found = function(*arguments)
        model.train()
        return found

    fixed = modes(by_hand, model, images, labels, of, True)

    def loss() -> float:
        target = fixed if settings["detach_guided"] else modes(by_hand, model, images, labels, of, True)
        plain = modes(by_hand, model, images, labels, of, False)
        with torch.no_grad():
            return F.cross_entropy(model(images), labels) + weight * ERRORS[error](plain, target).mean()

    found = gradient_guidance(given, **settings, label_smoothing=0)
    whole = F.cross_entropy(given.logits, labels) + found.value
    torch.testing.assert_close(whole.detach(), loss().detach(), rtol=1e-10, atol=0)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(whole, parameters, retain_graph=True)
    plain = torch.autograd.grad(F.cross_entropy(given.logits, labels), parameters)
    step, generator = 1e-6, torch.Generator().manual_seed(2)
    for parameter, gradient, without in zip(parameters, gradients, plain, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * step)
            ends.append(float(loss()))
            with torch.no_grad():
                parameter.sub_(direction, alpha=sign * step)
        slope = float((gradient * direction).sum())
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)
        # A bias before a norm moves nothing.
        assert parameter.ndim == 1 or not torch.allclose(gradient, without, rtol=0.01)
    assert_figures(found, fixed, modes(by_hand, model, images, labels, of, False), error, given)


def assert_figures(found: Measured, target, plain, error, given):
    assert list(found.figures) == FIGURES
    figures = {name: float(value) for name, value in found.figures.items()}
    assert figures["cross_entropy"] == pytest.approx(F.cross_entropy(given.logits, given.labels).item())
    assert figures["guidance_error"] == pytest.approx(float(ERRORS[error](plain, target).mean()))
    assert figures["cosine"] == pytest.approx(float(F.cosine_similarity(plain, target).mean()))
    assert figures["input_gradient_norm"] == pytest.approx(float(plain.square().sum(1).sqrt().mean()))
    assert figures["zero_gradients"] == 0
    assert abs(figures["cosine"]) < 0.95


def test_gradients_of_zeros_are_counted_and_are_an_error_of_1():
    model = Network(norm=False).double()
    with torch.no_grad():
        model[-1].weight.zero_()
    found = gradient_guidance(batch(model), **TERM, label_smoothing=0)
    assert found.value.item() == 0.5
    assert [float(found.figures[name]) for name in FIGURES[1:]] == [1, 0, 0, 1]
    assert all(torch.isfinite(each).all() for each in torch.autograd.grad(found.value, list(model.parameters())))


@pytest.mark.parametrize("error", ["cosine", "mae", "mse"])
def test_without_activations_there_is_no_error(error):
    model = Network(activation=nn.Identity).double()
    found = gradient_guidance(batch(model), **TERM | {"error": error}, label_smoothing=0.1)
    assert found.value.item() == pytest.approx(0, abs=1e-14)
    assert float(found.figures["cosine"]) == pytest.approx(1)


def test_smoothgrad_is_the_mean_gradient_around_an_image_for_any_activation():
    model = Network(activation=nn.GELU).double()
    given = batch(model, teacher="smoothgrad")
    settings = TERM | {"teacher": "smoothgrad", "label_smoothing": 0}
    alone = gradient_guidance(given, **settings | {"noise": 0})
    assert alone.value.item() == pytest.approx(0, abs=1e-12)
    noisy = gradient_guidance(given, **settings | {"noise": 0.2, "samples": 60, "error": "mse"})
    assert model[1].num_batches_tracked == 1, "the other passes updated its statistics"
    generator = torch.Generator().manual_seed(3)
    total = 0
    images = given.images.detach()
    span = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    for _ in range(300):
        draw = torch.randn(images.shape, generator=generator, dtype=torch.float64)
        total = total + by_hand(model, images + 0.2 * span * draw, given.labels, "loss", False)
    plain = by_hand(model, images, given.labels, "loss", False)
    expected = float(ERRORS["mse"](plain, total / 300).mean())
    assert noisy.figures["guidance_error"].item() == pytest.approx(expected, rel=0.15)
    assert model[1].training


@pytest.mark.parametrize(
    "changes", [{}, {"batch_norm": "frozen"}, {"teacher": "smoothgrad"}, {"error": "mae", "of": "logit"}]
)
def test_the_weight_0_trains_as_without_the_term_to_the_bit(store, tmp_path, changes):
    plain, plain_history = run(store, tmp_path / "plain.pt", model=Network(drop=0.3))
    found, history = run(store, tmp_path / "0.pt", model=Network(drop=0.3), recipe=recipe(weight=0, **changes))
    assert states_equal(found, plain)
    for record, expected in zip(history, plain_history, strict=True):
        assert record["loss"] == expected["loss"]
        assert record["accuracy"] == expected["accuracy"]
        assert record["cross_entropy"] == pytest.approx(record["loss"])
        assert -1 < record["cosine"] < 1
        assert set(record) - set(expected) == set(FIGURES)


def test_the_cosine_rises_with_the_weight(store, tmp_path):
    cosines = []
    for weight in (0, 1, 10):
        _, history = run(store, tmp_path / f"{weight}.pt", model=Network(), recipe=recipe(weight=weight))
        cosines.append(history[-1]["cosine"])
        assert history[-1]["loss"] == pytest.approx(
            history[-1]["cross_entropy"] + weight * history[-1]["guidance_error"], rel=1e-5
        )
        assert history[-1]["guidance_error"] == pytest.approx(1 - cosines[-1], abs=1e-5)
    assert cosines == sorted(cosines)
    assert cosines[2] > cosines[0] + 0.1


@pytest.mark.parametrize("stop", [0, 1, 2])
@pytest.mark.parametrize(
    "changes", [{}, {"batch_norm": "frozen", "detach_guided": False}, {"teacher": "smoothgrad"}], ids=str
)
def test_killed_in_an_epoch_it_ends_as_an_undisturbed_run(store, tmp_path, changes, stop):
    wanted = recipe(**changes)
    undisturbed = run(store, tmp_path / "undisturbed.pt", recipe=wanted, model=Network(drop=0.2))
    interrupted = Loader(store, wanted, INPUT, 0, stop=stop)
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "c.pt", recipe=wanted, model=Network(drop=0.2), loader=interrupted)
    torch.manual_seed(77)
    assert_same_run(run(store, tmp_path / "c.pt", recipe=wanted, model=Network(drop=0.2)), undisturbed)


@pytest.mark.parametrize("passes", [2, 5])
@pytest.mark.parametrize("changes", [{}, {"error": "mse", "weight": 5}, {"detach_guided": False}], ids=str)
def test_passes_add_up_to_the_step_of_the_whole_batch(store, tmp_path, changes, passes):
    whole, expected = run(store, tmp_path / "1.pt", recipe=recipe(**changes), model=Network(norm=False))
    parts = recipe(**changes) | {"accumulate": passes}
    found, history = run(store, tmp_path / "2.pt", recipe=parts, model=Network(norm=False))
    for name in ("loss", *FIGURES):
        assert [r[name] for r in history] == pytest.approx([r[name] for r in expected], rel=1e-3, abs=1e-5)
    torch.testing.assert_close(found.state_dict(), whole.state_dict(), atol=1e-3, rtol=1e-3)


@pytest.mark.full
def test_two_processes_train_as_one_norms_of_batches_included(manifest, tmp_path):
    wanted = recipe() | {"accumulate": 2, "batch_size": 12, "clip_grad_norm": 0.5, "optimizer": "sgd"}
    entry = {"arch": "test_gradient_guidance.Network", "num_classes": CLASSES, "input": INPUT, "weights": "random"}
    entry |= {"variant": {}, "seed": 0, "train": wanted}
    job = {"weights": None, "dataset": str(manifest), "threads": 1, "fingerprint": "f", "device": CPU}
    (one, expected), (two, history) = (
        train_entry(entry, checkpoint=str(tmp_path / f"{n}.pt"), processes=n, **job) for n in (1, 2)
    )
    for name in ("loss", *FIGURES):
        assert [r[name] for r in history] == pytest.approx([r[name] for r in expected], rel=1e-4, abs=1e-5)
    torch.testing.assert_close(two.state_dict(), one.state_dict(), atol=1e-4, rtol=1e-4)


def test_what_is_differentiated_twice_is_float32_all_else_in_mixed_precision(store, tmp_path, monkeypatch):
    """Mixed precision, which acts on GPUs only, made to act on the CPU."""
    expected = {
        name: run(store, tmp_path / f"{name}.pt", recipe=wanted, model=Network(norm=False))
        for name, wanted in (("guided", recipe()), ("plain", RECIPE))
    }
    make = loop._State.__init__

    def mixed(self, *arguments):
        make(self, *arguments)
        self.precision = torch.bfloat16

    monkeypatch.setattr(loop._State, "__init__", mixed)
    found = run(store, tmp_path / "1.pt", recipe=recipe(), model=Network(norm=False))
    assert_same_run(found, expected["guided"])
    plain = run(store, tmp_path / "2.pt", model=Network(norm=False))
    assert not states_equal(plain[0], expected["plain"][0])
    zero = run(store, tmp_path / "3.pt", recipe=recipe(weight=0), model=Network(norm=False))
    assert states_equal(zero[0], plain[0])
    seen, forward = [], Network.forward

    def watch(self, images):
        result = forward(self, images)
        seen.append(result.dtype)
        return result

    monkeypatch.setattr(Network, "forward", watch)
    run(store, tmp_path / "4.pt", recipe=recipe(batch_norm="frozen"), model=Network())
    assert set(seen[::2]) == {torch.bfloat16}
    assert set(seen[1::2]) == {torch.float32}


def test_the_guided_rule_can_make_the_gradients_of_the_weights(store, tmp_path):
    """One step of plain gradient descent, the rule by hooks on the ReLUs."""
    wanted = RECIPE | {"epochs": 1, "batch_size": N, "optimizer": "sgd", "momentum": 0, "weight_decay": 0}
    wanted |= {"warmup_epochs": 0, "learning_rate": 0.1, "backward": "guided", "log_gradient_norm": True}
    loader = Loader(store, wanted, INPUT, 0)
    images, labels = next(iter(loader.epoch(0)))
    model = Network()
    values = images
    for layer in model:
        values = layer(values)
        if isinstance(layer, nn.ReLU):
            values.register_hook(lambda signal: signal.clamp(min=0))
    F.cross_entropy(values, labels, label_smoothing=0.1).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    expected = [(p - 0.1 * g).detach() for p, g in zip(model.parameters(), gradients, strict=True)]
    trained, history = run(store, tmp_path / "c.pt", recipe=wanted, model=Network())
    torch.testing.assert_close([p.detach() for p in trained.parameters()], expected)
    norm = float(torch.cat([g.flatten() for g in gradients]).norm())
    assert history[0]["weight_gradient_norm"] == pytest.approx(norm, rel=1e-5)
    plain, record = run(store, tmp_path / "p.pt", recipe=wanted | {"backward": "plain"}, model=Network())
    assert not states_equal(plain, trained)
    assert record[0]["weight_gradient_norm"] != pytest.approx(norm, rel=0.01)


def test_a_training_that_diverges_can_be_a_result(store, tmp_path):
    class Bursting(Loader):
        def epoch(self, number):
            for images, labels in super().epoch(number):
                yield (images * float("inf") if number == 1 else images), labels

    def training(divergence, path):
        wanted = RECIPE | {"divergence": divergence}
        return run(store, path, recipe=wanted, model=Network(), loader=Bursting(store, wanted, INPUT, 0))

    with pytest.raises(CamstudyError, match=r"^train: the loss became nan in epoch 2"):
        training("error", tmp_path / "error.pt")
    model, history = training("stop", tmp_path / "c.pt")
    assert [record["diverged"] for record in history] == [False, True]
    assert history[1]["loss"] is None
    first = torch.load(tmp_path / "error.pt", weights_only=True)["model"]
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    assert_same_run(training("stop", tmp_path / "c.pt"), (model, history))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (recipe(), r"^train\.terms\.gradient_guidance: Sequential uses silu, .* or `teacher: smoothgrad`$"),
        (recipe(batch_norm="frozen"), r"^train\.terms\.gradient_guidance: Sequential uses silu"),
        (RECIPE | {"backward": "guided"}, r"^train\.backward: Sequential uses silu, .* or `backward: plain`$"),
    ],
)
def test_other_activations_are_refused_at_the_first_pass(store, tmp_path, changes, expected):
    model = nn.Sequential(*Network(activation=nn.SiLU))
    with pytest.raises(CamstudyError, match=expected):
        run(store, tmp_path / "c.pt", recipe=changes, model=model)
    run(store, tmp_path / "s.pt", recipe=recipe(teacher="smoothgrad") | {"epochs": 2}, model=model)


def test_other_activations_are_refused_before_anything_is_trained():
    entry = {"arch": "timm.models.convnext.ConvNeXt", "num_classes": 4, "weights": "random", "variant": {}, "seed": 0}
    entry |= {"kwargs": {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}, "input": INPUT | {"size": 64}}
    entry |= {"target_layer": None, "train": recipe()}
    expected = r"^train\.terms\.gradient_guidance: ConvNeXt uses gelu, but guided backpropagation is for ReLU"
    with pytest.raises(CamstudyError, match=expected):
        check_network(entry)
    assert check_network(entry | {"train": RECIPE})["classes"] == 4


def test_the_guided_rule_for_weights_and_the_term_exclude_each_other():
    wanted = {"gpu": 1, **recipe()}
    assert list(check_recipe(("train",), wanted)) == []
    assert list(check_recipe(("train",), wanted | {"backward": "guided", "terms": {}})) == []
    ((place, text),) = check_recipe(("train",), wanted | {"backward": "guided"})
    assert place == ("train", "backward")
    assert text == "found guided, but `gradient_guidance` needs the derivative; leave one of them out"


def test_networks_of_timm_are_guided(store, tmp_path):
    sizes = {"block": timm.models.resnet.BasicBlock, "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_width": 8}
    torch.manual_seed(0)
    model = timm.models.resnet.ResNet(**sizes, num_classes=CLASSES, zero_init_last=False)
    _, history = run(store, tmp_path / "c.pt", recipe=recipe() | {"epochs": 2}, model=model)
    assert 0 < history[-1]["guidance_error"] < 1.5
