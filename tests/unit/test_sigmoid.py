"""Models of multi-label data: training by binary cross-entropy, and the probability of each class on its own."""

import dataclasses

import numpy as np
import pytest
import torch
from nets import MEAN, STD, net, normalize, pixels
from nets import context as context_of
from scipy.ndimage import convolve, gaussian_filter
from sklearn.metrics import average_precision_score
from stores import CLASSES, INPUT, items, write_store
from test_config import config, errors, put  # noqa: F401  (a fixture)
from test_distributed import CPU
from test_distributed import ENTRY as SHARED
from test_raw_attention import lively
from test_training import RECIPE, network
from torch.nn import functional as F

from camstudy.core.geometry import resample
from camstudy.explain.methods import METHODS
from camstudy.metrics.faithfulness import Protocol
from camstudy.metrics.predicting import predict
from camstudy.metrics.probing import probe
from camstudy.metrics.registry import score_family
from camstudy.models.inputs import prepare
from camstudy.study.checks import validate
from camstudy.study.protocols import shipped
from camstudy.training.data import TrainingLoader
from camstudy.training.loop import train
from camstudy.training.run import train_entry
from camstudy.training.terms import TERMS, Batch, asked
from camstudy.training.validation import held_out

torch.set_num_threads(1)

N = 100
ENTRY = RECIPE | {"hold_out": 0.3, "label_smoothing": 0.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    images, labels, sets = items(N)
    return write_store(tmp_path_factory.mktemp("data") / "items.json", images, labels, sets=sets)


# Training


def test_the_loss_is_the_binary_cross_entropy_of_the_classes_that_count():
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sets = torch.tensor([[1, 0, 0, 1], [0, 1, -1, 0], [1, 1, 1, 0], [-1, -1, 0, 1], [0, 0, 1, 0]], dtype=torch.int8)
    batch = Batch(None, None, sets, logits, 0)
    for smoothing in (0.0, 0.2):
        losses = []
        for row, truth in zip(logits.tolist(), sets.tolist(), strict=True):
            for logit, is_there in zip(row, truth, strict=True):
                p, t = 1 / (1 + np.exp(-logit)), (1 - smoothing) * is_there + smoothing / 2
                losses.append(0 if is_there < 0 else -t * np.log(p) - (1 - t) * np.log(1 - p))
        found = TERMS["binary_cross_entropy"].function(batch, label_smoothing=smoothing)
        assert found.item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_the_head_chooses_the_cross_entropy():
    assert list(asked(RECIPE)) == list(asked(RECIPE, "softmax")) == ["cross_entropy"]
    assert list(asked(RECIPE, "sigmoid")) == ["binary_cross_entropy"]


def test_each_image_is_trained_on_once_or_held_out(store):
    loader = TrainingLoader(store, ENTRY | {"batch_size": 1}, INPUT, 0)
    images = np.unique(store.sources)
    held = images[held_out(len(images), 0.3, 0)]
    shown = [*loader._sampler]
    assert sorted(shown) == sorted(set(images) - set(held))
    found = [labels for _, labels in loader.epoch(0)]
    expected = {tuple(store.label_sets[index]) for index in shown}
    assert {tuple(labels[0].tolist()) for labels in found} == expected
    assert found[0].shape == (1, CLASSES)
    assert len(loader) == len(images) - len(held)


def test_a_network_learns_sets_and_is_validated_on_what_was_held_out(store, tmp_path):
    recipe = ENTRY | {"epochs": 12, "learning_rate": 0.02, "batch_size": 8}
    loader = TrainingLoader(store, recipe, INPUT, 0)
    options = {"seed": 0, "device": CPU, "checkpoint": tmp_path / "c.pt", "fingerprint": "f", "head": "sigmoid"}
    model, history = train(network(variant=False), loader, recipe, **options)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    images = np.unique(store.sources)
    held = images[held_out(len(images), 0.3, 0)]
    with torch.no_grad():
        logits = model(prepare(store.images(held), INPUT)).double()
    sets = store.label_sets[held]
    counts = sets >= 0
    losses = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(sets == 1).double(), reduction="none").numpy()
    assert history[-1]["validation_loss"] == pytest.approx(losses[counts].mean(), rel=1e-5)
    pairs = [(sets[counts[:, k], k] == 1, logits[counts[:, k], k].numpy()) for k in range(CLASSES)]
    expected = np.mean([average_precision_score(*pair) for pair in pairs])
    assert history[-1]["validation_mean_average_precision"] == pytest.approx(expected)
    assert expected > 0.75
    assert "validation_accuracy" not in history[-1]
    # Predictions are those of the images, for each of their items.
    found = predict(model, INPUT, store, 4)
    with torch.no_grad():
        np.testing.assert_allclose(found, model(prepare(store.images(), INPUT)).numpy(), atol=1e-5)


