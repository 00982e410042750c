"""Faithfulness against worked cases, an additive model whose curves are known, and one forward pass per step."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.metrics.faithfulness import (
    REMOVED,
    Protocol,
    asks_perturbation,
    average_drop,
    average_gain,
    average_increase,
    blur_kernel,
    deletion_auc,
    insertion_auc,
    min_max,
    negative_perturbation,
    positive_perturbation,
)
from camstudy.metrics.localization import map_box, saliency_metric
from camstudy.metrics.probing import pixel_ranks, probe
from camstudy.metrics.registry import score_family
from camstudy.study.protocols import shipped

torch.set_num_threads(1)

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.4]
SIDE = 12
RNG = np.random.default_rng(0)
P = np.array([0.8, 0.5, 0.5, 1.0, 0.0, 0.25])
MASKED = np.array([0.6, 0.9, 0.5, 0.7, 0.3, 1.0])
RISE_FAST = Protocol()


def test_drop_increase_and_gain_by_hand():
    np.testing.assert_allclose(average_drop(P, MASKED), [0.25, 0, 0, 0.3, 0, 0], atol=1e-15)
    assert average_increase(P, MASKED).tolist() == [False, True, False, False, True, True]
    np.testing.assert_allclose(average_gain(P, MASKED), [0, 0.8, 0, 0, 0.3, 1], atol=1e-15)
    assert average_increase(P, MASKED).dtype == bool  # a proportion, for its interval


def test_probability_of_exactly_one_or_zero_divides_nothing_by_zero():
    both = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
    np.testing.assert_allclose(average_drop(*both.T), [0, 0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(average_gain(*both.T), [0, 1, 0, 0], atol=1e-15)


def test_areas_equal_numpys_trapezoid():
    curves = RNG.random((4, 29))
    expected = np.trapezoid(curves, dx=1 / 28, axis=1)
    np.testing.assert_allclose(insertion_auc(curves), expected)
    np.testing.assert_allclose(deletion_auc(curves), expected)
    assert insertion_auc(np.full((1, 5), 0.3)) == pytest.approx(0.3)


def test_perturbation_is_the_mean_accuracy():
    correct = np.zeros((2, 9), bool)
    correct[0, :3] = True
    for metric in (positive_perturbation, negative_perturbation):
        np.testing.assert_allclose(metric(correct), [1 / 3, 0])


def test_saliency_metric_by_hand():
    found = saliency_metric(np.array([0.5, 0.01, 0.0, 1.0]), np.log([0.25, 1.0, 0.5, 1.0]))
    np.testing.assert_allclose(found, np.log([0.5 / 0.25, 0.05, 0.05 / 0.5, 1.0]))


@pytest.mark.parametrize(
    ("metric", "arguments"),
    [
        (average_drop, (P, MASKED + 0.1)),
        (average_gain, (P, MASKED[:2])),
        (average_increase, (P, np.full(6, np.nan))),
        (insertion_auc, (np.ones((2, 1)),)),
        (deletion_auc, (np.full((2, 3), 1.5),)),
        (positive_perturbation, (np.ones((2, 9)),)),
        (saliency_metric, (np.ones(2), np.array([0.1, -1]))),
        (saliency_metric, (np.ones(2), np.array([-np.inf, -1]))),
    ],
)
def test_impossible_input_is_refused(metric, arguments):
    with pytest.raises(ValueError, match=r"expected|must lie"):
        metric(*arguments)


def ship(name):
    """Return a protocol of the catalogue without what scripts handle themselves."""
    others = ("family", "title", "metrics")
    return Protocol(**{key: value for key, value in shipped()[name].items() if key not in others})


def test_protocols_take_the_published_number_of_passes():
    pixels = 224**2
    rise, rise_fast, castream = (ship(name) for name in ("rise", "rise_fast", "castream"))
    assert [protocol.steps(pixels) + 1 for protocol in (rise, rise_fast, castream)] == [225, 29, 29]
    assert [protocol.size(pixels) for protocol in (rise, rise_fast)] == [224, 1792]
    assert rise_fast.steps(112**2) == 28
    assert rise_fast == Protocol(ties="reversed")
    assert castream == Protocol(blur=5, normalize="native", ties="reversed", removed="truncated")
    assert ship("rise_fast_perturbation") == RISE_FAST
    assert Protocol(step=5000).steps(pixels) == 11  # the last one is shorter


@pytest.mark.parametrize(
    ("name", "asked"), [("rise_fast", False), ("rise_fast_perturbation", True), ("castream_perturbation", True)]
)
def test_perturbation_is_tried_where_a_protocol_lists_its_metrics(name, asked):
    assert asks_perturbation(shipped()[name]["metrics"]) is asked
    assert asks_perturbation(["negative_perturbation"])


def test_kernels_are_as_flat_as_measured():
    """Between neighbours and corners: 1.0001 and 1.14, as measured on the released code."""
    for side, ratio in ((5, 1.0001), (11, 1.14)):
        kernel = blur_kernel(side)
        assert kernel.sum() == pytest.approx(1)
        assert kernel.max() / kernel.min() == pytest.approx(ratio, rel=0.005)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1])


def test_ranks_are_stable_and_descending():
    maps = np.round(RNG.standard_normal((3, 5, 7)) * 2).astype(np.float32)
    maps[0, 0, :4] = [0.0, -0.0, 0.0, -0.0]
    maps[2] = 4
    found = pixel_ranks(torch.from_numpy(maps)).numpy()[:, 0].reshape(3, -1)
    for ranks, values in zip(found, maps.reshape(3, -1), strict=True):
        order = sorted(range(35), key=lambda pixel: -values[pixel])  # Python's sort is stable, and -0.0 equals 0.0
        assert np.argsort(ranks).tolist() == order


class Additive(nn.Module):
    """Two classes, whose log odds are a weighted sum of the pixels of an image in [0, 1]."""

    def __init__(self, weights: np.ndarray, bias: float = 0.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights).float())
        self.bias = nn.Parameter(torch.tensor(bias))
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        pixels = x * torch.tensor(STD).reshape(1, 3, 1, 1) + torch.tensor(MEAN).reshape(1, 3, 1, 1)
        odds = (pixels.mean(1) * self.weights).sum((1, 2)) + self.bias
        return torch.stack([odds, torch.zeros_like(odds)], 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def normalized(images):
    """Images (n, 3, s, s) in [0, 1] as a model gets them."""
    std, mean = (np.reshape(values, (1, 3, 1, 1)) for values in (STD, MEAN))
    return torch.from_numpy((images - mean) / std).float()


def ask(model, images, maps, *, targets=None, labels=None, protocol=RISE_FAST, **options):
    classes = np.zeros(len(images), np.int64)
    targets, labels = classes if targets is None else targets, classes if labels is None else labels
    return probe(model, normalized(images), maps, targets, labels, mean=MEAN, std=STD, protocol=protocol, **options)


def test_curves_of_an_additive_model_are_the_sums_of_what_is_shown():
    """White pixels on black: the log odds are the sum of the weights that are there."""
    weights = RNG.standard_normal((SIDE, SIDE))
    step = Protocol(step=224**2 // SIDE**2 * 10, start="black", target="black")
    assert step.size(SIDE**2) == 10
    found, _ = ask(Additive(weights), np.ones((1, 3, SIDE, SIDE)), weights[None], protocol=step)
    ordered = -np.sort(-weights.astype(np.float32).ravel())
    sums = [ordered[: j * 10].sum(dtype=np.float64) for j in range(16)]
    np.testing.assert_allclose(found["insertion_curve"][0], sigmoid(sums), atol=1e-6)
    np.testing.assert_allclose(found["deletion_curve"][0], sigmoid(ordered.sum(dtype=np.float64) - sums), atol=1e-6)
    np.testing.assert_allclose(found["probability"], sigmoid(weights.sum()), rtol=1e-5)


def test_the_true_order_is_the_best():
    weights, step = RNG.standard_normal((SIDE, SIDE)), Protocol(step=2000, start="black", target="black")
    maps = np.stack([weights, -weights, *RNG.standard_normal((6, SIDE, SIDE))])
    found, _ = ask(Additive(weights), np.ones((8, 3, SIDE, SIDE)), maps, protocol=step)
    insertion, deletion = insertion_auc(found["insertion_curve"]), deletion_auc(found["deletion_curve"])
    assert insertion.argmax() == deletion.argmin() == 0
    assert insertion.argmin() == deletion.argmax() == 1


def test_a_constant_model_has_its_probability_as_area():
    found, _ = ask(Additive(np.zeros((SIDE, SIDE)), 1.5), RNG.random((2, 3, SIDE, SIDE)), RNG.random((2, 4, 4)))
    scores = score_family("faithfulness", found)
    np.testing.assert_allclose(scores["insertion_auc"], sigmoid(1.5), rtol=1e-6)
    np.testing.assert_allclose(scores["deletion_auc"], sigmoid(1.5), rtol=1e-6)
    assert not scores["average_increase"].any()
    np.testing.assert_allclose(scores["average_drop"], 0, atol=1e-12)


def test_masks_multiply_pixels_and_not_the_normalised_image():
    """The log odds of an image times a map are the sum of weight, pixel and map."""
    weights, images = RNG.standard_normal((SIDE, SIDE)), RNG.random((3, 3, SIDE, SIDE))
    maps = RNG.standard_normal((3, SIDE, SIDE))
    found, _ = ask(Additive(weights), images, maps)
    odds = (min_max(maps.astype(np.float32)) * images.mean(1) * weights).sum((1, 2))
    np.testing.assert_allclose(found["masked_probability"], sigmoid(odds), rtol=1e-5)


def test_masks_are_scaled_after_resizing_or_before():
    weights, images, maps = RNG.standard_normal((SIDE, SIDE)), np.ones((2, 3, SIDE, SIDE)), RNG.random((2, 5, 5))
    size = (SIDE, SIDE)
    masks = {"resized": min_max(resample(maps, size)), "native": resample(min_max(maps), size)}
    for normalize, mask in masks.items():
        found, _ = ask(Additive(weights), images, maps, protocol=Protocol(normalize=normalize))
        np.testing.assert_allclose(found["masked_probability"], sigmoid((mask * weights).sum((1, 2))), rtol=1e-5)
    assert np.abs(masks["resized"] - masks["native"]).max() > 0.01


def net(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(4)]
    model = nn.Sequential(*layers)
    model(torch.randn(8, 3, SIDE, SIDE))
    return model


def slow_probe(model, image, ranking, target, label, protocol):
    """One image and one forward pass at a time, in pixel space, with OpenCV's filter."""
    model.eval()

    def answer(pixels):
        with torch.no_grad():
            logits = model(normalized(pixels[None]))[0].double()
        return logits.softmax(0)[target].item(), int(logits.argmax()) == label

    std, mean = (np.reshape(values, (3, 1, 1)) for values in (STD, MEAN))
    seen = (image - mean) / std
    blurred = [
        cv2.filter2D(channel, -1, blur_kernel(protocol.blur), borderType=cv2.BORDER_CONSTANT) for channel in seen
    ]
    fills = {"blurred": np.stack(blurred) * std + mean, "mean": np.broadcast_to(mean, image.shape)}
    fills["black"] = np.zeros_like(image)
    order = np.argsort(-ranking.ravel(), kind="stable")
    size = protocol.size(order.size)

    def mixed(first, second, chosen):
        """The first image, with the chosen pixels of the second."""
        out = first.copy().reshape(3, -1)
        out[:, chosen] = second.reshape(3, -1)[:, chosen]
        return out.reshape(image.shape)

    steps = range(protocol.steps(order.size) + 1)
    insertion = [answer(mixed(fills[protocol.start], image, order[: j * size]))[0] for j in steps]
    deletion = [answer(mixed(image, fills[protocol.target], order[: j * size]))[0] for j in steps]
    counts = [round(q * order.size) for q in REMOVED]
    positive = [answer(mixed(image, fills["black"], order[:count]))[1] for count in counts]
    negative = [answer(mixed(image, fills["black"], order[-count:]))[1] for count in counts]
    top, left, bottom, right = map_box(ranking[None])[0]
    cut = torch.from_numpy(image[None, :, top:bottom, left:right])
    crop = torch.nn.functional.interpolate(cut, (SIDE, SIDE), mode="bicubic")[0].numpy()
    share = (bottom - top) * (right - left) / order.size
    return insertion, deletion, positive, negative, share, np.log(answer(crop)[0])