@pytest.mark.full
def test_two_processes_train_as_one(store, tmp_path):
    entry = SHARED | {"head": "sigmoid"}
    entry["train"] = SHARED["train"] | {"hold_out": 0.3, "epochs": 2}
    job = {"weights": None, "dataset": str(store.path).removesuffix(".zarr") + ".json", "threads": 1, "device": CPU}
    (alone, history), (two, histories) = (
        train_entry(entry, checkpoint=str(tmp_path / f"{n}.pt"), processes=n, fingerprint="f", **job) for n in (1, 2)
    )
    for record, other in zip(history, histories, strict=True):
        for key in ("loss", "validation_loss"):
            assert record[key] == pytest.approx(other[key], abs=1e-3)
        assert 0 <= other["validation_mean_average_precision"] <= 1
    torch.testing.assert_close(two.state_dict(), alone.state_dict(), atol=1e-2, rtol=1e-2)


# Faithfulness: the protocol of CA-Stream, one image and one pass at a time


def answer(model, image, target, head):
    """The probability of a class for an image in [0, 1]."""
    with torch.no_grad():
        logits = model(normalize(image[None]))[0].double()
    return (logits.softmax(0) if head == "softmax" else 1 / (1 + torch.exp(-logits)))[target].item()


def area(values):
    return (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)


def direct(model, image, heat, target, head):
    """AD, AG, AI, insertion and deletion of the `castream` protocol as its definition says."""
    side = image.shape[-1]
    scaled = (heat - heat.min()) / (heat.max() - heat.min())
    mask = F.interpolate(torch.from_numpy(scaled)[None, None], (side, side), mode="bilinear")[0, 0]
    # Pixels at the border are tied, where another way to resize would differ in the last bit.
    values = resample(heat[None].astype(np.float32), (side, side))[0]
    p, o = (answer(model, shown, target, head) for shown in (image, image * mask))
    eps = np.finfo(float).eps
    found = {"average_drop": max(0, p - o) / (p + eps), "average_gain": max(0, o - p) / (1 - p + eps)}
    found["average_increase"] = o > p
    # A point in a square of five, filtered with reflecting borders, is nearly a box; beyond the border is the mean.
    mean = torch.tensor(MEAN, dtype=torch.float64).reshape(3, 1, 1)
    point = np.zeros((5, 5))
    point[2, 2] = 1
    kernel = gaussian_filter(point, 5)
    blurred = mean + torch.from_numpy(np.stack([convolve(c, kernel, mode="constant") for c in (image - mean).numpy()]))
    order = np.argsort(values.ravel(), kind="stable")[::-1].copy()
    step = round(1792 * side**2 / 224**2)
    curves = {"insertion_auc": (blurred, image), "deletion_auc": (image, mean.expand(3, side, side))}
    for name, (before, after) in curves.items():
        curve, shown = [answer(model, before, target, head)], before.clone().flatten(1)
        for start in range(0, side**2, step):
            shown[:, order[start : start + step]] = after.flatten(1)[:, order[start : start + step]]
            curve.append(answer(model, shown.reshape(image.shape), target, head))
        found[name] = area(curve)
    return found


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", ["resnet", "convnext", "plain"])
def test_the_protocol_of_castream_equals_a_direct_statement(name, head):
    model = lively("resnet" if name == "plain" else name).float()
    if name == "plain":
        del model.stream
        model = net("norm").float().eval()
    images, targets = pixels(2, 32).float().double(), np.array([1, 3])
    maps = np.random.default_rng(3).random((2, 7, 7))
    protocol = Protocol.of({**shipped()["castream"]})
    options = {"mean": MEAN, "std": STD, "protocol": protocol, "head": head}
    evidence, _ = probe(model, normalize(images).float(), maps, targets, targets, batch_size=7, **options)
    found = score_family("faithfulness", evidence)
    as_single = lambda x: model(x.float())  # noqa: E731
    for i, target in enumerate(targets):
        for metric, value in direct(as_single, images[i], maps[i], target, head).items():
            assert found[metric][i] == pytest.approx(value, abs=2e-4), metric