@pytest.mark.parametrize(
    "chosen",
    [
        Protocol(step=4000, blur=5),
        Protocol(step=4000, start="mean", target="black"),
        Protocol(step=7000, start="black", target="blurred", blur=3),
    ],
)
def test_equal_to_one_forward_pass_per_step(chosen):
    model, images, labels = net(), RNG.random((3, 3, SIDE, SIDE)), np.array([0, 1, 2])
    maps = np.maximum(RNG.standard_normal((3, SIDE, SIDE)), 0).astype(np.float32)  # with ties at zero
    targets = np.array([3, 1, 0])
    found, _ = ask(
        model, images, maps, targets=targets, labels=labels, protocol=chosen, perturbation=True, batch_size=7
    )
    for i in range(3):
        expected = slow_probe(model, images[i], maps[i], targets[i], labels[i], chosen)
        insertion, deletion, positive, negative, share, crop = expected
        np.testing.assert_allclose(found["insertion_curve"][i], insertion, atol=1e-5)
        np.testing.assert_allclose(found["deletion_curve"][i], deletion, atol=1e-5)
        assert found["positive_correct"][i].tolist() == positive
        assert found["negative_correct"][i].tolist() == negative
        assert found["map_box_share"][i] == pytest.approx(share)
        assert found["crop_log_probability"][i] == pytest.approx(crop, abs=1e-4)
    assert found["positive_correct"].any()
    assert not found["positive_correct"].all()


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_neither_batch_size_nor_neighbours_matter(batch_size):
    model, images, maps = net(), RNG.random((4, 3, SIDE, SIDE)), RNG.standard_normal((4, 5, 5))
    classes = np.array([0, 1, 2, 3])
    options = {"targets": classes, "labels": classes, "perturbation": True}
    expected, _ = ask(model, images, maps, **options)
    found, used = ask(model, images, maps, batch_size=batch_size, **options)
    assert used == batch_size
    alone = [
        ask(
            *(model, images[i : i + 1], maps[i : i + 1]),
            **{"targets": classes[i : i + 1], "labels": classes[i : i + 1], "perturbation": True},
        )[0]
        for i in range(4)
    ]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(np.concatenate([one[name] for one in alone]), values, atol=1e-6, err_msg=name)


class Greedy(Additive):
    """Runs out of memory above three images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_out_of_memory_halves_the_batch():
    weights, images, maps = RNG.standard_normal((SIDE, SIDE)), RNG.random((2, 3, SIDE, SIDE)), RNG.random((2, 5, 5))
    expected, _ = ask(Additive(weights), images, maps)
    model = Greedy(weights)
    found, batch_size = ask(model, images, maps, batch_size=16)
    assert batch_size == 2  # 16 inputs are too many, and so are 8 and 4
    assert max(model.sizes) == 2
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6)


def test_steps_of_several_images_share_a_pass():
    model, tenths = Additive(RNG.standard_normal((SIDE, SIDE))), Protocol(step=224**2 * 15 // SIDE**2)
    ask(model, RNG.random((4, 3, SIDE, SIDE)), RNG.random((4, 5, 5)), batch_size=16, protocol=tenths)
    # The image, the masked one, the crop; then ten steps but for the image itself, of insertion and of deletion.
    assert model.sizes == [4, 4, 4, 16, 16, 8, 16, 16, 8]


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan, np.inf])
def test_degenerate_maps_mask_everything_and_rank_by_row(value):
    weights, images = RNG.standard_normal((SIDE, SIDE)), RNG.random((2, 3, SIDE, SIDE))
    maps = np.stack([np.full((5, 5), value), RNG.random((5, 5))])
    found, _ = ask(Additive(weights, 0.5), images, maps)
    assert found["masked_probability"][0] == pytest.approx(sigmoid(0.5), rel=1e-6)
    assert (found["map_box_share"][0], found["crop_log_probability"][0]) == (0, pytest.approx(np.log(sigmoid(0.5))))
    rows = -np.arange(SIDE**2, dtype=float).reshape(1, SIDE, SIDE)
    by_row, _ = ask(Additive(weights, 0.5), images[:1], rows)
    np.testing.assert_allclose(found["insertion_curve"][0], by_row["insertion_curve"][0], atol=1e-6)
    alone, _ = ask(Additive(weights, 0.5), images[1:], maps[1:])
    assert found["insertion_curve"][1] == pytest.approx(alone["insertion_curve"][0], abs=1e-6)


def test_only_the_part_of_a_map_that_the_model_saw_counts():
    """A control's map covers the whole image, the model sees its centre."""
    weights, images, whole = RNG.standard_normal((8, 8)), RNG.random((1, 3, 8, 8)), RNG.random((1, 16, 16))
    seen, _ = ask(Additive(weights), images, whole, view=(0.25, 0.25, 0.75, 0.75))
    cut, _ = ask(Additive(weights), images, whole[:, 4:12, 4:12])
    for name, values in cut.items():
        np.testing.assert_allclose(seen[name], values, atol=1e-6)