def test_a_label_is_predicted_by_a_sigmoid_where_it_is_more_probable_than_not():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([3.0, 1.0, -1.0]))

        def forward(self, x):
            return self.logits.expand(len(x), -1)

    images, maps, classes = torch.zeros(3, 3, 12, 12), np.random.default_rng(0).random((3, 4, 4)), np.arange(3)
    options = {"mean": MEAN, "std": STD, "protocol": Protocol(step=25088), "perturbation": True}
    for head, expected in (("softmax", [True, False, False]), ("sigmoid", [True, True, False])):
        found, _ = probe(Fixed(), images, maps, classes, classes, head=head, **options)
        assert (found["positive_correct"] == np.array(expected)[:, None]).all()


# Methods that work with probabilities


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("score_cam", {}),
        ("rise", {"n_masks": 8, "grid": 3}),
        ("opti_cam", {"objective": "probability", "iterations": 3}),
        ("meaningful_perturbation", {"iterations": 3, "mask_size": 5}),
    ],
)
def test_methods_ask_for_the_probability_that_the_head_means(name, options):
    """As of a network of two classes, the second always 0, whose softmax is the sigmoid of the first."""
    plain = net("norm")
    given = context_of(plain, pixels())
    sigmoid = dataclasses.replace(given, head="sigmoid")
    with torch.no_grad():
        found, other = (METHODS[name].function(each, **options) for each in (sigmoid, given))

    class OneAgainstNone(torch.nn.Module):
        def __init__(self, target):
            super().__init__()
            self.inner, self.target = plain, target

        def forward(self, x):
            chosen = self.inner(x)[:, self.target]
            return torch.stack([chosen, torch.zeros_like(chosen)], 1)

    for i in range(len(given.images)):
        model = OneAgainstNone(int(given.target[i]))
        alone = dataclasses.replace(
            given,
            model=model,
            images=given.images[i : i + 1],
            output=given.output[i : i + 1],
            logits=model(given.images[i : i + 1]).detach(),
            target=torch.zeros(1, dtype=torch.int64),
            numbers=given.numbers[i : i + 1],
        )
        with torch.no_grad():
            expected = METHODS[name].function(alone, **options)
        torch.testing.assert_close(found[i : i + 1], expected, atol=1e-9, rtol=1e-6)
    assert not torch.allclose(found, other)


# Configuration


@pytest.fixture
def sigmoids(config):  # noqa: F811
    put(config, "catalog.datasets.scenes.label_sets", True)
    put(config, "catalog.datasets.scenes_train.label_sets", True)
    for model in config["models"]:
        put(config, f"catalog.models.{model}.head", "sigmoid")
    return config


def test_heads_and_data_that_go_together_are_accepted(sigmoids):
    assert validate(sigmoids)["catalog"]["models"]["net"]["head"] == "sigmoid"


def test_heads_that_the_data_are_not_for_are_told(config, sigmoids):  # noqa: F811
    first = config["models"][0]
    put(config, f"catalog.models.{first}.head", "softmax")
    ((place, text),) = errors(config).items()
    assert place == f"catalog.models.{first}.head"
    assert text.startswith("found softmax, but `scenes`, scored on, ")
    assert "has sets of labels; set sigmoid, or take `label_sets: false`" in text
    put(config, f"catalog.models.{first}.head", "sigmoid")
    put(config, "catalog.datasets.scenes.label_sets", False)
    texts = errors(config)
    assert {*texts} == {f"catalog.models.{model}.head" for model in config["models"]}
    assert all("`scenes`, scored on, has one label for each image; set softmax" in text for text in texts.values())


def test_one_logit_is_for_two_classes_of_one_head(sigmoids):
    entry = f"catalog.models.{sigmoids['models'][0]}"
    put(sigmoids, f"{entry}.binary", True)
    put(sigmoids, f"{entry}.num_classes", 3)
    found = errors(sigmoids)
    assert found[f"{entry}.num_classes"] == "found 3, but `binary: true` is for two classes; set 2"
    assert found[f"{entry}.binary"] == "found true, but `head: sigmoid` is not for two classes; leave one of both out"


def test_tokens_of_labels_need_one_label(sigmoids):
    trained = next(name for name in sigmoids["models"] if sigmoids["catalog"]["models"][name].get("train"))
    put(sigmoids, f"catalog.models.{trained}.variant", {"castream": {"token": "class_specific"}})
    found = errors(sigmoids)
    assert list(found) == [f"catalog.models.{trained}.variant.castream.token"]
    assert "found class_specific, but `head: sigmoid` has several labels" in found[next(iter(found))]