def test_every_map_can_have_a_view_of_its_own():
    weights, images, whole = RNG.standard_normal((8, 8)), RNG.random((2, 3, 8, 8)), RNG.random((2, 16, 16))
    views = [(0.25, 0.25, 0.75, 0.75), (0.0, 0.5, 1.0, 1.0)]
    for options in ({}, {"protocol": Protocol(normalize="native")}):
        found, _ = ask(Additive(weights), images, whole, view=views, **options)
        for index, view in enumerate(views):
            one = slice(index, index + 1)
            alone, _ = ask(Additive(weights), images[one], whole[one], view=view, **options)
            for name, values in alone.items():
                np.testing.assert_allclose(found[name][one], values, atol=1e-6)


def test_the_model_is_left_as_it_was():
    model = net().train()
    model[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ask(model, RNG.random((2, 3, SIDE, SIDE)), RNG.random((2, 5, 5)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True, True, True]


def test_a_class_that_the_model_does_not_have_is_refused():
    with pytest.raises(CamstudyError, match="classes from 0 to 2, but Additive has 2 classes"):
        ask(
            *(Additive(np.ones((8, 8))), RNG.random((2, 3, 8, 8)), RNG.random((2, 5, 5))),
            targets=np.array([0, 2]),
        )


def test_fake_cam_drops_nothing_and_gains_nothing():
    """One everywhere but for a corner: its signature is that all three are near 0 or a coin toss."""
    model, images = net(), RNG.random((16, 3, SIDE, SIDE))
    fake = np.ones((16, SIDE, SIDE))
    fake[:, 0, 0] = 0
    found, _ = ask(model, images, fake)
    scores = score_family("faithfulness", found)
    assert scores["average_drop"].mean() < 0.05
    assert scores["average_gain"].mean() < 0.05
